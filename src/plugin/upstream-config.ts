/** For plugins that send requests elsewhere: how their configuration names or holds an upstream. */

export type { PublishedUpstream } from "../model/published.ts";
export { Id } from "../model/schema-parts.ts";
/** An upstream inside a configuration; name its place in `innerConfigs`, and `compile` gets it published. */
export { UpstreamSchema } from "../model/upstream-schema.ts";
