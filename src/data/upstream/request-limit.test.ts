/** Limits of an upstream: who runs, who waits, who is turned away. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestLimit } from "./request-limit.ts";

const HERE = { ended: false };

test("so many run, so many wait in order, the rest is turned away", async () => {
  let refused = 0;
  const limit = new RequestLimit({ requests: 2, queue: 2, queue_timeout: 60 }, () => refused++);
  assert.deepEqual([limit.enter(HERE), limit.enter(HERE)], [true, true]);
  const order: string[] = [];
  const first = (limit.enter(HERE) as Promise<boolean>).then((isIn) => order.push(`first ${isIn}`));
  const second = (limit.enter(HERE) as Promise<boolean>).then((isIn) => order.push(`second ${isIn}`));
  assert.equal(limit.enter(HERE), false);
  assert.equal(refused, 1);
  limit.leave();
  await first;
  limit.leave();
  await second;
  assert.deepEqual(order, ["first true", "second true"]);
  assert.equal(limit.running, 2);
  limit.leave();
  limit.leave();
  assert.deepEqual([limit.running, limit.waiting], [0, 0]);
});

test("who waits for too long is turned away, and takes no place", async () => {
  let refused = 0;
  const limit = new RequestLimit({ requests: 1, queue: 1, queue_timeout: 0.01 }, () => refused++);
  void limit.enter(HERE);
  assert.equal(await limit.enter(HERE), false);
  assert.deepEqual([refused, limit.waiting, limit.running], [1, 0, 1]);
  limit.leave();
  assert.equal(limit.enter(HERE), true);
});

test("a limit that became smaller lets nobody in until enough have left", async () => {
  const limit = new RequestLimit({ requests: 3, queue: 1, queue_timeout: 60 }, () => {});
  for (let i = 0; i < 3; i++) void limit.enter(HERE);
  const waits = limit.enter(HERE) as Promise<boolean>;
  limit.settings = { requests: 1, queue: 1, queue_timeout: 60 };
  limit.leave();
  limit.leave();
  assert.deepEqual([limit.running, limit.waiting], [1, 1]);
  limit.leave();
  assert.equal(await waits, true);
  assert.deepEqual([limit.running, limit.waiting], [1, 0]);
});

test("a limit that became larger lets in who waits before who comes", async () => {
  const limit = new RequestLimit({ requests: 1, queue: 3, queue_timeout: 60 }, () => {});
  void limit.enter(HERE);
  const waits = [limit.enter(HERE), limit.enter(HERE)];
  limit.settings = { requests: 2, queue: 3, queue_timeout: 60 };
  assert.deepEqual([limit.running, limit.waiting], [2, 1]);
  assert.equal(await waits[0], true);
  limit.leave();
  assert.equal(await waits[1], true);
  assert.deepEqual([limit.running, limit.waiting], [2, 0]);
});

test("who leaves while it waits makes room for another one", async () => {
  const limit = new RequestLimit({ requests: 1, queue: 1, queue_timeout: 60 }, () => {});
  void limit.enter(HERE);
  const left = { ended: false };
  const gone = limit.enter(left);
  assert.notEqual(typeof gone, "boolean");
  left.ended = true;
  const other = limit.enter(HERE);
  assert.notEqual(other, false);
  assert.equal(await gone, false);
  assert.equal(limit.waiting, 1);
  limit.leave();
  assert.equal(await other, true);
  assert.deepEqual([limit.running, limit.waiting], [1, 0]);
});
