/**
 * Makes the balancer of an upstream: one algorithm per priority group, and the rules that hold for all of
 * them.
 *
 * - Groups by `priority`, the higher first; the next group serves only when no node of the ones before is
 *   usable (tried already, or unhealthy). With `zones`, groups of one priority by zone, in their order; a zone with too
 *   few healthy nodes, or that came back just now, leaves turns to the next (`zones.ts`).
 * - Weight 0 is never picked, unless every node of the upstream has weight 0: then all count the same (chash: none).
 * - When every node is unhealthy, health is ignored, unless the upstream says to refuse then.
 * - A sole node is given again although it was tried: `retries` of a one-node upstream mean that node.
 */

import type { PublishedUpstream } from "../../../model/published.ts";
import type { TriedNodes, UpstreamNode } from "../node.ts";
import type { Balancer, BalanceRequest, HealthView, Picker } from "./contract.ts";
import { HashKey } from "./hash-key.ts";
import { HashRing } from "./hash-ring.ts";
import { Latency, measure } from "./latency.ts";
import { LeastConnections } from "./least-connections.ts";
import { RoundRobin } from "./round-robin.ts";
import { type ZoneHealth, type ZoneOrder, ZoneShares } from "./zones.ts";

export interface BalancerSettings {
  type: PublishedUpstream["type"];
  hashOn: PublishedUpstream["hash_on"];
  key: string | undefined;
  workerSlot: number;
  /** The upstream is new on this worker; false when its node list was edited. */
  isFirst: boolean;
  health: HealthView | null;
  /** Null or absent: zones make no difference. */
  zones?: { order: ZoneOrder; health: ZoneHealth | null } | null;
  /** Monotonic milliseconds. */
  now: () => number;
  /** [0, 1) */
  random: () => number;
}

export function createBalancer(nodes: readonly UpstreamNode[], settings: BalancerSettings): Balancer {
  return new GroupedBalancer(nodes, settings);
}

class GroupedBalancer implements Balancer {
  readonly #usedNodes: readonly UpstreamNode[];
  readonly #pickers: Picker[] = [];
  readonly #health: HealthView | null;
  /** Null: every group takes each of its turns. */
  readonly #shares: ZoneShares | null;
  readonly #measures: boolean;
  readonly #now: () => number;

  constructor(nodes: readonly UpstreamNode[], settings: BalancerSettings) {
    const zones = settings.zones ?? null;
    const served = zones === null ? nodes : zones.order.served(nodes);
    this.#usedNodes = withoutWeightless(served, settings.type);
    this.#health = settings.health;
    this.#measures = settings.type === "ewma";
    this.#now = settings.now;
    const groups = groupNodes(this.#usedNodes, zones?.order ?? null);
    for (const group of groups) this.#pickers.push(createPicker(group, settings));
    this.#shares =
      zones === null || zones.health === null || groups.length < 2
        ? null
        : new ZoneShares(groups, zones.order.settings, zones.health, settings.random);
  }

  pick(request: BalanceRequest, tried: TriedNodes): UpstreamNode | null {
    const pickers = this.#pickers;
    const health = this.#health !== null && this.#health.isAnyDown ? this.#health : null;
    if (this.#usedNodes.length === 1 && (health === null || !health.refusesWhenAllDown))
      return this.#usedNodes[0];
    const shared = this.#shares === null ? null : this.#pickByShares(this.#shares, request, tried, health);
    if (shared !== null) return shared;
    for (let i = 0; i < pickers.length; i++) {
      const node = pickers[i].pick(request, tried, health);
      if (node !== null) return node;
    }
    if (health === null || health.refusesWhenAllDown || this.#isAnyHealthy(health)) return null;
    for (let i = 0; i < pickers.length; i++) {
      const node = pickers[i].pick(request, tried, null);
      if (node !== null) return node;
    }
    return null;
  }

  pickHealthy(request: BalanceRequest, tried: TriedNodes): UpstreamNode | null {
    const pickers = this.#pickers;
    const health = this.#health !== null && this.#health.isAnyDown ? this.#health : null;
    for (let i = 0; i < pickers.length; i++) {
      const node = pickers[i].pick(request, tried, health);
      if (node !== null) return node;
    }
    return null;
  }

  /** Null: no group that takes its turn has a node. */
  #pickByShares(
    shares: ZoneShares,
    request: BalanceRequest,
    tried: TriedNodes,
    health: HealthView | null,
  ): UpstreamNode | null {
    const pickers = this.#pickers;
    shares.look();
    for (let i = 0; i < pickers.length; i++) {
      const node = shares.takesTurn(i) ? pickers[i].pick(request, tried, health) : null;
      if (node !== null) return node;
    }
    return null;
  }

  started(node: UpstreamNode): void {
    node.active++;
  }

  finished(node: UpstreamNode, latencyMs: number, ok: boolean): void {
    if (node.active > 0) node.active--;
    if (this.#measures) measure(node, latencyMs, ok, this.#now());
  }

  #isAnyHealthy(health: HealthView): boolean {
    for (const node of this.#usedNodes) {
      if (health.isHealthy(node)) return true;
    }
    return false;
  }
}

function createPicker(nodes: readonly UpstreamNode[], settings: BalancerSettings): Picker {
  switch (settings.type) {
    case "chash":
      return new HashRing(nodes, new HashKey(settings.hashOn, settings.key));
    case "least_conn":
      return new LeastConnections(nodes, settings.workerSlot);
    case "ewma":
      return new Latency(nodes, settings.now, settings.random);
    default:
      return new RoundRobin(nodes, settings.workerSlot, settings.isFirst);
  }
}

function withoutWeightless(
  nodes: readonly UpstreamNode[],
  type: BalancerSettings["type"],
): readonly UpstreamNode[] {
  const weighted = nodes.filter((node) => node.weight > 0);
  // A ring without points has no node, as in APISIX.
  if (weighted.length > 0 || type === "chash") return weighted;
  for (const node of nodes) node.weight = 1;
  return nodes;
}

/** By priority, the higher first, and within one by the place of their zones. */
function groupNodes(nodes: readonly UpstreamNode[], zones: ZoneOrder | null): UpstreamNode[][] {
  const groups = new Map<number, Map<number, UpstreamNode[]>>();
  for (const node of nodes) {
    const rank = zones === null ? 0 : zones.rankOf(node);
    let ofPriority = groups.get(node.priority);
    if (ofPriority === undefined) groups.set(node.priority, (ofPriority = new Map()));
    const group = ofPriority.get(rank);
    if (group === undefined) ofPriority.set(rank, [node]);
    else group.push(node);
  }
  const inOrder = [...groups].sort(([a], [b]) => b - a);
  return inOrder.flatMap(([, byRank]) =>
    [...byRank].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group),
  );
}
