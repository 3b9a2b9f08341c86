/**
 * The node with the smallest (attempts in flight + 1) / weight. Per worker: each counts its own attempts.
 *
 * Ties go round: the scan starts one node further each time, or an idle upstream would always use its first.
 */

import type { TriedNodes, UpstreamNode } from "../node.ts";
import { isUsable, type BalanceRequest, type HealthView, type Picker } from "./contract.ts";

export class LeastConnections implements Picker {
  readonly #nodes: readonly UpstreamNode[];
  #start: number;

  constructor(nodes: readonly UpstreamNode[], workerSlot: number) {
    this.#nodes = nodes;
    this.#start = workerSlot % nodes.length;
  }

  pick(_request: BalanceRequest, tried: TriedNodes, health: HealthView | null): UpstreamNode | null {
    const nodes = this.#nodes;
    let best: UpstreamNode | null = null;
    let bestScore = Number.POSITIVE_INFINITY;
    let at = this.#start;
    for (let i = 0; i < nodes.length; i++) {
      const node = nodes[at];
      at = at + 1 === nodes.length ? 0 : at + 1;
      const score = (node.active + 1) / node.weight;
      if (score < bestScore && isUsable(node, tried, health)) {
        best = node;
        bestScore = score;
      }
    }
    this.#start = this.#start + 1 === nodes.length ? 0 : this.#start + 1;
    return best;
  }
}
