/**
 * Samples of nodes for the metrics page, one for each upstream, address and port. Nodes may share them: two names with one
 * address, each with a health of its own. A series must not stand twice on a page, so the worse one is shown.
 */

import type { FactSample } from "../fact-families.ts";

export interface NodeSample {
  name: string;
  address: string;
  port: number;
  value: number;
}

/** `worseOf`: which of two values is shown, `Math.min` say. */
export function nodeSamples(
  nodes: Iterable<NodeSample>,
  worseOf: (one: number, other: number) => number,
): FactSample[] {
  const samples = new Map<string, FactSample>();
  for (const { name, address, port, value } of nodes) {
    const key = `${name} ${address} ${port}`;
    const known = samples.get(key);
    if (known === undefined) samples.set(key, { labels: { name, ip: address, port: String(port) }, value });
    else known.value = worseOf(known.value, value);
  }
  return [...samples.values()];
}
