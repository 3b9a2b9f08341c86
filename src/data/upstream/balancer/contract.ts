/**
 * What a balancer is, for those who use one and those who write one.
 *
 * A balancer orders nodes for one worker. Its state (weights, counts, latencies) lies in the node objects and
 * is per worker: with N workers, round-robin and least-connections are exact within each worker, and
 * staggered or random starts keep the workers from moving in step. Consistent hashing has no state and is
 * the same on all workers.
 */

import type { ZoneWish } from "../../../plugin/exchange.ts";
import type { TriedNodes, UpstreamNode } from "../node.ts";

/** What balancers ask of a request. `Exchange` of the plugin contract fits. */
export interface BalanceRequest {
  /** Value of a variable by its name without `$`; undefined when it has none. */
  variable(name: string): string | undefined;
  /** The zone that it should go to; null or absent: any. */
  readonly zoneWish?: ZoneWish | null;
}

/** The health of an upstream's nodes as its balancer reads it. */
export interface HealthView {
  /** False: every node may be used, and nobody need ask about any. */
  readonly isAnyDown: boolean;
  /** What happens when no node is healthy: no node is given, instead of any. */
  readonly refusesWhenAllDown: boolean;
  isHealthy(node: UpstreamNode): boolean;
}

export interface Balancer {
  /** The node for the next attempt; null when every usable node was tried, or there is none. */
  pick(request: BalanceRequest, tried: TriedNodes): UpstreamNode | null;
  /** The same among healthy nodes, whatever becomes of the request when there is none. */
  pickHealthy(request: BalanceRequest, tried: TriedNodes): UpstreamNode | null;
  /** An attempt on `node` begins. Each `started` is followed by exactly one `finished`. */
  started(node: UpstreamNode): void;
  /** `latencyMs`: from the start of the attempt until its answer's head (or its failure). */
  finished(node: UpstreamNode, latencyMs: number, ok: boolean): void;
}

/** One algorithm over the nodes of one priority. All of them have a weight above 0. */
export interface Picker {
  pick(request: BalanceRequest, tried: TriedNodes, health: HealthView | null): UpstreamNode | null;
}

/** `health` null: nobody is asked. */
export function isUsable(node: UpstreamNode, tried: TriedNodes, health: HealthView | null): boolean {
  if (tried.size !== 0 && tried.has(node)) return false;
  return health === null || health.isHealthy(node);
}
