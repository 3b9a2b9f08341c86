import assert from "node:assert/strict";
import { test } from "node:test";
import { BackOff } from "./back-off.ts";

const noJitter = () => 0.5;

test("the first restart does not wait, later ones wait twice as long each, up to five seconds", () => {
  const backOff = new BackOff(noJitter);
  const delays = Array.from({ length: 9 }, () => backOff.afterDeath(10));
  assert.deepEqual(delays, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
});

test("a stable run starts the back-off from nothing", () => {
  const backOff = new BackOff(noJitter);
  for (let i = 0; i < 5; i++) backOff.afterDeath(10);
  assert.equal(backOff.afterDeath(30_000), 0);
  assert.equal(backOff.afterDeath(10), 100);
});

test("jitter moves a delay by at most a quarter", () => {
  const early = new BackOff(() => 0);
  const late = new BackOff(() => 1);
  early.afterDeath(0);
  late.afterDeath(0);
  assert.equal(early.afterDeath(0), 75);
  assert.equal(late.afterDeath(0), 125);
});
