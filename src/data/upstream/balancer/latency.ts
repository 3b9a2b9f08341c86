/**
 * `ewma`: the better of two random nodes by their latency, averaged with a decay of 10 s ("peak EWMA" in its
 * simple form, as the ingress controllers use it). Per worker. Weights do not count, except that 0 excludes.
 *
 * A score also decays while a node is not used, so that a slow node is tried again after a while. A node
 * without a measurement starts at the mean of the others: at 0 it would attract every request until its
 * first answer. A failure counts as a slow answer, or a node that refuses at once would look like the fastest.
 */

import type { TriedNodes, UpstreamNode } from "../node.ts";
import { isUsable, type BalanceRequest, type HealthView, type Picker } from "./contract.ts";

const DECAY_MS = 10_000;
const FAILURE_LATENCY_MS = 1_000;

export class Latency implements Picker {
  readonly #nodes: readonly UpstreamNode[];
  readonly #now: () => number;
  readonly #random: () => number;

  constructor(nodes: readonly UpstreamNode[], now: () => number, random: () => number) {
    this.#nodes = nodes;
    this.#now = now;
    this.#random = random;
    startAtMean(nodes, now());
  }

  pick(_request: BalanceRequest, tried: TriedNodes, health: HealthView | null): UpstreamNode | null {
    const nodes = this.#nodes;
    let usable = nodes.length;
    if (tried.size !== 0 || health !== null) {
      usable = 0;
      for (const node of nodes) if (isUsable(node, tried, health)) usable++;
    }
    if (usable === 0) return null;
    const first = Math.floor(this.#random() * usable);
    const a = this.#usableAt(first, usable, tried, health);
    if (usable === 1) return a;
    const other = Math.floor(this.#random() * (usable - 1));
    const b = this.#usableAt(other >= first ? other + 1 : other, usable, tried, health);
    const now = this.#now();
    return decayed(a, now) <= decayed(b, now) ? a : b;
  }

  #usableAt(index: number, usable: number, tried: TriedNodes, health: HealthView | null): UpstreamNode {
    if (usable === this.#nodes.length) return this.#nodes[index];
    let left = index;
    for (const node of this.#nodes) if (isUsable(node, tried, health) && left-- === 0) return node;
    throw new Error("a node turned unusable within one pick");
  }
}

/** Adds a measurement to the node's average. */
export function measure(node: UpstreamNode, latencyMs: number, ok: boolean, nowMs: number): void {
  const sample = ok ? latencyMs : Math.max(latencyMs, FAILURE_LATENCY_MS);
  const kept = node.latencyAtMs === 0 ? 0 : Math.exp(-Math.max(nowMs - node.latencyAtMs, 0) / DECAY_MS);
  node.latencyMs = node.latencyMs * kept + sample * (1 - kept);
  node.latencyAtMs = nowMs;
}

function decayed(node: UpstreamNode, nowMs: number): number {
  return node.latencyMs * Math.exp(-Math.max(nowMs - node.latencyAtMs, 0) / DECAY_MS);
}

function startAtMean(nodes: readonly UpstreamNode[], nowMs: number): void {
  let sum = 0;
  let known = 0;
  for (const node of nodes) {
    if (node.latencyAtMs === 0) continue;
    sum += decayed(node, nowMs);
    known++;
  }
  if (known === 0 || known === nodes.length) return;
  for (const node of nodes) {
    if (node.latencyAtMs !== 0) continue;
    node.latencyMs = sum / known;
    node.latencyAtMs = nowMs;
  }
}
