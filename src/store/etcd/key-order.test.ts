import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { KeyOrder } from "./key-order.ts";

test("runs of one key go one after the other in order, and each ends", async () => {
  const runs = fc.array(
    fc.tuple(fc.uniqueArray(fc.constantFrom("a", "b", "c"), { minLength: 1 }), fc.nat(3)),
    {
      maxLength: 30,
    },
  );
  await fc.assert(
    fc.asyncProperty(runs, async (wanted) => {
      const order = new KeyOrder();
      const busy = new Set<string>();
      const begun: number[] = [];
      const all = wanted.map(([keys, turns], i) =>
        order.run(keys, async () => {
          begun.push(i);
          for (const key of keys) {
            assert.ok(!busy.has(key));
            busy.add(key);
          }
          for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
          for (const key of keys) busy.delete(key);
          if (turns === 3) throw new Error("one that fails lets go too");
        }),
      );
      await Promise.allSettled(all);
      assert.equal(begun.length, wanted.length);
      for (const key of ["a", "b", "c"]) {
        const ofKey = begun.filter((i) => wanted[i][0].includes(key as "a"));
        assert.deepEqual(
          ofKey,
          ofKey.toSorted((a, b) => a - b),
        );
      }
    }),
    { numRuns: 100 },
  );
});
