/**
 * Smooth weighted round-robin, as nginx does it: with each pick every usable node gains its weight, the
 * richest is picked and pays the total. Weights 5, 1, 1 give a a b a c a a and never five of a in a row.
 *
 * Per worker. Worker k starts k picks into the cycle, so that N workers do not all begin with the first node.
 */

import type { TriedNodes, UpstreamNode } from "../node.ts";
import { isUsable, type BalanceRequest, type HealthView, type Picker } from "./contract.ts";

export class RoundRobin implements Picker {
  readonly #nodes: readonly UpstreamNode[];

  /** `isFirst`: the upstream is new on this worker, so its start is staggered; else the nodes' state goes on. */
  constructor(nodes: readonly UpstreamNode[], workerSlot: number, isFirst: boolean) {
    this.#nodes = nodes;
    if (isFirst) {
      for (let i = workerSlot % (nodes.length * 8); i > 0; i--) this.#next();
    } else {
      centre(nodes);
    }
  }

  pick(_request: BalanceRequest, tried: TriedNodes, health: HealthView | null): UpstreamNode | null {
    if (tried.size === 0 && health === null) return this.#next();
    let total = 0;
    let best: UpstreamNode | null = null;
    for (const node of this.#nodes) {
      if (!isUsable(node, tried, health)) continue;
      total += node.weight;
      node.currentWeight += node.weight;
      if (best === null || node.currentWeight > best.currentWeight) best = node;
    }
    if (best !== null) best.currentWeight -= total;
    return best;
  }

  #next(): UpstreamNode {
    const nodes = this.#nodes;
    let best = nodes[0];
    let total = 0;
    for (let i = 0; i < nodes.length; i++) {
      const node = nodes[i];
      total += node.weight;
      node.currentWeight += node.weight;
      if (node.currentWeight > best.currentWeight) best = node;
    }
    best.currentWeight -= total;
    return best;
  }
}

/** Current weights sum up to 0; those that left must not leave their debt to the others. */
function centre(nodes: readonly UpstreamNode[]): void {
  let sum = 0;
  for (const node of nodes) sum += node.currentWeight;
  for (const node of nodes) node.currentWeight -= sum / nodes.length;
}
