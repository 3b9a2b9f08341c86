import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Pace } from "./pace.ts";

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("a piece is followed by a rest as many times as long, within a bound", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  let now = 1000;
  t.mock.method(performance, "now", () => now);
  const pace = new Pace(9);
  for (const [pieceMs, restMs] of [
    [2, 18],
    [5, 45],
    [1000, 250],
  ]) {
    now += pieceMs;
    let isOver = false;
    const rest = pace.rest().then(() => {
      isOver = true;
    });
    mock.timers.tick(restMs - 1);
    await turn();
    assert.equal(isOver, false, `${restMs - 1} ms after a piece of ${pieceMs} ms`);
    now += restMs;
    mock.timers.tick(1);
    await rest;
  }
});

test("work that somebody waits for rests no more", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const pace = new Pace(1e9);
  const rest = pace.rest();
  pace.hurry();
  await rest;
  await pace.rest();
});
