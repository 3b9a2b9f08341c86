import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

/** Runs code with `createLog` at hand in a process of its own, and gives the lines that it wrote. */
function linesOf(code: string): Record<string, unknown>[] {
  const module = JSON.stringify(new URL("./log.ts", import.meta.url).href);
  const script = `const { createLog } = await import(${module}); ${code}`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a line is one JSON object with level, time, role, fields and message", () => {
  const [line] = linesOf(
    `createLog("worker", "info", { slot: 3 }).with({ route: "a" }).warn("odd", { count: 1 })`,
  );
  assert.ok(!Number.isNaN(Date.parse(String(line["time"]))));
  delete line["time"];
  assert.deepEqual(line, { level: "warn", role: "worker", slot: 3, route: "a", count: 1, message: "odd" });
});

test("lines below the level are not written, and the log says so beforehand", () => {
  const lines =
    linesOf(`const log = createLog("worker", "warn"); log.debug("a"); log.info("b"); log.error("c");
    log.error(String(log.isEnabled("info")) + log.isEnabled("warn"))`);
  assert.deepEqual(
    lines.map((line) => line["message"]),
    ["c", "falsetrue"],
  );
});

test("a thread that throws loses none of its lines", () => {
  const module = JSON.stringify(new URL("./log.ts", import.meta.url).href);
  const thread = `import(${module}).then(({ createLog }) => {
    const log = createLog("worker"); for (let i = 0; i < 500; i++) log.info("line", { i }); throw new Error("dies"); })`;
  const lines = linesOf(`const { Worker } = await import("node:worker_threads");
    const worker = new Worker(${JSON.stringify(thread)}, { eval: true });
    worker.on("error", () => {}); await new Promise((resolve) => worker.once("exit", resolve));`);
  assert.equal(lines.filter((line) => line["message"] === "line").length, 500);
});
