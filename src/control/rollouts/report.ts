/** What is told of rollouts: by the Control API and on the metrics page. */

import type { FactFamily, FactSample } from "../fact-families.ts";
import type { PublishedRollout } from "../../model/rollout.ts";
import type { Observed, RolloutDriver } from "./driver.ts";
import type { RolloutItems } from "./items.ts";
import { countOf, errorPercent, percentileMs, type VariantTotals } from "./measurement.ts";

export type RolloutStateName = "waiting" | "running" | "paused" | "promoted" | "rolled_back" | "aborted";

const STATES: readonly RolloutStateName[] = [
  "waiting",
  "running",
  "paused",
  "promoted",
  "rolled_back",
  "aborted",
];
const DEFAULT_PERCENTILE = 95;

export class RolloutReport {
  readonly #items: RolloutItems;
  readonly #driver: Pick<RolloutDriver, "observed">;
  readonly #holder: string;

  constructor(items: RolloutItems, driver: Pick<RolloutDriver, "observed">, holder: string) {
    this.#items = items;
    this.#driver = driver;
    this.#holder = holder;
  }

  list(): object[] {
    return [...this.#items.list()].map((rollout) => this.#shown(rollout));
  }

  /** Null: there is none. */
  get(id: string): object | null {
    const rollout = this.#items.get(id);
    return rollout === null ? null : this.#shown(rollout);
  }

  families(): FactFamily[] {
    const weights: FactSample[] = [];
    const steps: FactSample[] = [];
    const states: FactSample[] = [];
    for (const rollout of this.#items.list()) {
      const labels = { rollout: rollout.id };
      const state = this.#stateOf(rollout);
      weights.push({ labels, value: this.#items.weightOf(rollout) });
      steps.push({ labels, value: this.#stepOf(rollout) });
      for (const each of STATES)
        states.push({ labels: { ...labels, state: each }, value: each === state ? 1 : 0 });
    }
    if (weights.length === 0) return [];
    return [
      gauge("rollout_weight", "Per cent of the requests that the canary of a rollout gets", weights),
      gauge("rollout_step", "Step at which a rollout is, from 1; 0: it has not begun", steps),
      gauge("rollout_state", "1 for the state that a rollout is in", states),
    ];
  }

  #shown(rollout: PublishedRollout): object {
    const { id, target, stable, canary, steps, rollback } = rollout;
    const progress = this.#items.progressOf(id);
    const current = progress?.run === rollout.run ? progress : null;
    const observed = this.#driver.observed(rollout);
    const isDriver = current?.holder === this.#holder;
    const place: Pick<Observed, "elapsed" | "requests"> | null = isDriver ? (observed ?? current) : current;
    const reason = current?.reason ?? observed?.fault ?? undefined;
    const percentile = rollback?.percentile ?? DEFAULT_PERCENTILE;
    return {
      id,
      [`${target.kind}_id`]: target.id,
      state: this.#stateOf(rollout),
      weight: this.#items.weightOf(rollout),
      step: this.#stepOf(rollout),
      steps: steps.length,
      elapsed: Math.round((place?.elapsed ?? 0) * 10) / 10,
      requests: place?.requests ?? 0,
      ...(reason !== undefined && { reason }),
      ...(current !== null && { since: current.since, holder: current.holder, drives: isDriver }),
      canary: { upstream_id: canary, ...measured(observed?.canary, percentile) },
      stable: {
        ...(stable !== undefined && { upstream_id: stable }),
        ...measured(observed?.stable, percentile),
      },
    };
  }

  #stateOf(rollout: PublishedRollout): RolloutStateName {
    const progress = this.#items.progressOf(rollout.id);
    const current = progress?.run === rollout.run ? progress : null;
    if (rollout.action === "abort" && current?.phase !== "rolled_back") return "aborted";
    if (current !== null && current.phase !== "running") return current.phase;
    if (this.#items.isHeld(rollout)) return "rolled_back";
    if (rollout.action === "promote") return "promoted";
    if (current === null) return "waiting";
    return rollout.action === "pause" ? "paused" : "running";
  }

  #stepOf({ id, run, steps }: PublishedRollout): number {
    const progress = this.#items.progressOf(id);
    return progress?.run === run ? Math.min(progress.step + 1, steps.length) : 0;
  }
}

/** On this node, within the window. */
function measured(totals: VariantTotals | undefined, percentile: number): object {
  if (totals === undefined) return {};
  const ms = percentileMs(totals, percentile);
  return {
    requests: countOf(totals),
    error_percent: Math.round(errorPercent(totals) * 100) / 100,
    ...(ms !== null && Number.isFinite(ms) && { latency: Math.round(ms) / 1000 }),
  };
}

function gauge(name: string, help: string, samples: FactSample[]): FactFamily {
  return { name, type: "gauge", help, samples };
}
