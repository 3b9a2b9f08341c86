/**
 * What became of the requests of rollouts on this node: the counts that workers keep in shared memory, added up, and how
 * they changed within a window of time.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { RollbackRule } from "../../model/rollout.ts";
import { BUCKETS_MS, LATENCY, REQUESTS } from "../../plugins/rollout/counts.ts";
import type { MergedFamily, MetricReader } from "../../shared/metric-reader.ts";

/** Of one upstream of a rollout, since its series are there. */
export interface VariantTotals {
  ok: number;
  errors: number;
  /** How many lie in each of `BUCKETS_MS`, and above. */
  latency: Float64Array;
}

export interface RolloutTotals {
  canary: VariantTotals;
  stable: VariantTotals;
}

/** Of all rollouts, by id. */
export interface AllTotals extends ReadonlyMap<string, RolloutTotals> {
  /** What was counted for nobody, since workers had no room for series: something of some rollout. Absent: nothing. */
  lost?: number;
}

/** Ids have no character that would be escaped. */
const SERIES = /^rollout="([^"]*)",variant="(canary|stable)"(?:,outcome="(ok|error)")?$/;
const SAMPLES = 60;
const SLICE_MS = 4;

export function noTotals(): VariantTotals {
  return { ok: 0, errors: 0, latency: new Float64Array(BUCKETS_MS.length + 1) };
}

/** By id of the rollout. Gives the event loop its turns: there may be many other series. */
export async function readTotals(reader: MetricReader): Promise<AllTotals> {
  let end = performance.now() + SLICE_MS;
  for (const _ of reader.refresh()) {
    if (performance.now() < end) continue;
    await nextTurn();
    end = performance.now() + SLICE_MS;
  }
  const totals = new Map<string, RolloutTotals>();
  let lost = 0;
  for (const family of reader.families) {
    const { name } = family.definition;
    if (name === REQUESTS || name === LATENCY) lost += addFamily(totals, family);
  }
  return Object.assign(totals, { lost });
}

/** Gives what was counted for none of them. */
function addFamily(totals: Map<string, RolloutTotals>, family: MergedFamily): number {
  const values = new Float64Array(family.values);
  let lost = 0;
  for (const first of family.series) {
    const match = SERIES.exec(family.lanes[first].text(family.records[first]));
    if (match === null) {
      family.sumAll(first, values);
      lost += values.reduce((sum, value) => sum + value, 0);
      continue;
    }
    const [, id, variant, outcome] = match;
    let both = totals.get(id);
    if (both === undefined) totals.set(id, (both = { canary: noTotals(), stable: noTotals() }));
    const of = both[variant as "canary" | "stable"];
    family.sumAll(first, values);
    if (outcome === "ok") of.ok += values[0];
    else if (outcome === "error") of.errors += values[0];
    // The first value of a histogram is its sum.
    else for (let i = 0; i < of.latency.length; i++) of.latency[i] += values[i + 1];
  }
  return lost;
}

/** The change of one upstream's totals over the last moments. */
export class TotalsWindow {
  /** May change. */
  lengthMs: number;
  /** Oldest first; the first may lie before the window. */
  #samples: { atMs: number; totals: VariantTotals }[] = [];
  #latest: { atMs: number; totals: VariantTotals } | null = null;

  constructor(lengthMs: number) {
    this.lengthMs = lengthMs;
  }

  /** `atMs`: monotonic. The first call is what the others are compared with. */
  add(atMs: number, totals: VariantTotals): void {
    const latest = this.#latest;
    if (latest !== null && countOf(totals) < countOf(latest.totals)) this.#samples = [];
    this.#latest = { atMs, totals };
    const newest = this.#samples.at(-1);
    if (newest === undefined || atMs - newest.atMs >= this.lengthMs / SAMPLES)
      this.#samples.push(this.#latest);
    while (this.#samples.length > 1 && this.#samples[1].atMs <= atMs - this.lengthMs) this.#samples.shift();
  }

  change(): VariantTotals {
    const change = noTotals();
    if (this.#latest === null) return change;
    const now = this.#latest.totals;
    const before = this.#samples[0].totals;
    change.ok = now.ok - before.ok;
    change.errors = now.errors - before.errors;
    for (let i = 0; i < change.latency.length; i++) change.latency[i] = now.latency[i] - before.latency[i];
    return change;
  }
}

export function countOf({ ok, errors }: VariantTotals): number {
  return ok + errors;
}

/** In per cent; 0 without requests. */
export function errorPercent(totals: VariantTotals): number {
  const count = countOf(totals);
  return count === 0 ? 0 : (100 * totals.errors) / count;
}

/** Milliseconds below which `percent` of the requests stay: the end of their bucket. Null without any. */
export function percentileMs({ latency }: VariantTotals, percent: number): number | null {
  const count = latency.reduce((sum, each) => sum + each, 0);
  if (count === 0) return null;
  const goal = (count * percent) / 100;
  let sum = 0;
  for (let i = 0; i < BUCKETS_MS.length; i++) {
    sum += latency[i];
    if (sum >= goal) return BUCKETS_MS[i];
  }
  return Infinity;
}

/** Why the canary must not go on; null: it may. */
export function faultOf(rule: RollbackRule, canary: VariantTotals): string | null {
  const count = countOf(canary);
  if (count < rule.min_requests) return null;
  const { error_percent: mostErrors, latency: longest, percentile } = rule;
  const errors = errorPercent(canary);
  if (mostErrors !== undefined && errors > mostErrors)
    return `${rounded(errors)} per cent of ${count} requests failed, more than ${mostErrors}`;
  if (longest === undefined) return null;
  const tookMs = percentileMs(canary, percentile);
  if (tookMs === null || tookMs <= longest * 1000) return null;
  const took =
    tookMs === Infinity ? `more than ${BUCKETS_MS.at(-1)! / 1000}` : `up to ${rounded(tookMs / 1000)}`;
  return `${percentile} per cent of ${count} requests took ${took} s, more than ${longest}`;
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
