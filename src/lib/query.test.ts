import assert from "node:assert/strict";
import { test } from "node:test";
import { readQueryArgument, removeQueryArgument } from "./query.ts";

test("an argument is found by its whole name, the first one wins", () => {
  assert.equal(readQueryArgument("xa=0&a=1&a=2&ab=3", "a"), "1");
  assert.equal(readQueryArgument("ab=3", "a"), undefined);
  assert.equal(readQueryArgument("a", "a"), "");
  assert.equal(readQueryArgument("a=&b=1", "a"), "");
  assert.equal(readQueryArgument("", "a"), undefined);
  assert.equal(readQueryArgument("b=1&a=x=y", "a"), "x=y");
});

test("a decoded argument is decoded once, and kept as sent when that cannot be done", () => {
  assert.equal(readQueryArgument("k=a%2Bb+c", "k"), "a+b c");
  assert.equal(readQueryArgument("k=%zz+", "k"), "%zz ");
  assert.equal(readQueryArgument("K=1", "k"), undefined);
});

test("removing an argument removes all of that name and nothing else", () => {
  assert.equal(removeQueryArgument("a=1&key=x&b=2&key=y", "key"), "a=1&b=2");
  assert.equal(removeQueryArgument("key=x", "key"), "");
  assert.equal(removeQueryArgument("keys=x", "key"), "keys=x");
});
