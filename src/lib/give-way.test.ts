import assert from "node:assert/strict";
import { test } from "node:test";
import { giveWay } from "./give-way.ts";

test("a thread rests when it has run for half a millisecond, and not before", (t) => {
  let now = performance.now() + 1000;
  t.mock.method(performance, "now", () => now);
  const rests: number[] = [];
  t.mock.method(Atomics, "wait", (_cell: Int32Array, _index: number, _value: number, ms: number) => {
    rests.push(now);
    now += ms;
    return "timed-out";
  });
  const begin = now;
  for (; now < begin + 5; now += 0.1) giveWay();
  assert.equal(rests[0], begin);
  assert.ok(rests.length > 1);
  for (const [i, at] of rests.slice(1).entries()) assert.ok(at - rests[i] >= 0.55, String(rests));
});
