import assert from "node:assert/strict";
import { test } from "node:test";
import { alternatives, checkAlternatives, checkPatterns, PatternList } from "./pattern-list.ts";

test("one matching pattern is enough", () => {
  const list = new PatternList(["^/a", "b+$"]);
  assert.ok(list.matches("/a", false));
  assert.ok(list.matches("/xbb", false));
  assert.ok(!list.matches("/x", false));
  assert.ok(!new PatternList([]).matches("", false));
});

test("an input that is too long for a pattern means what the caller says", () => {
  const list = new PatternList(["(a+)(?=b)c"]);
  const input = "a".repeat(5000);
  assert.equal(list.matches(input, true), true);
  assert.equal(list.matches(input, false), false);
});

test("flags reach every pattern, an inline flag the alternatives after it", () => {
  assert.ok(new PatternList(["ab"], "i").matches("AB", false));
  assert.ok(new PatternList([alternatives(["(?i)x", "ab"])]).matches("AB", false));
});

test("the first pattern that cannot be compiled is named", () => {
  assert.equal(checkPatterns(undefined), null);
  assert.equal(checkPatterns(["a", "b"]), null);
  assert.match(checkPatterns(["a", "b("])!, /"b\("/);
  assert.match(checkAlternatives(["(a", "b)"])!, /"\(a"/);
  assert.equal(checkAlternatives(["a", "b"]), null);
});
