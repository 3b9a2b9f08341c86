import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { LruMap } from "./lru.ts";

test("behaves as a list that is kept in the order of use", () => {
  const step = fc.tuple(fc.constantFrom("get", "set", "delete"), fc.integer({ min: 0, max: 7 }));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step), (capacity, steps) => {
      const map = new LruMap<number, number>(capacity);
      let twin: [key: number, value: number][] = [];
      for (const [at, [action, key]] of steps.entries()) {
        const found = twin.find((entry) => entry[0] === key);
        if (action === "get") {
          assert.equal(map.get(key), found?.[1]);
          if (found) twin = [...twin.filter((entry) => entry !== found), found];
        } else if (action === "set") {
          twin = [...twin.filter((entry) => entry !== found), [key, at]];
          const evicted = twin.length > capacity ? twin.shift()![1] : undefined;
          assert.equal(map.set(key, at), evicted);
        } else {
          assert.equal(map.delete(key), found !== undefined);
          twin = twin.filter((entry) => entry !== found);
        }
        assert.equal(map.size, twin.length);
      }
      for (const [key, value] of twin) assert.equal(map.peek(key), value);
    }),
  );
});

test("refuses a capacity that is no positive integer", () => {
  for (const capacity of [0, -1, 1.5, Number.NaN, Infinity])
    assert.throws(() => new LruMap(capacity), RangeError);
});
