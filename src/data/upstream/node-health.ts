/**
 * The health of one upstream's nodes, as a worker sees and tells it.
 *
 * The truth is the table in shared memory; here are the slots of the nodes, and which of them are down. That is
 * worked out anew only when the table says that something changed: while nothing does, a pick costs two loads and
 * two comparisons, and balancers do not ask about any node.
 *
 * Results of requests go straight into the table, if the checks are passive too: exact over all workers, and
 * seen by all of them at once. Drained nodes are told from unhealthy ones: they are not balanced over at all.
 */

import { type HealthChecks, probedPlace } from "../../model/health-checks.ts";
import type { OutlierSettings } from "../../model/upstream-protection.ts";
import { HTTP_FAILURE, SUCCESS, TCP_FAILURE, TIMEOUT } from "../../shared/health-state.ts";
import { drainKey, healthKey, type HealthTable, outlierKey } from "../../shared/health-table.ts";
import { monotonicMs } from "../../shared/threads.ts";
import type { UpstreamFailure } from "../transport.ts";
import type { ZoneHealth } from "./balancer/zones.ts";
import type { UpstreamNode } from "./node.ts";

const IS_HEALTHY = 1;
const IS_UNHEALTHY = 2;
const STATUSES = 600;
/** Of the share of a node that came back. */
const STEPS = 10;

export class NodeHealth implements ZoneHealth {
  /** False: nobody need ask about any node. */
  isAnyDown = false;
  isPanic = false;
  /** Moves whenever the nodes were looked at anew. */
  version = 0;
  readonly refusesWhenAllDown: boolean;
  readonly #table: HealthTable;
  readonly #resource: string;
  readonly #checks: HealthChecks | null;
  /** What each status counts as, if results of requests count. */
  readonly #statuses: Uint8Array | null;
  readonly #outlier: OutlierSettings | null;
  readonly #slowAfterMs: number;
  readonly #now: () => number;
  readonly #random: () => number;
  #nodes: readonly UpstreamNode[] = [];
  readonly #drained = new Set<UpstreamNode>();
  #layout = -1;
  #changes = -1;
  /** When the next ejection or slow start ends. */
  #expiresMs = Infinity;
  /** Some node came back and does not have its full share yet. */
  #isGrowing = false;

  /** `resource`: store key of the resource that the upstream belongs to. `now`: that of `monotonicMs`. */
  constructor(
    table: HealthTable,
    resource: string,
    checks: HealthChecks | null,
    outlier: OutlierSettings | null,
    now: () => number = monotonicMs,
    random: () => number = Math.random,
  ) {
    this.#table = table;
    this.#resource = resource;
    this.#checks = checks;
    this.#outlier = outlier;
    this.#slowAfterMs = (outlier?.slow_after ?? Infinity) * 1000;
    this.#now = now;
    this.#random = random;
    this.#statuses = checks === null || checks.passive === null ? null : statusesOf(checks.passive);
    this.refusesWhenAllDown = checks !== null && checks.all_unhealthy === "refuse";
  }

  /** Takes the nodes over; gives those that are not drained. */
  assign(nodes: readonly UpstreamNode[]): readonly UpstreamNode[] {
    this.#nodes = nodes;
    this.#drained.clear();
    this.#findSlots();
    return this.#drained.size === 0 ? nodes : nodes.filter((node) => !this.#drained.has(node));
  }

  /** To be called before each pick. True: other nodes are drained than before, and a new balancer is needed. */
  look(): boolean {
    if (this.#table.layout !== this.#layout && this.#findSlots()) return true;
    if (this.#checks === null && this.#outlier === null) return false;
    if (this.#table.changes !== this.#changes) this.#findDown();
    else if (this.#expiresMs !== Infinity && this.#now() >= this.#expiresMs) this.#findDown();
    if (this.#isGrowing) this.#drawShares();
    return false;
  }

  isHealthy(node: UpstreamNode): boolean {
    return !node.isDown && !node.isHeldBack;
  }

  /** Monotonic milliseconds since which the node is up; 0: it was never down. */
  upSince({ healthSlot, outlierSlot }: UpstreamNode): number {
    const since = healthSlot === -1 ? 0 : this.#table.upSince(healthSlot);
    if (this.#outlier === null || outlierSlot === -1) return since;
    return Math.max(since, this.#table.ejectedUntil(outlierSlot));
  }

  now(): number {
    return this.#now();
  }

  /** By its host as configured, or by its address. */
  isDrained(node: UpstreamNode): boolean {
    return (
      this.#table.drains > 0 &&
      (this.#hasDrain(node.host, node.port) || this.#hasDrain(node.address, node.port))
    );
  }

  /** The head of an answer came from `node`, `latencyMs` after the attempt began. */
  answered(node: UpstreamNode, status: number, latencyMs: number): void {
    if (this.#outlier !== null && node.outlierSlot !== -1) {
      if (status >= 500 || latencyMs > this.#slowAfterMs) this.#addError(node);
      else this.#table.forgetErrors(node.outlierSlot, node.outlierGeneration);
    }
    if (this.#statuses === null || node.healthSlot === -1) return;
    const { healthy, unhealthy } = this.#checks!.passive!;
    switch (this.#statuses[status]) {
      case IS_HEALTHY:
        this.#table.report(node.healthSlot, node.healthGeneration, SUCCESS, healthy.successes);
        break;
      case IS_UNHEALTHY:
        this.#table.report(node.healthSlot, node.healthGeneration, HTTP_FAILURE, unhealthy.http_failures);
        break;
    }
  }

  /** An attempt on `node` failed. Our own limits say nothing about it. */
  failed(node: UpstreamNode, failure: UpstreamFailure): void {
    if (failure === "overloaded") return;
    if (this.#outlier !== null && node.outlierSlot !== -1) this.#addError(node);
    if (this.#statuses === null || node.healthSlot === -1) return;
    const { timeouts, tcp_failures } = this.#checks!.passive!.unhealthy;
    const { healthSlot: slot, healthGeneration: generation } = node;
    if (failure.endsWith("timeout")) this.#table.report(slot, generation, TIMEOUT, timeouts);
    else this.#table.report(slot, generation, TCP_FAILURE, tcp_failures);
  }

  #addError(node: UpstreamNode): void {
    const { consecutive_errors, ejection_time, max_ejection_time, max_ejected_percent } = this.#outlier!;
    const { outlierSlot: slot, outlierGeneration: generation } = node;
    if (this.#table.addError(slot, generation) < consecutive_errors) return;
    const now = this.#now();
    let ejected = 1;
    for (const other of this.#nodes) if (other !== node && this.#isEjected(other, now)) ejected++;
    if ((100 * ejected) / this.#nodes.length > max_ejected_percent) return;
    this.#table.eject(slot, generation, now, ejection_time * 1000, max_ejection_time * 1000);
  }

  #isEjected({ outlierSlot }: UpstreamNode, now: number): boolean {
    return outlierSlot !== -1 && this.#table.ejectedUntil(outlierSlot) > now;
  }

  /** True: the drained nodes are others than before. */
  #findSlots(): boolean {
    const table = this.#table;
    this.#layout = table.layout;
    const isChanged = this.#findDrained();
    if (this.#checks !== null) this.#findHealthSlots(this.#checks);
    if (this.#outlier !== null) this.#findOutlierSlots();
    this.#findDown();
    return isChanged;
  }

  /** Slots that are still the node's need no search. */
  #findHealthSlots(checks: HealthChecks): void {
    const table = this.#table;
    for (const node of this.#nodes) {
      if (node.healthSlot !== -1 && table.generation(node.healthSlot) === node.healthGeneration) continue;
      const { host, port } = probedPlace(checks, node);
      node.healthSlot = table.find(healthKey(this.#resource, node.address, port, host));
      node.healthGeneration = node.healthSlot === -1 ? 0 : table.generation(node.healthSlot);
    }
  }

  #findOutlierSlots(): void {
    const table = this.#table;
    for (const node of this.#nodes) {
      if (node.outlierSlot !== -1 && table.generation(node.outlierSlot) === node.outlierGeneration) continue;
      node.outlierSlot = table.find(outlierKey(this.#resource, node.host, node.address, node.port));
      node.outlierGeneration = node.outlierSlot === -1 ? 0 : table.generation(node.outlierSlot);
    }
  }

  #findDrained(): boolean {
    const drained = this.#drained;
    if (this.#table.drains === 0 && drained.size === 0) return false;
    let isChanged = false;
    for (const node of this.#nodes) {
      const isDrained = this.isDrained(node);
      if (isDrained === drained.has(node)) continue;
      isChanged = true;
      if (isDrained) drained.add(node);
      else drained.delete(node);
    }
    return isChanged;
  }

  #findDown(): void {
    const table = this.#table;
    this.#changes = table.changes;
    this.#expiresMs = Infinity;
    const slowStartMs = (this.#checks?.slow_start ?? 0) * 1000;
    const now = this.#outlier === null && slowStartMs === 0 ? 0 : this.#now();
    this.#isGrowing = false;
    let known = 0;
    let down = 0;
    for (const node of this.#nodes) {
      node.isDown = this.#checks !== null && node.healthSlot !== -1 && !table.isUp(node.healthSlot);
      if (this.#outlier !== null && this.#isEjected(node, now)) {
        node.isDown = true;
        this.#expiresMs = Math.min(this.#expiresMs, table.ejectedUntil(node.outlierSlot));
      }
      this.#findShare(node, slowStartMs, now);
      if (node.weight === 0 || this.#drained.has(node)) continue;
      known++;
      if (node.isDown) down++;
    }
    const upPercent = known === 0 ? 100 : (100 * (known - down)) / known;
    this.isPanic = this.#checks !== null && upPercent < this.#checks.panic_threshold;
    this.isAnyDown = (down > 0 || this.#isGrowing) && !this.isPanic;
    this.version++;
  }

  /** A node that came back within the slow start has a share that grows. */
  #findShare(node: UpstreamNode, slowStartMs: number, now: number): void {
    node.growsSince = 0;
    node.isHeldBack = false;
    if (slowStartMs === 0 || node.isDown || node.healthSlot === -1) return;
    const since = this.#table.upSince(node.healthSlot);
    if (since === 0 || now >= since + slowStartMs) return;
    node.growsSince = since;
    this.#isGrowing = true;
    this.#expiresMs = Math.min(this.#expiresMs, since + slowStartMs);
  }

  /** Decides for one pick which of the nodes that came back are left out: fewer and fewer, in ten steps. */
  #drawShares(): void {
    const slowStartMs = this.#checks!.slow_start * 1000;
    const now = this.#now();
    let usable = 0;
    for (const node of this.#nodes) {
      if (node.growsSince !== 0) {
        const step = Math.floor(((now - node.growsSince) * STEPS) / slowStartMs) + 1;
        node.isHeldBack = this.#random() * STEPS >= step;
      }
      if (node.weight > 0 && !node.isDown && !node.isHeldBack && !this.#drained.has(node)) usable++;
    }
    // Better one that just came back than those that are down.
    if (usable === 0) for (const node of this.#nodes) node.isHeldBack = false;
  }

  #hasDrain(host: string, port: number): boolean {
    return this.#table.find(drainKey(this.#resource, host, port)) !== -1;
  }
}

function statusesOf({ healthy, unhealthy }: NonNullable<HealthChecks["passive"]>): Uint8Array {
  const statuses = new Uint8Array(STATUSES);
  for (const status of unhealthy.http_statuses) statuses[status] = IS_UNHEALTHY;
  for (const status of healthy.http_statuses) statuses[status] = IS_HEALTHY;
  return statuses;
}
