import assert from "node:assert/strict";
import { test } from "node:test";
import { LimitedLog } from "./limited-log.ts";

function setUp() {
  const lines: [string, object | undefined][] = [];
  const write = (message: string, fields?: object): void => void lines.push([message, fields]);
  const clock = { nowMs: 1_000_000 };
  const log = new LimitedLog({ debug: write, info: write, warn: write, error: write }, () => clock.nowMs);
  return { log, lines, clock };
}

test("a flood of one message leaves ten lines a second, and then says how many it left out", () => {
  const { log, lines, clock } = setUp();
  for (let i = 0; i < 100; i++) log.warn("upstream failed", { i });
  assert.equal(lines.length, 10);
  clock.nowMs += 1000;
  log.warn("upstream failed", { i: 100 });
  log.warn("upstream failed", { i: 101 });
  assert.deepEqual(lines.slice(10), [
    ["upstream failed", { i: 100, left_out: 90 }],
    ["upstream failed", { i: 101 }],
  ]);
});

test("another message has lines of its own", () => {
  const { log, lines } = setUp();
  for (let i = 0; i < 20; i++) log.warn("a");
  log.error("b");
  assert.deepEqual(lines.at(-1), ["b", undefined]);
});
