import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { PACKAGE_FOLDER, temporaryFolder } from "./started-node.ts";

/** An older Node.js of the machine, where the commands must find the right one themselves; else this one. */
const onPath = spawnSync("node", ["-p", "process.execPath"], { encoding: "utf8" }).stdout?.trim();
const machineNode = onPath ? onPath : process.execPath;
const runner = join(PACKAGE_FOLDER, "bin/cardea-node");

function run(args: string[]) {
  return spawnSync(machineNode, args, { cwd: PACKAGE_FOLDER, encoding: "utf8" });
}

test("cardea-node runs a script on a Node.js that is new enough, with a thread pool of the machine's size", () => {
  const { stdout, stderr } = run([
    runner,
    "-p",
    "process.versions.node + ' ' + process.env.UV_THREADPOOL_SIZE",
  ]);
  const [version = "", pool = ""] = stdout.trim().split(" ");
  const [major = 0, minor = 0] = version.split(".").map(Number);
  assert.ok(major > 24 || (major === 24 && minor >= 12), version);
  assert.ok(Number(pool) >= 4);
  assert.equal(stderr, "");
});

test("cardea-node ends with the script's exit code", () => {
  assert.equal(run([runner, "-e", "process.exit(7)"]).status, 7);
});

test("cardea-node ends by the signal that ended the script", () => {
  assert.equal(run([runner, "-e", "process.kill(process.pid, 'SIGKILL')"]).signal, "SIGKILL");
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"] as const) {
  test(`cardea-node passes ${signal} on to the script`, async (t) => {
    const script = `process.on("${signal}", () => process.exit(9)); setInterval(() => {}, 1000); console.log("up");`;
    const child = spawn(machineNode, [runner, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    const exit = once(child, "exit");
    await once(child.stdout, "data");
    child.kill(signal);
    assert.deepEqual(await exit, [9, null]);
  });
}

test("cardea runs its other commands on the right Node.js", () => {
  const { stdout, status } = run([join(PACKAGE_FOLDER, "bin/cardea"), "version"]);
  assert.equal(status, 0);
  assert.match(stdout, /\d+\.\d+\.\d+/);
});

test("without a Node.js that is new enough the error says what to do", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "bin"));
  cpSync(join(PACKAGE_FOLDER, "bin/lib"), join(folder, "bin/lib"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const script = `Object.defineProperty(process.versions, "node", { value: "20.1.0" });
    const { findNode } = await import(${JSON.stringify(join(folder, "bin/lib/find-node.js"))});
    findNode();`;
  const { stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  assert.equal(status, 1);
  assert.match(stderr, /needs Node\.js 24\.12 or later; this is 20\.1\.0/);
  assert.match(stderr, /npm install|install Node\.js/);
});
