/** Upstreams among the items of the configuration: as resources of their own, or inside another one. */

import type { PublishedUpstream } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";

const KEYS: Readonly<Record<string, string>> = {
  route: "/routes/",
  service: "/services/",
  upstream: "/upstreams/",
  stream_route: "/stream_routes/",
};

/** Store key of the item's resource; null: its kind has no upstream. */
export function keyOfItem({ kind, id }: ConfigurationItem): string | null {
  const prefix = KEYS[kind];
  return prefix === undefined ? null : prefix + id;
}

/** Null: there is none in whose text `mark` stands. Most have not: a look at the text spares the parsing. */
export function upstreamOfItem({ value }: ConfigurationItem, mark: string): PublishedUpstream | null {
  if (value === null || !value.includes(mark)) return null;
  const parsed = JSON.parse(value) as PublishedUpstream & { upstream?: PublishedUpstream };
  const upstream = parsed.upstream ?? parsed;
  return Array.isArray(upstream.nodes) ? upstream : null;
}
