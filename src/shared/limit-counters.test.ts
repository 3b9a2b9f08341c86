import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { LimitCounters } from "./limit-counters.ts";
import { LimitTable } from "./limit-table.ts";

function open(capacity = 1000): LimitCounters {
  return new LimitCounters(new LimitTable(LimitTable.create(capacity, 2), 0, 1));
}

const keys = fc.constantFrom(
  "a",
  "b",
  "route#1:10.0.0.1",
  "ü".repeat(30),
  "日本",
  "x".repeat(200),
  "x".repeat(201),
);

test("a fixed window agrees with its naive twin", () => {
  const step = fc.record({
    key: keys,
    cost: fc.integer({ min: 0, max: 5 }),
    afterMs: fc.integer({ min: 0, max: 400 }),
    always: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 12 }), (steps, limit) => {
      const counters = open();
      const twin = new Map<string, { end: number; count: number }>();
      let now = 1_700_000_000_000;
      for (const { key, cost, afterMs, always } of steps) {
        now += afterMs;
        let window = twin.get(key);
        if (window === undefined || window.end <= now)
          twin.set(key, (window = { end: now + 1000, count: 0 }));
        const allowed = window.count + cost <= limit;
        if (allowed || always) window.count += cost;
        const told = always
          ? counters.charge(key, cost, limit, 1000, now)
          : counters.increment(key, cost, limit, 1000, now);
        assert.deepEqual(
          [told, counters.allowed, counters.remaining, counters.resetMs, counters.full],
          [allowed, allowed, Math.max(0, limit - window.count), window.end - now, false],
        );
      }
    }),
  );
});

test("a sliding window agrees with its naive twin", () => {
  const step = fc.record({ key: keys, afterMs: fc.integer({ min: 0, max: 1500 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (steps, limit) => {
      const counters = open();
      const twin = new Map<string, number>();
      let now = 1_700_000_000_000;
      for (const { key, afterMs } of steps) {
        now += afterMs;
        const window = Math.floor(now / 1000);
        const left = 1000 - (now % 1000);
        const count = twin.get(`${key}/${window}`) ?? 0;
        const last = Math.min(limit, twin.get(`${key}/${window - 1}`) ?? 0);
        const estimate = (last / 1000) * left;
        const allowed = count < limit && count + estimate < limit;
        if (allowed) twin.set(`${key}/${window}`, count + 1);
        assert.equal(counters.slide(key, 1, limit, 1000, now), allowed);
        if (allowed) assert.equal(counters.remaining, Math.max(0, Math.floor(limit - count - 1 - estimate)));
        else assert.ok(counters.resetMs >= 0 && counters.resetMs <= 1000);
      }
    }),
  );
});

test("a leaky bucket agrees with its naive twin", () => {
  const step = fc.record({ key: keys, afterMs: fc.integer({ min: 0, max: 700 }) });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.constantFrom(1, 2, 4, 10),
      fc.integer({ min: 0, max: 3 }),
      (steps, rate, burst) => {
        const counters = open();
        const twin = new Map<string, { excess: number; last: number }>();
        let now = 1_700_000_000_000;
        for (const { key, afterMs } of steps) {
          now += afterMs;
          const bucket = twin.get(key);
          const excess =
            bucket === undefined ? 0 : Math.max(0, bucket.excess - (rate * (now - bucket.last)) / 1000 + 1);
          const allowed = excess <= burst + 1e-6;
          if (allowed) twin.set(key, { excess, last: now });
          assert.equal(counters.leak(key, rate, burst, now), allowed);
          if (allowed) assert.ok(Math.abs(counters.delayMs - (excess / rate) * 1000) < 0.01);
        }
      },
    ),
  );
});

test("units held agree with their naive twin over two workers", () => {
  const step = fc.record({ key: keys, worker: fc.nat(1), release: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const shared = LimitTable.create(1000, 2);
      const workers = [0, 1].map((slot) => new LimitCounters(new LimitTable(shared, slot, 1)));
      const twin = new Map<string, [number, number]>();
      for (const { key, worker, release } of steps) {
        const held = twin.get(key) ?? [0, 0];
        twin.set(key, held);
        if (release) {
          assert.equal(workers[worker].release(key), held[worker] > 0);
          if (held[worker] > 0) held[worker]--;
        } else {
          const allowed = held[0] + held[1] < 3;
          assert.equal(workers[worker].hold(key, 3, 1000), allowed);
          if (allowed) held[worker]++;
          assert.equal(workers[worker].held, held[0] + held[1]);
        }
      }
    }),
  );
});

test("a dead worker's units are given back, those of others stay", () => {
  const shared = LimitTable.create(1000, 2);
  const first = new LimitCounters(new LimitTable(shared, 0, 1));
  const second = new LimitCounters(new LimitTable(shared, 1, 1));
  for (let i = 0; i < 3; i++) first.hold("k", 10, 0);
  second.hold("k", 10, 0);
  new LimitTable(shared, -2, 0).repairAfterDeath(0, 1);
  second.hold("k", 10, 0);
  assert.equal(second.held, 2);
});

test("a flood of ten times the capacity in other keys does not reset the attacked key", () => {
  const counters = open(4096);
  const now = 1_700_000_000_000;
  for (let i = 0; i < 5; i++) assert.equal(counters.increment("attacked", 1, 5, 60_000, now), true);
  let refused = 0;
  for (let i = 0; i < 40_960; i++) {
    counters.increment(`flood ${i}`, 1, 5, 60_000, now);
    if (counters.full) refused++;
  }
  assert.equal(counters.increment("attacked", 1, 5, 60_000, now), false);
  assert.equal(counters.full, false);
  const { capacity, used, refusals } = counters.stats();
  assert.equal(refusals, refused);
  assert.deepEqual([used, refused], [capacity, 40_961 - capacity]);
  assert.ok(capacity >= 4096);
});

test("a full table takes new keys as soon as old ones have expired", () => {
  const counters = open(256);
  for (let i = 0; i < 1000; i++) counters.increment(`old ${i}`, 1, 5, 1000, 5000);
  counters.increment("new", 1, 5, 1000, 5999);
  assert.equal(counters.full, true);
  for (let i = 0; i < 200; i++) {
    counters.increment(`new ${i}`, 1, 5, 1000, 6000);
    assert.equal(counters.full, false);
  }
});

test("a full table makes room of what has expired, and of nothing that has a moment left", () => {
  const counters = open(64);
  counters.increment("short", 1, 1, 500, 5000);
  for (let i = 0; i < 63; i++) counters.increment(`long ${i}`, 1, 1, 1000, 5000);
  counters.increment("first", 1, 1, 1000, 5999);
  assert.equal(counters.full, false);
  counters.increment("second", 1, 1, 1000, 5999);
  assert.equal(counters.full, true);
  for (let i = 0; i < 63; i++) assert.equal(counters.increment(`long ${i}`, 1, 1, 1000, 5999), false);
});

test("a table full of units takes new keys once they are released", () => {
  const counters = open(64);
  for (let i = 0; i < 64; i++) counters.hold(`k${i}`, 1, 5000);
  assert.equal(counters.hold("new", 1, 5000), false);
  assert.equal(counters.full, true);
  assert.equal(counters.release("k7"), true);
  assert.equal(counters.hold("new", 1, 5000), true);
});

test("a clock that is set back shortens the window to its length", () => {
  const counters = open();
  counters.increment("k", 1, 1, 1000, 10_000_000);
  assert.equal(counters.increment("k", 1, 1, 1000, 5_000_000), false);
  assert.equal(counters.resetMs, 1000);
  assert.equal(counters.increment("k", 1, 1, 1000, 5_001_000), true);
});

test("reset by prefix starts these keys anew, also shortened ones, and no others", () => {
  const counters = open();
  const long = `route#1:${"y".repeat(300)}`;
  for (const key of ["route#1:a", long, "route#2:a"]) counters.increment(key, 1, 1, 60_000, 1000);
  assert.equal(counters.reset("route#1:"), 2);
  assert.equal(counters.increment("route#1:a", 1, 1, 60_000, 1000), true);
  assert.equal(counters.increment(long, 1, 1, 60_000, 1000), true);
  assert.equal(counters.increment("route#2:a", 1, 1, 60_000, 1000), false);
  assert.equal(counters.reset(), 3);
});

test("the shortened form of a key cannot be sent as a key", async () => {
  const { hash } = await import("node:crypto");
  const counters = open();
  const long = "z".repeat(200);
  counters.increment(long, 1, 1, 60_000, 1000);
  const forged = `${long.slice(0, 40)}\n${hash("sha256", long, "base64url")}`;
  assert.equal(counters.increment(forged, 1, 1, 60_000, 1000), true);
});
