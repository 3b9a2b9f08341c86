import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { Exchange } from "./exchange.ts";
import { Waits } from "./waits.ts";

test("a wait ends after its time, or silently with its exchange", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const waits = new Waits();
    const [stays, leaves] = [{} as Exchange, {} as Exchange];
    let hasSettled = false;
    const whole = waits.wait(stays, 100);
    void waits.wait(leaves, 100).then(() => (hasSettled = true));
    assert.equal(waits.size, 2);
    waits.end(leaves);
    waits.end(leaves);
    assert.equal(waits.size, 1);
    mock.timers.tick(100);
    await whole;
    assert.equal(waits.size, 0);
    assert.equal(hasSettled, false);
  } finally {
    mock.timers.reset();
  }
});

test("a time longer than timers know is the longest they do", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const waits = new Waits();
    const ctx = {} as Exchange;
    void waits.wait(ctx, 1e15);
    mock.timers.tick(0x7fff_fffe);
    assert.equal(waits.size, 1);
    waits.end(ctx);
  } finally {
    mock.timers.reset();
  }
});
