import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalJson, contentHash } from "./content-hash.ts";

test("the order of keys does not change the hash, the order of elements does", () => {
  assert.equal(
    contentHash({ a: 1, b: { c: [1, 2], d: null } }),
    contentHash({ b: { d: null, c: [1, 2] }, a: 1 }),
  );
  assert.notEqual(contentHash([1, 2]), contentHash([2, 1]));
  assert.notEqual(contentHash({ a: "1" }), contentHash({ a: 1 }));
});

test("what is undefined is not there", () => {
  assert.equal(canonicalJson({ b: undefined, a: 1 }), '{"a":1}');
});
