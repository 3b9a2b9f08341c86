import assert from "node:assert/strict";
import { test } from "node:test";
import { copyJson } from "./json-copy.ts";

test("P13: a copy has the fields of what it was made of, and no other prototype", () => {
  const text = '{"a":[1,{"b":null}],"__proto__":{"polluted":true},"constructor":{"prototype":{"x":1}}}';
  const value = JSON.parse(text) as Record<string, unknown>;
  assert.ok(Object.hasOwn(value, "__proto__"));
  const copy = copyJson(value);
  assert.equal(Object.getPrototypeOf(copy), Object.prototype);
  assert.deepEqual(Object.keys(copy), ["a", "constructor"]);
  assert.equal(copy["polluted"], undefined);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
});

test("a copy shares nothing with its original", () => {
  const value = { list: [{ a: 1 }], inner: { b: [2] } };
  const copy = copyJson(value);
  assert.deepEqual(copy, value);
  value.list[0].a = 9;
  value.inner.b.push(9);
  assert.deepEqual(copy, { list: [{ a: 1 }], inner: { b: [2] } });
});
