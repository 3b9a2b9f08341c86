import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { jsonPieces, parseInSlices } from "./json-in-slices.ts";

/** Beyond what is parsed in one go. */
const FILLING = `"filling":"${"x".repeat(600_000)}"`;

const large = (rest: string): string => `{${FILLING},${rest}}`;
const restOf = (value: unknown): unknown => {
  const { filling: _filling, ...rest } = value as Record<string, unknown>;
  return rest;
};

test("reads what JSON.parse reads", async () => {
  const space = fc.constantFrom("", " ", "\n\t", "\r\n");
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), space, async (value, gap) => {
      const text = `{${FILLING}${gap}${Object.entries(value)
        .map(
          ([name, held]) =>
            `,${gap}${JSON.stringify(name)}${gap}:${gap}${JSON.stringify(held, null, gap)}${gap}`,
        )
        .join("")}}${gap}`;
      assert.deepEqual(await parseInSlices(text), JSON.parse(text));
    }),
    { numRuns: 50 },
  );
});

test("refuses what JSON.parse refuses, in its words", async () => {
  const wrong = [
    '"a":[1,]',
    '"a":[1 2]',
    '"a":1,',
    '"a"',
    '"a":{"b":1',
    '"a":"\n"',
    "a:1",
    '"a":[',
    '"a":[1]]',
    '"a":"\\"',
  ];
  for (const rest of wrong) {
    const text = large(rest);
    let expected: unknown;
    try {
      JSON.parse(text);
    } catch (error) {
      expected = error;
    }
    assert.ok(expected instanceof SyntaxError, rest);
    await assert.rejects(parseInSlices(text), { name: "SyntaxError", message: expected.message });
  }
});

test("reads hostile names, quotes and brackets in texts, and other shapes than objects", async () => {
  const cases = [
    '"a":["}\\\\\\"]",{"b":"[\\\\"}]',
    '"a":1,"a":[2]',
    '"":[[],[[1]]],"b":[]',
    '"1":[1],"0":[2]',
  ];
  for (const rest of cases) {
    assert.deepEqual(restOf(await parseInSlices(large(rest))), JSON.parse(`{${rest}}`));
  }
  const list = `[${large('"a":1')}]`;
  assert.deepEqual(await parseInSlices(list), JSON.parse(list));
  const own = await parseInSlices(large('"__proto__":{"a":1}'));
  assert.ok(Object.hasOwn(own as object, "__proto__"));
});

test("lets other work through while it reads", async () => {
  const text = `{"list":[${Array.from({ length: 60_000 }, (_, i) => `{"id":"${i}","uri":"/some/path/${i}"}`).join()}]}`;
  let turns = 0;
  let isReading = true;
  const count = (): void => {
    turns++;
    if (isReading) setImmediate(count);
  };
  setImmediate(count);
  await parseInSlices(text);
  isReading = false;
  assert.ok(turns > 3, `${turns} turns`);
});

test("writes what JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.oneof(fc.jsonValue(), fc.constant(undefined))), (value) => {
      assert.equal([...jsonPieces(value)].join(""), JSON.stringify(value));
    }),
  );
});
