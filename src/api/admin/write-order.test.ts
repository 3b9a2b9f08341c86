import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { WriteOrder } from "./write-order.ts";

test("an exclusive write is alone, shared ones are together, all end", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.boolean(), fc.nat(3)), { maxLength: 30 }), async (writes) => {
      const order = new WriteOrder();
      let shared = 0;
      let exclusive = 0;
      let ended = 0;
      const run = async (isExclusive: boolean, turns: number) => {
        if (isExclusive) exclusive++;
        else shared++;
        for (let i = 0; i <= turns; i++) {
          assert.ok(exclusive === 0 || (exclusive === 1 && shared === 0));
          await new Promise((resolve) => setImmediate(resolve));
        }
        if (isExclusive) exclusive--;
        else shared--;
        ended++;
        if (turns === 3) throw new Error("a write that fails lets go too");
      };
      const all = writes.map(([isExclusive, turns]) =>
        isExclusive ? order.exclusive(() => run(true, turns)) : order.shared(() => run(false, turns)),
      );
      await Promise.allSettled(all);
      assert.equal(ended, writes.length);
    }),
    { numRuns: 50 },
  );
});

test("shared writes do not wait for each other", async () => {
  const order = new WriteOrder();
  const second = Promise.withResolvers<void>();
  await Promise.all([
    order.shared(() => second.promise),
    order.shared(async () => {
      second.resolve();
    }),
  ]);
});
