/** What a plugin may write to the node's log. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type PluginLog, Type } from "../../plugin/index.ts";
import type { PluginDefinition } from "../../plugin/definition.ts";
import { testGateway } from "../../testing/index.ts";
import { BoundedPluginLog, LINES_PER_SECOND } from "./plugin-log.ts";

type Line = [level: string, message: string, fields: object | undefined];

function recorder(): { lines: Line[]; log: PluginLog } {
  const lines: Line[] = [];
  const at = (level: string) => (message: string, fields?: object) =>
    void lines.push([level, message, fields]);
  return { lines, log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } };
}

/** Says its name at the end of every request. */
function chatty(name: string): PluginDefinition {
  return {
    name,
    version: "1",
    priority: 10,
    config: Type.Object({ tag: Type.String() }),
    compile: (_config, host) => ({ log: () => host.log.info(name) }),
  };
}

function bounded(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 5000 });
  const { lines, log } = recorder();
  return { lines, log: new BoundedPluginLog("chatty", log, Date.now) };
}

test("a plugin has some lines a second, whatever they say, and then one that counts the others", (t) => {
  const { lines, log } = bounded(t);
  for (let i = 0; i < 100; i++) {
    log.info(`request ${3 * i}`);
    log.warn(`request ${3 * i + 1}`);
    log.error(`request ${3 * i + 2}`, { i });
  }
  assert.equal(lines.length, LINES_PER_SECOND);
  assert.deepEqual(lines[2], ["error", "request 2", { i: 0 }]);
  t.mock.timers.tick(999);
  assert.equal(lines.length, LINES_PER_SECOND);
  t.mock.timers.tick(1);
  const leftOut = { plugin: "chatty", left_out: 300 - LINES_PER_SECOND };
  assert.deepEqual(lines.slice(LINES_PER_SECOND), [["warn", "lines of a plugin are left out", leftOut]]);
  log.info("another second");
  t.mock.timers.tick(5000);
  assert.deepEqual(lines.slice(LINES_PER_SECOND + 1), [["info", "another second", undefined]]);
});

test("where a busy thread is late with it, the count stands before the first line of the next second", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { lines, log: inner } = recorder();
  let nowMs = 5000;
  const log = new BoundedPluginLog("chatty", inner, () => nowMs);
  for (let i = 0; i <= LINES_PER_SECOND; i++) log.info("line");
  nowMs = 6001;
  log.info("next");
  t.mock.timers.tick(5000);
  assert.deepEqual(
    lines.slice(LINES_PER_SECOND).map(([, message]) => message),
    ["lines of a plugin are left out", "next"],
  );
});

test("who writes no more than that loses nothing, and lines of the level debug are not counted", (t) => {
  const { lines, log } = bounded(t);
  for (let second = 0; second < 3; second++) {
    for (let i = 0; i < LINES_PER_SECOND; i++) {
      log.debug("detail");
      log.info("line");
    }
    t.mock.timers.tick(1000);
  }
  assert.equal(lines.length, 6 * LINES_PER_SECOND);
});

test("each plugin has its own lines, however many routes it is on", async () => {
  const { lines, log } = recorder();
  const upstream = { nodes: { "a:80": 1 } };
  const gateway = testGateway({
    plugins: [chatty("one"), chatty("two")],
    routes: [
      { uri: "/a", plugins: { one: { tag: "a" }, two: { tag: "a" } }, upstream },
      { uri: "/b", plugins: { one: { tag: "b" } }, upstream },
    ],
    now: () => 7000,
    log,
  });
  for (let i = 0; i < LINES_PER_SECOND; i++) {
    await gateway.request({ target: "/b" });
    await gateway.request({ target: "/a" });
  }
  for (const name of ["one", "two"]) {
    assert.equal(lines.filter(([, message]) => message === name).length, LINES_PER_SECOND, name);
  }
});
