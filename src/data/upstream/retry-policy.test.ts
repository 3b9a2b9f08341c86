/** The retry policy: which attempts are safe to repeat, and how many repeats there are. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSafeToRetry, RetryBudget } from "./retry-policy.ts";

const cases: [method: string, hasSent: boolean, isReplayable: boolean, isSafe: boolean][] = [
  ["GET", true, true, true],
  ["HEAD", true, true, true],
  ["PUT", true, true, true],
  ["DELETE", true, true, true],
  ["OPTIONS", true, true, true],
  ["POST", true, true, false],
  ["PATCH", true, true, false],
  ["LOCK", true, true, false],
  ["get", true, true, false],
  ["POST", false, true, true],
  ["PATCH", false, true, true],
  ["PUT", true, false, false],
  ["POST", false, false, false],
];

for (const [method, hasSent, isReplayable, isSafe] of cases) {
  const sent = hasSent ? "sent" : "unsent";
  const body = isReplayable ? "with" : "without";
  test(`${sent} ${method} ${body} its body at hand may ${isSafe ? "" : "not "}be repeated`, () => {
    assert.equal(isSafeToRetry({ method, hasSent, isReplayable }), isSafe);
  });
}

function spendAll(budget: RetryBudget): number {
  let spent = 0;
  while (budget.spend()) spent++;
  return spent;
}

test("a steady upstream earns one repeat for five requests, and a floor of ten each second", () => {
  let now = 0;
  const budget = new RetryBudget(() => now);
  assert.equal(spendAll(budget), 10);
  for (let i = 0; i < 50; i++) budget.earn();
  assert.equal(spendAll(budget), 10);
  now += 500;
  assert.equal(spendAll(budget), 5);
  now += 60_000;
  assert.equal(spendAll(budget), 10);
});

test("a long quiet time does not save up a storm", () => {
  const budget = new RetryBudget(() => 0);
  for (let i = 0; i < 100_000; i++) budget.earn();
  assert.ok(spendAll(budget) <= 111);
});
