/**
 * `example-plugin`: the demonstration plugin of APISIX, which its clients and documents use to try things out: some
 * fields, metadata, and a request that goes to another address.
 *
 * Fails open: it decides nothing.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import type { PublishedUpstream } from "../../plugin/upstream-config.ts";

export default definePlugin({
  name: "example-plugin",
  version: "0.1.0",
  priority: 0,
  config: Type.Object({
    i: Type.Number({ minimum: 0, description: "A number; it does nothing" }),
    s: Type.Optional(Type.String({ description: "A text; it does nothing" })),
    t: Type.Optional(
      Type.Unsafe<unknown[]>({ type: "array", minItems: 1, description: "A list; it does nothing" }),
    ),
    ip: Type.Optional(
      Type.String({ description: "Address or name to which requests go in the place of the upstream" }),
    ),
    port: Type.Optional(Type.Integer({ description: "Port of that address; needed with `ip`" })),
  }),
  metadata: Type.Object({
    ikey: Type.Number({ minimum: 0, description: "A number; it does nothing" }),
    skey: Type.String({ description: "A text; it does nothing" }),
  }),
  check({ ip, port }) {
    if (ip === undefined) return null;
    if (ip === "") return "ip: given an empty text, expected an address or a name";
    if (port !== undefined && port >= 1 && port <= 65_535) return null;
    return `port: given ${port ?? "none"}, expected a port from 1 to 65535, since ip is given`;
  },
  hostNames: ({ ip }) => (ip === undefined ? [] : [ip]),
  compile({ ip, port }, host) {
    if (ip === undefined || port === undefined) return {};
    const upstream = host.inlineUpstream(upstreamOf(ip, port));
    return {
      access(ctx) {
        ctx.upstreamChoice = upstream;
      },
      dispose: () => upstream.dispose(),
    };
  },
});

function upstreamOf(host: string, port: number): PublishedUpstream {
  return {
    scheme: "http",
    nodes: [{ host: host.toLowerCase(), port, weight: 1, priority: 0 }],
    type: "roundrobin",
    hash_on: "vars",
    pass_host: "pass",
  };
}
