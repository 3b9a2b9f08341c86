import assert from "node:assert/strict";
import { test } from "node:test";
import { Rounds } from "./rounds.ts";

for (const [what, pauseMs] of [
  ["longer than a timer can be", 2 ** 31],
  ["without end", Infinity],
  ["no number", NaN],
] as const) {
  test(`a pause that is ${what} does not make the rounds follow each other at once`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let count = 0;
    const run = () => {
      count++;
      return Promise.resolve(pauseMs);
    };
    const rounds = new Rounds({ run, pauseMs: 60_000, onFailure: (reason) => assert.fail(reason) });
    t.after(() => rounds.close());
    await rounds.now();
    t.mock.timers.tick(59_999);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(count, 1);
    t.mock.timers.tick(86_400_000);
    assert.equal(count, 2);
  });
}
