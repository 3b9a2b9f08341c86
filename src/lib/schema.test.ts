import assert from "node:assert/strict";
import { readFileSync, globSync } from "node:fs";
import { test } from "node:test";
import { Type as TypeBox } from "@sinclair/typebox";
import { Type } from "./schema.ts";

type Builders = typeof Type;

/** Each use of a builder, with either side's builders. */
const CASES: Record<string, (type: Builders) => unknown> = {
  any: (type) => type.Any(),
  unknown: (type) => type.Unknown({ description: "d" }),
  null: (type) => type.Null(),
  boolean: (type) => type.Boolean({ default: false }),
  integer: (type) => type.Integer({ minimum: 1, maximum: 3 }),
  number: (type) => type.Number(),
  string: (type) => type.String({ minLength: 1, pattern: "^a" }),
  "string, keyword of the kind given": (type) => type.String({ type: "number" }),
  "literal of each type": (type) => [type.Literal("a"), type.Literal(1, { title: "t" }), type.Literal(false)],
  array: (type) => type.Array(type.String(), { minItems: 1 }),
  "object with required properties": (type) =>
    type.Object({ a: type.String(), b: type.Optional(type.Integer()) }, { additionalProperties: false }),
  "object without required properties": (type) => type.Object({ b: type.Optional(type.Integer()) }),
  "object without properties": (type) => type.Object({}),
  record: (type) => type.Record(type.String(), type.Integer(), { default: {} }),
  "record whose keys have a pattern": (type) => type.Record(type.String({ pattern: "^x-" }), type.Any()),
  "union of none": (type) => type.Union([]),
  "union of one": (type) => type.Union([type.Literal("a", { title: "x" })], { title: "y", default: "a" }),
  "union of several": (type) => type.Union([type.Literal("a"), type.Null()], { default: null }),
  unsafe: (type) => [type.Unsafe<string>({ type: "string", enum: ["a"] }), type.Unsafe()],
  optional: (type) => type.Optional(type.Array(type.String(), { description: "d" })),
};

for (const [name, build] of Object.entries(CASES)) {
  test(`the schema is TypeBox's to the letter: ${name}`, () => {
    const own = build(Type);
    const theirs = build(TypeBox);
    assert.deepEqual(own, theirs);
    assert.equal(JSON.stringify(own), JSON.stringify(theirs));
  });
}

test("a record with other keys than strings is refused", () => {
  assert.throws(() => Type.Record(Type.Integer(), Type.Any()), /Type\.Record: given a key of kind Integer/);
});

test("no module of a node loads TypeBox itself", () => {
  const files = globSync("**/*.ts", { cwd: new URL("..", import.meta.url) });
  assert.ok(files.length > 100);
  const loading = files.filter((file) => {
    if (file.endsWith(".test.ts")) return false;
    const text = readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
    return /^(?:import|export) (?!type )[^;]*from "@sinclair\/typebox/m.test(text);
  });
  assert.deepEqual(loading, []);
});
