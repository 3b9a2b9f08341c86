import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { ownerTag } from "./lanes.ts";
import { ABANDONED, ACQUIRED, SpinLock, TIMED_OUT } from "./spin-lock.ts";

test("a lock is held by one thread at a time", async () => {
  const words = new Int32Array(new SharedArrayBuffer(16));
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.module).then(({ SpinLock }) => {
      const lock = new SpinLock(workerData.words, workerData.tag);
      for (let i = 0; i < 20000; i++) {
        if (lock.acquire(0) !== 1) throw new Error("not acquired");
        workerData.words[1]++;
        lock.release(0);
      }
      parentPort.postMessage("done");
    });`;
  const workers = [1, 2, 3].map((tag) => {
    const module = new URL("spin-lock.ts", import.meta.url).href;
    return new Worker(code, { eval: true, workerData: { module, words, tag } });
  });
  await Promise.all(workers.map((worker) => once(worker, "message")));
  assert.equal(words[1], 60_000);
  assert.equal(words[0], 0);
});

test("a lock that a dead thread left is given up on, taken over by its tag, and free again", () => {
  const words = new Int32Array(new SharedArrayBuffer(16));
  const dead = new SpinLock(words, ownerTag(0, 1));
  const waiting = new SpinLock(words, ownerTag(1, 1));
  const supervisor = new SpinLock(words, ownerTag(-2, 0));
  assert.equal(dead.acquire(3), ACQUIRED);
  assert.equal(waiting.acquire(3), TIMED_OUT);
  assert.equal(waiting.acquire(3), TIMED_OUT);
  assert.equal(supervisor.takeOver(3, ownerTag(0, 2)), false);
  assert.equal(supervisor.takeOver(3, ownerTag(0, 1)), true);
  supervisor.release(3);
  assert.equal(waiting.acquire(3), ACQUIRED);
});

test("a thread that left its own lock held is told so, not stuck", () => {
  const lock = new SpinLock(new Int32Array(new SharedArrayBuffer(4)), ownerTag(5, 7));
  lock.acquire(0);
  assert.equal(lock.acquire(0), ABANDONED);
});

test("no two threads share a tag, and none is the free lock", () => {
  const tags = new Set<number>();
  for (let slot = -2; slot < 1000; slot++) {
    for (const generation of [0, 1, 2, 2 ** 21 - 1]) tags.add(ownerTag(slot, generation));
  }
  assert.equal(tags.size, 1002 * 4);
  assert.ok(!tags.has(0) && Math.min(...tags) > 0);
});
