/** The wording of refusals, and that the explanation agrees with the compiled validator. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Ajv } from "ajv";
import * as fc from "fast-check";
import { explain } from "./explain.ts";
import type { JsonSchema } from "./explain.ts";

describe("a refusal is worded as jsonschema-lua words it:", () => {
  const cases: [schema: JsonSchema, value: unknown, message: string, pointer: string][] = [
    [{ type: "string" }, 1, "wrong type: expected string, got number", ""],
    [{ type: "integer" }, 1.5, "wrong type: expected integer, got number", ""],
    [{ type: "string" }, { a: 1 }, "wrong type: expected string, got table", ""],
    [{ type: "object" }, null, "wrong type: expected object, got null", ""],
    [{ type: ["string", "number"] }, true, "wrong type: expected one of string, number, got boolean", ""],
    [{ minLength: 1 }, "", "string too short, expected at least 1, got 0", ""],
    [{ maxLength: 2 }, "ä€𝄞", "string too long, expected at most 2, got 3", ""],
    [{ pattern: "^/" }, 'ho"me', 'failed to match pattern "^/" with "ho\\"me"', ""],
    [{ minimum: 0 }, -1, "expected -1 to be at least 0", ""],
    [{ exclusiveMinimum: 0 }, 0, "expected 0 to be greater than 0", ""],
    [{ maximum: 1 }, 1.5, "expected 1.5 to be at most 1", ""],
    [{ exclusiveMaximum: 1 }, 1, "expected 1 to be smaller than 1", ""],
    [{ multipleOf: 0.1 }, 0.25, "expected 0.25 to be a multiple of 0.1", ""],
    [{ enum: [1, 0] }, 2, "matches none of the enum values", ""],
    [{ const: 1 }, 2, "failed to check const value", ""],
    [{ type: "array", minItems: 1 }, [], "expect array to have at least 1 items", ""],
    [{ type: "array", minItems: 1 }, {}, "expect array to have at least 1 items", ""],
    [{ maxItems: 1 }, [1, 2], "expect array to have at most 1 items", ""],
    [
      { uniqueItems: true },
      [1, { a: 1, b: 2 }, { b: 2, a: 1 }],
      "expected unique items but items 2 and 3 are equal",
      "/2",
    ],
    [
      { items: { type: "string" } },
      ["a", 1],
      "failed to validate item 2: wrong type: expected string, got number",
      "/1",
    ],
    [{ required: ["a"] }, {}, 'property "a" is required', "/a"],
    [{ type: "object", required: ["a"] }, [], 'property "a" is required', "/a"],
    [
      { additionalProperties: false },
      { "a/b~": 1 },
      "additional properties forbidden, found a/b~",
      "/a~1b~0",
    ],
    [
      { additionalProperties: { type: "string" } },
      { a: 1 },
      "failed to validate additional property a: wrong type: expected string, got number",
      "/a",
    ],
    [
      { patternProperties: { ".*": { type: "string" } } },
      { env: [1] },
      'failed to validate env (matching ".*"): wrong type: expected string, got table',
      "/env",
    ],
    [{ maxProperties: 1 }, { a: 1, b: 1 }, "expect object to have at most 1 properties", ""],
    [{ minProperties: 1 }, {}, "expect object to have at least 1 properties", ""],
    [
      { properties: { a: { properties: { b: { minimum: 1 } } } } },
      { a: { b: 0 } },
      'property "a" validation failed: property "b" validation failed: expected 0 to be at least 1',
      "/a/b",
    ],
    [{ dependencies: { a: ["b"] } }, { a: 1 }, 'property "b" is required when "a" is set', "/b"],
    [
      { dependencies: { a: { required: ["b"] } } },
      { a: 1 },
      'failed to validate dependent schema for "a": property "b" is required',
      "/b",
    ],
    [{ allOf: [{}, { minimum: 1 }] }, 0, "allOf 2 failed: expected 0 to be at least 1", ""],
    [{ anyOf: [{ type: "string" }] }, 1, "object matches none of the required", ""],
    [
      { anyOf: [{ required: ["a"] }, { required: ["a", "b"] }] },
      {},
      'object matches none of the required: ["a"] or ["a","b"]',
      "",
    ],
    [
      { anyOf: [{ type: "string" }, { type: "array", items: { minimum: 1 } }] },
      [1, 0],
      "object matches none of the required",
      "/1",
    ],
    [{ oneOf: [{ type: "string" }] }, 1, "value should match only one schema, but matches none", ""],
    [
      { oneOf: [{}, { type: "string" }, {}] },
      1,
      "value should match only one schema, but matches both schemas 1 and 3",
      "",
    ],
    [{ if: { minimum: 1 }, then: { minimum: 2 } }, 1, "then clause did not match", ""],
    [{ if: { minimum: 1 }, else: { maximum: -1 } }, 0, "else clause did not match", ""],
    [{ not: { type: "string" } }, "", "value wasn't supposed to match schema", ""],
    [{ format: "ipv4" }, "1.2.3", "expect valid ipv4 format but got: 1.2.3", ""],
  ];
  for (const [schema, value, message, pointer] of cases) {
    test(`${JSON.stringify(schema)} given ${JSON.stringify(value)}`, () => {
      assert.deepEqual(explain(schema, value, false).error, { message, pointer });
    });
  }
});

describe("a leniency of APISIX", () => {
  test("takes an empty object for an empty array and the other way round", () => {
    assert.deepEqual(explain({ type: "array" }, {}, false), { error: null, lenient: true });
    assert.deepEqual(explain({ type: "object" }, [], false), { error: null, lenient: true });
    assert.notEqual(explain({ type: "array" }, { a: 1 }, false).error, null);
    assert.notEqual(explain({ type: "object" }, [1], false).error, null);
  });

  for (const reference of ["$secret://vault/1/a", "$env://A", "$ENV://A"]) {
    test(`takes ${reference} where text may stand, if the caller allows it`, () => {
      const schema: JsonSchema = { properties: { a: { type: "string", minLength: 100, pattern: "^x$" } } };
      assert.deepEqual(explain(schema, { a: reference }, true), { error: null, lenient: true });
      assert.notEqual(explain(schema, { a: reference }, false).error, null);
      assert.notEqual(explain({ type: "integer" }, reference, true).error, null);
    });
  }
});

test("explanation and compiled validator agree on every value, leniencies aside", () => {
  const names = fc.constantFrom("a", "b", "toString", "constructor");
  const leaf = fc.constantFrom<unknown>(null, true, false, 0, 1, -1, 1.5, "", "a", "abc", "1.2.3.4");
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(names, tie("value"), { maxKeys: 3 }),
    ),
  }));
  const keyword = (tie: fc.LetrecLooselyTypedTie): fc.Arbitrary<JsonSchema> => {
    const sub = tie("schema") as fc.Arbitrary<JsonSchema>;
    const subs = fc.array(sub, { minLength: 1, maxLength: 3 });
    return fc.record(
      {
        type: fc.constantFrom("object", "array", "string", "integer", "number", "boolean"),
        properties: fc.dictionary(names, sub, { maxKeys: 3 }),
        required: fc.uniqueArray(names, { minLength: 1, maxLength: 2 }),
        additionalProperties: fc.oneof(fc.boolean(), sub),
        patternProperties: fc.dictionary(fc.constantFrom("^a", "o"), sub, { maxKeys: 2 }),
        dependencies: fc.dictionary(
          names,
          fc.oneof(fc.uniqueArray(names, { minLength: 1, maxLength: 2 }), sub),
          {
            maxKeys: 2,
          },
        ),
        minProperties: fc.nat(2),
        maxProperties: fc.nat(2),
        items: sub,
        minItems: fc.nat(2),
        maxItems: fc.nat(2),
        uniqueItems: fc.boolean(),
        minLength: fc.nat(2),
        maxLength: fc.nat(2),
        pattern: fc.constantFrom("^a", "b"),
        minimum: fc.integer({ min: -1, max: 1 }),
        exclusiveMaximum: fc.integer({ min: -1, max: 1 }),
        enum: fc.uniqueArray(leaf, { minLength: 1, maxLength: 3, comparator: "SameValueZero" }),
        allOf: subs,
        anyOf: subs,
        oneOf: subs,
        if: sub,
        then: sub,
        else: sub,
        not: sub,
      },
      { requiredKeys: [] },
    );
  };
  const { schema } = fc.letrec((tie) => ({
    schema: fc.oneof({ maxDepth: 2 }, fc.constant({}), few(keyword(tie))),
  }));
  let refusals = 0;
  fc.assert(
    fc.property(schema, value, (one, given) => {
      const rules = one as JsonSchema;
      const { error, lenient } = explain(rules, given, false);
      if (lenient || mentionsEmptyTable(given)) return;
      const isValid = new Ajv({ strict: false, ownProperties: true, logger: false }).validate(rules, given);
      assert.equal(error === null, isValid, error?.message ?? "refused by the validator only");
      if (error !== null) refusals++;
    }),
    { numRuns: 200 },
  );
  assert.ok(refusals > 10, `only ${refusals} refusals: the values are too tame`);
});

/** Three keywords at most, or nothing ever fits. */
function few(schema: fc.Arbitrary<JsonSchema>): fc.Arbitrary<JsonSchema> {
  return fc.tuple(schema, fc.infiniteStream(fc.nat(100))).map(([full, dice]) => {
    const keys = Object.keys(full).sort(() => (dice.next().value ?? 0) - 50);
    return Object.fromEntries(keys.slice(0, 3).map((key) => [key, full[key as keyof JsonSchema]]));
  });
}

/** Where leniency may have hidden inside a branch that was not taken. */
function mentionsEmptyTable(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const children = Object.values(value) as unknown[];
  return children.length === 0 || children.some(mentionsEmptyTable);
}
