/** `cardea.fallback`: the upstream of requests that no route knows. */

import { Type } from "../lib/schema.ts";
import type { PublishedUpstream } from "../model/published.ts";
import { choice } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";

const LAST_PORT = 65_535;

export const Fallback = Type.Object(
  {
    nodes: Type.Array(
      Type.String({
        pattern: "^(?:[0-9a-zA-Z._-]{1,253}|\\[[0-9a-fA-F:.]{2,45}\\]):[0-9]{1,5}$",
        expects: "a host and a port, such as 10.0.0.1:80",
        description: "A server: name or address, and port.",
      }),
      { minItems: 1, maxItems: 100, description: "Its servers, in turn." },
    ),
    scheme: choice(["http", "https"], { default: "http", description: "What they speak." }),
    pass_host: choice(["pass", "node", "rewrite"], {
      default: "pass",
      description: "The `Host` that they get: the client's, the node's, or `upstream_host`.",
    }),
    upstream_host: Type.Optional(
      Type.String({ minLength: 1, maxLength: 253, description: "`Host` for `pass_host: rewrite`." }),
    ),
  },
  {
    additionalProperties: false,
    description: "Where requests go that no route knows. Without it they get 404.",
    expects: "{ nodes, scheme, pass_host, upstream_host }",
  },
);

export function fallback({ filled, addProblem }: ResolveInput): PublishedUpstream | null {
  const given = filled.cardea.fallback;
  if (given === undefined) return null;
  const { scheme, pass_host: passHost, upstream_host: upstreamHost } = given;
  if (passHost === "rewrite" && upstreamHost === undefined) {
    addProblem(["cardea", "fallback", "pass_host"], "given rewrite, expected upstream_host beside it");
  }
  const nodes = given.nodes.map((text) => {
    const colon = text.lastIndexOf(":");
    const host = text.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    return { host: host.toLowerCase(), port: Number(text.slice(colon + 1)), weight: 1, priority: 0 };
  });
  const wrong = nodes.findIndex(({ port }) => port < 1 || port > LAST_PORT);
  if (wrong !== -1)
    addProblem(
      ["cardea", "fallback", "nodes", wrong],
      `given ${given.nodes[wrong]}, expected a port (1..${LAST_PORT})`,
    );
  return {
    nodes,
    scheme,
    type: "roundrobin",
    hash_on: "vars",
    pass_host: passHost,
    ...(upstreamHost !== undefined && { upstream_host: upstreamHost }),
  };
}
