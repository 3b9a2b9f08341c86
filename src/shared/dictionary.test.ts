import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { DictionaryTable } from "./dictionary-table.ts";
import { Dictionary, type DictionaryValue } from "./dictionary.ts";

let now = 1_700_000_000_000;

function open(bytes = 1_048_576): { dictionary: Dictionary; table: DictionaryTable } {
  const table = new DictionaryTable(DictionaryTable.create(bytes), 0, 1);
  return { dictionary: new Dictionary(table, () => now), table };
}

const value: fc.Arbitrary<DictionaryValue> = fc.oneof(
  fc.integer(),
  fc.string({ unit: "grapheme", maxLength: 400 }),
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
);
const key = fc.oneof(
  fc.constantFrom("a", "b", "__proto__"),
  fc.constantFrom("k".repeat(256), "ü".repeat(100)),
);

test("the dictionary agrees with a map", () => {
  const step = fc.record({
    operation: fc.constantFrom("get", "set", "add", "delete", "increment", "lpush", "rpush", "lpop", "rpop"),
    key,
    value,
    ttlMs: fc.constantFrom(Infinity, 100, 500),
    afterMs: fc.nat(120),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const { dictionary } = open();
      const twin = new Map<string, { value: DictionaryValue | DictionaryValue[]; until: number }>();
      for (const { operation, key, value, ttlMs, afterMs } of steps) {
        now += afterMs;
        let held = twin.get(key);
        if (held !== undefined && held.until <= now) {
          twin.delete(key);
          held = undefined;
        }
        const list = held !== undefined && Array.isArray(held.value) ? held.value : null;
        switch (operation) {
          case "get": {
            assert.deepEqual(dictionary.get(key), list === null ? held?.value : undefined);
            break;
          }
          case "set": {
            assert.equal(dictionary.set(key, value, ttlMs), true);
            twin.set(key, { value, until: now + ttlMs });
            break;
          }
          case "add": {
            assert.equal(dictionary.add(key, value, ttlMs), held === undefined);
            if (held === undefined) twin.set(key, { value, until: now + ttlMs });
            break;
          }
          case "delete": {
            assert.equal(dictionary.delete(key), held !== undefined);
            twin.delete(key);
            break;
          }
          case "increment": {
            let expected: number | undefined;
            if (held === undefined) {
              expected = 12;
              twin.set(key, { value: expected, until: now + ttlMs });
            } else if (typeof held.value === "number") expected = held.value += 2;
            assert.equal(dictionary.increment(key, 2, 10, ttlMs), expected);
            break;
          }
          case "lpush":
          case "rpush": {
            let expected: number | undefined;
            if (held === undefined) {
              expected = 1;
              twin.set(key, { value: [value], until: Infinity });
            } else if (list !== null)
              expected = operation === "lpush" ? list.unshift(value) : list.push(value);
            assert.equal(dictionary[operation](key, value), expected);
            break;
          }
          case "lpop":
          case "rpop": {
            const expected = operation === "lpop" ? list?.shift() : list?.pop();
            if (list?.length === 0) twin.delete(key);
            assert.deepEqual(dictionary[operation](key), expected);
            assert.equal(dictionary.llen(key), list?.length ?? 0);
            break;
          }
        }
      }
    }),
  );
});

test("the least recently used entry goes when room is short, and the books stay right", () => {
  const { dictionary } = open(65_536);
  dictionary.set("kept", "v");
  for (let i = 0; i < 5000; i++) {
    dictionary.set(`k${i}`, "x".repeat(i % 700));
    assert.equal(dictionary.get("kept"), "v");
  }
  const { entries, evictions, freeBytes } = dictionary.stats();
  assert.equal(entries + evictions, 5001);
  assert.ok(freeBytes < 1024);
  dictionary.clear();
  assert.equal(dictionary.stats().freeBytes, 65_536);
});

test("replacing the largest value in a full shard works although both do not fit", () => {
  const { dictionary } = open(65_536);
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 5; i++) {
      const text = String(round % 10).repeat(dictionary.maxValueBytes);
      assert.equal(dictionary.set(`k${i}`, text), true);
      assert.equal(dictionary.get(`k${i}`), text);
    }
  }
  assert.equal(dictionary.set("k0", "x".repeat(dictionary.maxValueBytes + 1)), false);
});

test("keys that are empty or too long are refused by name", () => {
  const { dictionary } = open();
  assert.throws(() => dictionary.get(""), /given 0 bytes, expected 1 to 256/);
  assert.throws(() => dictionary.set("k".repeat(257), 1), /given 257 bytes/);
});

test("time to live is told and can be changed", () => {
  const { dictionary } = open();
  dictionary.set("k", 1, 500);
  now += 100;
  assert.equal(dictionary.timeToLive("k"), 400);
  assert.equal(dictionary.expire("k", 50), true);
  now += 50;
  assert.equal(dictionary.timeToLive("k"), undefined);
  assert.equal(dictionary.expire("k", 50), false);
});
