/** The upstream of requests that no route knows (`cardea.fallback`). */

import type { PublishedUpstream } from "../model/published.ts";
import type { ResolveInput } from "./resolve.ts";

const LAST_PORT = 65_535;

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
