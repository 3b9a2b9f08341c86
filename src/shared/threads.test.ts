import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { CONTROL_SLOT } from "./lanes.ts";
import { monotonicMs, Threads } from "./threads.ts";

test("beats, revisions and load are read back by slot", () => {
  let now = 5000;
  const threads = new Threads(new SharedArrayBuffer(Threads.bytes(2)), () => now);
  threads.begin(1, 4);
  assert.equal(threads.state(1), "starting");
  now = 6000;
  threads.beat(1);
  threads.beat(CONTROL_SLOT);
  threads.acknowledge(1, 2 ** 40);
  threads.publishedRevision = 2 ** 40 + 1;
  threads.reportLoad(1, 2.5, 1e9, 12);
  assert.deepEqual(threads.report(1), {
    slot: 1,
    generation: 4,
    state: "starting",
    appliedRevision: 2 ** 40,
    lastBeatMs: 6000,
    eventLoopDelayMs: 2.5,
    heapUsedBytes: 1e9,
    connections: 12,
  });
  assert.deepEqual([threads.lastBeat(0), threads.lastBeat(CONTROL_SLOT)], [0, 6000]);
  assert.equal(threads.publishedRevision, 2 ** 40 + 1);
  assert.equal(threads.workers, 2);
});

test("an acknowledgement in another thread wakes whoever waits for it, with the same clock", async () => {
  const shared = new SharedArrayBuffer(Threads.bytes(1));
  const threads = new Threads(shared);
  const seen = threads.changes;
  const before = monotonicMs();
  const worker = new Worker(
    `const { workerData } = require("node:worker_threads");
     import(workerData.module).then(({ Threads }) => {
       const threads = new Threads(workerData.shared);
       threads.beat(0);
       threads.acknowledge(0, 9);
     });`,
    { eval: true, workerData: { shared, module: new URL("threads.ts", import.meta.url).href } },
  );
  await threads.whenChanged(seen, 60_000);
  assert.equal(threads.applied(0), 9);
  assert.ok(threads.lastBeat(0) >= before && threads.lastBeat(0) <= monotonicMs());
  await worker.terminate();
});

test("waiting for what has happened already, or for nothing, ends", async () => {
  const threads = new Threads(new SharedArrayBuffer(Threads.bytes(1)));
  const seen = threads.changes;
  threads.acknowledge(0, 1);
  await threads.whenChanged(seen, 60_000);
  await threads.whenChanged(threads.changes, 1);
});
