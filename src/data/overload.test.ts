import assert from "node:assert/strict";
import { mock, test, type TestContext } from "node:test";
import { CHECK_MS, Overload, type OverloadLimits } from "./overload.ts";
import { WorkerHeap } from "./worker-heap.ts";

const LIMIT_BYTES = 1000;

/** A loop and a heap that do what the test says. */
function bench(t: TestContext, limits: OverloadLimits) {
  mock.timers.enable({ apis: ["setInterval"] });
  let now = 0;
  const heap = {
    used: 0,
    live: 0,
    collections: 0,
    limitBytes: LIMIT_BYTES,
    usedBytes: () => heap.used,
    collect: () => {
      heap.collections++;
      heap.used = heap.live;
    },
  };
  const overload = new Overload(limits, () => {}, { heap, now: () => now });
  t.after(() => {
    overload.close();
    mock.timers.reset();
  });
  const check = (lateMs = 0) => {
    now += CHECK_MS + lateMs;
    mock.timers.tick(CHECK_MS);
    return overload.isOverloaded;
  };
  return { heap, check };
}

test("a loop that stays late is an overload until it is in time again; late once, as after a pause, is none", (t) => {
  const { check } = bench(t, { shedEventLoopDelayMs: 50, shedHeapShare: 0 });
  assert.equal(check(51), false);
  assert.equal(check(50), false);
  assert.equal(check(51), false);
  assert.equal(check(51), true);
  assert.equal(check(), false);
});

test("a heap that lives beyond its share is an overload", (t) => {
  const { heap, check } = bench(t, { shedEventLoopDelayMs: 0, shedHeapShare: 0.9 });
  heap.used = heap.live = 900;
  assert.equal(check(), false);
  heap.used = heap.live = 901;
  assert.equal(check(), true);
});

test("a heap that is full of garbage is collected instead", (t) => {
  const { heap, check } = bench(t, { shedEventLoopDelayMs: 0, shedHeapShare: 0.9 });
  heap.used = 950;
  heap.live = 100;
  assert.equal(check(), false);
  assert.equal(heap.collections, 1);
});

test("a full heap that becomes garbage ends the overload within seconds, without a collection at every check", (t) => {
  const { heap, check } = bench(t, { shedEventLoopDelayMs: 0, shedHeapShare: 0.9 });
  heap.used = heap.live = 950;
  assert.equal(check(), true);
  heap.live = 100;
  const checks = 5000 / CHECK_MS;
  for (let i = 1; i < checks; i++) assert.equal(check(), true);
  assert.equal(heap.collections, 1);
  assert.equal(check(), false);
  assert.equal(heap.collections, 2);
});

test("what is not set does not count", (t) => {
  const { heap, check } = bench(t, { shedEventLoopDelayMs: 0, shedHeapShare: 0 });
  heap.used = heap.live = LIMIT_BYTES;
  assert.equal(check(10_000), false);
  assert.equal(heap.collections, 0);
});

test("the heap of this thread counts what lives in the old generation, and gives back what does not", () => {
  const heap = new WorkerHeap();
  heap.collect();
  const before = heap.usedBytes();
  let kept: number[] | null = Array.from({ length: 2_000_000 }, (_, i) => i + 0.5);
  heap.collect();
  assert.ok(heap.usedBytes() - before > 8 * kept.length * 0.9);
  kept = null;
  heap.collect();
  assert.ok(heap.usedBytes() - before < 1024 * 1024);
  assert.ok(heap.limitBytes > before);
});
