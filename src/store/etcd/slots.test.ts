import assert from "node:assert/strict";
import { test } from "node:test";
import { Slots } from "./slots.ts";

test("no more than the slots run at a time, in order, and one that fails makes room", async () => {
  const slots = new Slots(3);
  const begun: number[] = [];
  let running = 0;
  let most = 0;
  const runs = Array.from({ length: 20 }, (_, i) =>
    slots.run(async () => {
      begun.push(i);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (i % 4 === 0) throw new Error("it fails");
      return i;
    }),
  );
  const outcomes = await Promise.allSettled(runs);
  assert.equal(outcomes.filter(({ status }) => status === "rejected").length, 5);
  assert.deepEqual(
    begun,
    Array.from({ length: 20 }, (_, i) => i),
  );
  assert.equal(most, 3);
  assert.equal(await slots.run(async () => "again"), "again");
});
