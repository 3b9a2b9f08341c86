import assert from "node:assert/strict";
import { test } from "node:test";
import type { RollbackRule } from "../../model/rollout.ts";
import { BUCKETS_MS, OUTCOME_LABELS, REQUESTS } from "../../plugins/rollout/counts.ts";
import { MetricArena } from "../../shared/metric-arena.ts";
import { MetricLane } from "../../shared/metric-lane.ts";
import { MetricReader } from "../../shared/metric-reader.ts";
import {
  faultOf,
  noTotals,
  percentileMs,
  readTotals,
  TotalsWindow,
  type VariantTotals,
} from "./measurement.ts";

const RULE: RollbackRule = { percentile: 95, min_requests: 20, window: 60 };

function totals(ok: number, errors: number, tookMs: number[] = []): VariantTotals {
  const made = { ...noTotals(), ok, errors };
  for (const ms of tookMs) made.latency[indexOf(ms)]++;
  return made;
}

function indexOf(ms: number): number {
  const found = BUCKETS_MS.findIndex((bound) => ms <= bound);
  return found === -1 ? BUCKETS_MS.length : found;
}

test("a window forgets what is older than itself", () => {
  const window = new TotalsWindow(60_000);
  window.add(0, totals(100, 0));
  window.add(30_000, totals(150, 0));
  assert.equal(window.change().ok, 50);
  window.add(80_000, totals(160, 40));
  assert.deepEqual([window.change().ok, window.change().errors], [60, 40]);
  window.add(100_000, totals(170, 40));
  assert.deepEqual([window.change().ok, window.change().errors], [20, 40]);
});

test("a window keeps few samples, however often it is looked at", () => {
  const window = new TotalsWindow(60_000);
  for (let ms = 0; ms <= 600_000; ms += 100) window.add(ms, totals(ms, 0));
  const { ok } = window.change();
  assert.ok(ok >= 60_000 && ok <= 61_000, String(ok));
});

test("counts that begin anew are not less than nothing", () => {
  const window = new TotalsWindow(60_000);
  window.add(0, totals(100, 10));
  window.add(1000, totals(1, 0));
  window.add(2000, totals(3, 0));
  assert.deepEqual([window.change().ok, window.change().errors], [2, 0]);
});

test("a percentile is right to within a quarter", () => {
  const took = Array.from({ length: 1000 }, (_, i) => i + 1);
  for (const percent of [50, 95, 99, 99.9]) {
    const exact = took[Math.ceil((took.length * percent) / 100) - 1];
    const found = percentileMs(totals(1000, 0, took), percent)!;
    assert.ok(found >= exact && found <= exact * 1.25, `${percent}: ${found} for ${exact}`);
  }
  assert.equal(percentileMs(totals(1, 0, [1e9]), 50), Infinity);
  assert.equal(percentileMs(noTotals(), 50), null);
});

for (const [rule, canary, fault] of [
  [{ error_percent: 5 }, totals(19, 0), null],
  [{ error_percent: 5 }, totals(0, 19), null],
  [{ error_percent: 5 }, totals(95, 5), null],
  [{ error_percent: 5 }, totals(94, 6), /^6 per cent of 100 requests failed, more than 5$/],
  [{ error_percent: 0 }, totals(999, 1), /^0\.1 per cent/],
  [
    { latency: 0.1 },
    totals(
      20,
      0,
      Array.from({ length: 20 }, () => 50),
    ),
    null,
  ],
  [
    { latency: 0.1 },
    totals(
      20,
      0,
      Array.from({ length: 20 }, () => 500),
    ),
    /^95 per cent of 20 requests took up to/,
  ],
  [{ latency: 0.1 }, totals(20, 0, [...Array.from({ length: 19 }, () => 50), 500]), null],
  [
    { latency: 0.1, percentile: 99 },
    totals(20, 0, [...Array.from({ length: 19 }, () => 50), 500]),
    /^99 per cent/,
  ],
  [
    { latency: 0.1 },
    totals(
      20,
      0,
      Array.from({ length: 20 }, () => 1e9),
    ),
    /took more than/,
  ],
] as const) {
  test(`${JSON.stringify(rule)}: ${canary.ok} good and ${canary.errors} bad are ${fault === null ? "well" : "a fault"}`, () => {
    const found = faultOf({ ...RULE, ...rule }, canary);
    if (fault === null) assert.equal(found, null);
    else assert.match(found ?? "", fault);
  });
}

test("what workers count for nobody, for want of room, is told", async () => {
  const shared = MetricArena.create(65_536);
  const requests = new MetricLane(shared, 1).counter(REQUESTS, OUTCOME_LABELS);
  const [first, second] = ["r", "s"].map((id) => requests.series([id, "canary", "error"]));
  requests.inc(first, 3);
  const reader = new MetricReader([shared]);
  assert.equal((await readTotals(reader)).lost, 0);
  requests.inc(second, 2);
  const totals = await readTotals(reader);
  assert.deepEqual([totals.get("r")!.canary.errors, totals.has("s"), totals.lost], [3, false, 2]);
});
