import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { MetricArena } from "./metric-arena.ts";
import { MetricLane } from "./metric-lane.ts";
import { MetricReader } from "./metric-reader.ts";

function read(reader: MetricReader): Record<string, number[]> {
  for (const _ of reader.refresh());
  const found: Record<string, number[]> = {};
  for (const family of reader.families) {
    for (const series of family.series) {
      if (family.isHidden(series)) continue;
      const name = `${family.definition.name}{${family.lanes[series].text(family.records[series])}}`;
      assert.ok(!(name in found), `${name} twice`);
      found[name] = Array.from({ length: family.values }, (_, value) => family.sum(series, value));
    }
  }
  return found;
}

test("lanes are added up by labels", () => {
  const lanes = [MetricArena.create(65_536), MetricArena.create(65_536)];
  const reader = new MetricReader(lanes);
  for (const [i, lane] of lanes.map((shared) => new MetricLane(shared)).entries()) {
    const status = lane.counter("status", ["code", "route"]);
    status.inc(status.series(["200", "a"]), 2 + i);
    status.inc(status.series([`50${i}`, 'q"\\\n']));
    const latency = lane.histogram("latency", [], [1, 5]);
    for (const value of [0.5, 1, 3, 9]) latency.observe(latency.series([]), value);
  }
  assert.deepEqual(read(reader), {
    'status{code="200",route="a"}': [5],
    'status{code="500",route="q\\"\\\\\\n"}': [1],
    'status{code="501",route="q\\"\\\\\\n"}': [1],
    "latency{}": [27, 4, 2, 2],
  });
});

test("a lane survives its worker: counters go on, gauges of the dead start anew", () => {
  const shared = MetricArena.create(65_536);
  const before = new MetricLane(shared);
  const hits = before.counter("hits", ["route"]);
  hits.inc(hits.series(["a"]), 7);
  const open = before.gauge("open", []);
  open.set(open.series([]), 3);
  new MetricArena(shared).clearGauges();

  const after = new MetricLane(shared);
  const again = after.counter("hits", ["route"]);
  again.inc(again.series(["a"]));
  assert.deepEqual(read(new MetricReader([shared])), { 'hits{route="a"}': [8], "open{}": [0] });
  assert.equal(after.stats.series, 2);
});

test("a family whose shape changed with the new worker is given up, and its room used again", () => {
  const shared = MetricArena.create(65_536);
  const first = new MetricLane(shared).counter("hits", ["a"]);
  first.inc(first.series(["1"]));
  const lane = new MetricLane(shared);
  const second = lane.counter("hits", ["b"]);
  second.inc(second.series(["1"]));
  assert.deepEqual(read(new MetricReader([shared])), { 'hits{b="1"}': [1] });
});

test("beyond the cap an overflow series takes the rest, and it is counted", () => {
  const shared = MetricArena.create(65_536);
  const lane = new MetricLane(shared, 3);
  const hits = lane.counter("hits", ["route"]);
  for (let i = 0; i < 10; i++) hits.inc(hits.series([`r${i}`]));
  const reader = new MetricReader([shared]);
  assert.deepEqual(read(reader), {
    'hits{route="r0"}': [1],
    'hits{route="r1"}': [1],
    'hits{route="r2"}': [1],
    'hits{route="overflow"}': [7],
  });
  assert.equal(reader.totals().overflowed, 7);
});

test("a lane without room counts on in overflow series and throws nothing", () => {
  const shared = MetricArena.create(16_384);
  const lane = new MetricLane(shared);
  for (let f = 0; f < 40; f++) {
    const family = lane.histogram(`f${f}`, ["x"], [1, 2, 3]);
    for (let i = 0; i < 40; i++) family.observe(family.series([`${i}`.repeat(20)]), 1);
  }
  assert.ok(new MetricReader([shared]).totals().errors > 0);
});

test("registering, counting, releasing and restarting agree with a map", () => {
  const step = fc.record({
    operation: fc.constantFrom("inc", "inc", "inc", "release", "restart"),
    lane: fc.nat(1),
    label: fc.constantFrom("", "a", "bb", "__proto__", "ü", "\ud800", "x".repeat(90)),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const shared = [MetricArena.create(65_536), MetricArena.create(65_536)];
      const reader = new MetricReader(shared);
      const open = (lane: number) => new MetricLane(shared[lane]).counter("hits", ["l"]);
      const families = [open(0), open(1)];
      const twin = [new Map<string, number>(), new Map<string, number>()];
      for (const { operation, lane, label } of steps) {
        const family = families[lane];
        if (operation === "restart") families[lane] = open(lane);
        else if (operation === "inc") {
          family.inc(family.series([label]));
          twin[lane].set(label, (twin[lane].get(label) ?? 0) + 1);
        } else if (twin[lane].delete(label)) family.release(family.series([label]));
        const expected: Record<string, number[]> = {};
        for (const [label, count] of [...twin[0], ...twin[1]]) {
          const name = `hits{l="${label.toWellFormed()}"}`;
          expected[name] = [(expected[name]?.[0] ?? 0) + count];
        }
        assert.deepEqual(read(reader), expected);
      }
    }),
  );
});

test("mistakes name the metric, what was given and what was expected", () => {
  const lane = new MetricLane(MetricArena.create(65_536));
  lane.counter("hits", ["a"]);
  assert.equal(lane.counter("hits", ["a"]), lane.counter("hits", ["a"]));
  assert.throws(() => lane.counter("hits", ["b"]), /metric hits: given counter\(b\).* as counter\(a\)/);
  assert.throws(() => lane.counter("a b"), /metric name: given "a b"/);
  assert.throws(() => lane.histogram("h", ["le"], [1]), /metric h: given label "le"/);
  assert.throws(() => lane.histogram("h", [], [2, 1]), /metric h: given buckets \[2, 1\]/);
  assert.throws(
    () => lane.counter("hits", ["a"]).series([]),
    /metric hits: given 0 label values, expected 1/,
  );
});
