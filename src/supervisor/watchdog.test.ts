import assert from "node:assert/strict";
import { test } from "node:test";
import { Watchdog, type WatchedThread } from "./watchdog.ts";

const options = { heartbeatMs: 100, staleAfterMs: 1000, startGraceMs: 5000 };

function thread(slot: number, lastBeatMs: number, hasBeaten = true): WatchedThread {
  return { slot, lastBeatMs, hasBeaten, startedAtMs: 0 };
}

/** Looks every 100 ms from `fromMs` to `toMs` and tells when which slot was to be terminated. */
function run(watchdog: Watchdog, fromMs: number, toMs: number, threads: (nowMs: number) => WatchedThread[]) {
  const terminated: [number, number][] = [];
  for (let now = fromMs; now <= toMs; now += 100) {
    const found = watchdog.look(now, threads(now));
    if (found !== null) terminated.push([now, found.slot]);
  }
  return terminated;
}

test("a thread whose heartbeat is older than the limit is terminated, the others are not", () => {
  const watchdog = new Watchdog(options, 0);
  const terminated = run(watchdog, 100, 1800, (now) => [thread(0, now), thread(1, 500)]);
  assert.deepEqual(terminated, [[1600, 1]]);
});

test("after a pause of the whole process all threads get the span anew", () => {
  const watchdog = new Watchdog(options, 0);
  assert.deepEqual(
    run(watchdog, 100, 1000, (now) => [thread(0, now), thread(1, now)]),
    [],
  );
  const stale = () => [thread(0, 1000), thread(1, 1000)];
  assert.deepEqual(run(watchdog, 9000, 10_000, stale), []);
  assert.equal(watchdog.look(10_100, stale())?.slot, 0);
});

test("one hanging thread is terminated at a time, the next when the successor serves", () => {
  const watchdog = new Watchdog(options, 0);
  run(watchdog, 100, 1000, () => []);
  assert.equal(watchdog.look(1100, [thread(0, 50), thread(1, 10)])?.slot, 1);
  assert.equal(watchdog.look(1200, [thread(0, 50)]), null);
  watchdog.recovered(1);
  assert.equal(watchdog.look(1300, [thread(0, 50), thread(1, 1300)])?.slot, 0);
});

test("a successor that never serves does not protect the others for ever", () => {
  const watchdog = new Watchdog(options, 0);
  const terminated = run(watchdog, 100, 3000, () => [thread(0, 50), thread(1, 10)]);
  assert.deepEqual(
    terminated.map(([now]) => now),
    [1100, 2100],
  );
});

test("a thread that still loads has the start grace", () => {
  const watchdog = new Watchdog(options, 0);
  assert.deepEqual(
    run(watchdog, 100, 5100, () => [thread(0, 0, false)]),
    [[5100, 0]],
  );
});
