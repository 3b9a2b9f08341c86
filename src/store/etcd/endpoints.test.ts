import assert from "node:assert/strict";
import { test } from "node:test";
import { Endpoints } from "./endpoints.ts";

function endpoints(urls: string[], first = 0) {
  const clock = { now: 0 };
  const made = new Endpoints(
    urls,
    1000,
    () => clock.now,
    () => first / urls.length,
  );
  return { made, clock };
}

test("a member is kept as long as it does not fail", () => {
  const { made, clock } = endpoints(["a", "b", "c"], 1);
  assert.equal(made.choose(), "b");
  clock.now = 100_000;
  assert.equal(made.choose(), "b");
});

test("after a failure another one is asked, and one that failed lately is avoided", () => {
  const { made, clock } = endpoints(["a", "b", "c"]);
  made.failed(made.choose());
  assert.equal(made.choose(), "b");
  clock.now = 10;
  made.failed("b");
  assert.equal(made.choose(), "c");
  clock.now = 20;
  made.failed("c");
  assert.equal(made.choose(), "a", "its failure is the longest ago");
});

test("a single member is asked whatever it did", () => {
  const { made } = endpoints(["a"]);
  made.failed("a");
  assert.equal(made.choose(), "a");
});
