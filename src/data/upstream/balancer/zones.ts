/**
 * Zones of an upstream: in which order their nodes serve, and which share of its turns a zone takes.
 *
 * Nodes of one priority and one zone are a group. A group with too few healthy nodes takes no turn. One that has enough
 * again takes a tenth of its turns, then two, and all of them after the time of fail-back. When it has been back since is
 * read from the health table, so that all workers, new ones too, say the same: it is the moment at which as many of its
 * healthy nodes as are needed were up.
 */

import { LOCAL, type ZoneSettings } from "../../../model/upstream-zones.ts";
import type { UpstreamNode } from "../node.ts";
import type { HealthView } from "./contract.ts";

/** What the shares of zones ask of the health of nodes. */
export interface ZoneHealth extends HealthView {
  /** Moves whenever some node may have gone up or down. */
  readonly version: number;
  /** Health is ignored. */
  readonly isPanic: boolean;
  /** Monotonic milliseconds since which the node is up; 0: it was never down. */
  upSince(node: UpstreamNode): number;
  now(): number;
}

const STEPS = 10;

/** Place of each zone among those of one priority. */
export class ZoneOrder {
  readonly settings: ZoneSettings;
  readonly #ranks = new Map<string, number>();

  /** `own`: zone of this gateway; null: it has none, and "local" is no zone. */
  constructor(settings: ZoneSettings, own: string | null) {
    this.settings = settings;
    for (const name of settings.order) {
      const zone = name === LOCAL ? own : name;
      if (zone !== null && !this.#ranks.has(zone)) this.#ranks.set(zone, this.#ranks.size);
    }
  }

  /** Lower ones first; `Infinity` for zones that are not named. */
  rankOf({ zone }: UpstreamNode): number {
    return this.#ranks.get(zone) ?? Infinity;
  }

  /** Without the nodes that must not serve. */
  served(nodes: readonly UpstreamNode[]): readonly UpstreamNode[] {
    return this.settings.strict ? nodes.filter((node) => this.rankOf(node) !== Infinity) : nodes;
  }
}

export class ZoneShares {
  readonly #groups: readonly (readonly UpstreamNode[])[];
  readonly #settings: ZoneSettings;
  readonly #health: ZoneHealth;
  readonly #random: () => number;
  /** Tenths of their turns that the groups take. */
  readonly #steps: number[];
  #version = -1;
  #expiresMs = Infinity;

  constructor(
    groups: readonly (readonly UpstreamNode[])[],
    settings: ZoneSettings,
    health: ZoneHealth,
    random: () => number,
  ) {
    this.#groups = groups;
    this.#settings = settings;
    this.#health = health;
    this.#random = random;
    this.#steps = groups.map(() => STEPS);
  }

  /** To be called before each pick. */
  look(): void {
    if (this.#health.version === this.#version) {
      if (this.#expiresMs === Infinity || this.#health.now() < this.#expiresMs) return;
    }
    this.#version = this.#health.version;
    this.#expiresMs = Infinity;
    for (let i = 0; i < this.#groups.length; i++) this.#steps[i] = this.#stepOf(this.#groups[i]);
  }

  /** Whether the group takes this turn. */
  takesTurn(group: number): boolean {
    const step = this.#steps[group];
    return step === STEPS || (step > 0 && this.#random() * STEPS < step);
  }

  #stepOf(nodes: readonly UpstreamNode[]): number {
    if (this.#health.isPanic) return STEPS;
    const { min_healthy_percent: percent, fail_back: failBack } = this.#settings;
    const needed = Math.max(1, Math.ceil((nodes.length * percent) / 100));
    const since: number[] = [];
    for (const node of nodes) if (!node.isDown) since.push(this.#health.upSince(node));
    if (since.length < needed) return 0;
    const backAt = since.sort((a, b) => a - b)[needed - 1];
    if (backAt === 0 || failBack === 0) return STEPS;
    const stepMs = (failBack * 1000) / STEPS;
    const passed = Math.max(0, Math.floor((this.#health.now() - backAt) / stepMs));
    if (passed + 1 >= STEPS) return STEPS;
    this.#expiresMs = Math.min(this.#expiresMs, backAt + (passed + 1) * stepMs);
    return passed + 1;
  }
}
