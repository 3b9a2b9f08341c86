/**
 * `npm test`: everything that must hold before a change lands, in the order of cost: formatting, lint, types,
 * the arrows between the rooms of the house, then the tests.
 *
 *     npm test                          all of it
 *     npm test -- check                 without the tests
 *     npm test -- src/lib test/admin    only the tests below these paths
 */

import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { checkArrows } from "./arrows.ts";

const root = new URL("..", import.meta.url).pathname;
process.chdir(root);

/** A test that hangs fails, instead of the gate. The longest takes a minute on a quiet machine. */
const TEST_TIMEOUT_MS = 300_000;

const wanted = process.argv.slice(2);
const onlyChecks = wanted[0] === "check";

if (onlyChecks || wanted.length === 0) {
  run("formatting", tool("oxfmt"), ["--check"]);
  run("lint", tool("oxlint"), ["--type-aware", "--deny-warnings"]);
  run("types", tool("tsc"), ["--noEmit"]);
  const wrong = checkArrows(root);
  if (wrong.length > 0) fail(`imports against the arrows of ARCHITECTURE.md:\n${wrong.join("\n")}`);
  console.log("arrows: fine");
}

if (!onlyChecks) {
  const files = (wanted.length === 0 ? ["src", "test", "bench"] : wanted).flatMap(testFiles).sort();
  if (files.length === 0) fail(`no test below ${wanted.join(", ")}`);
  shareCompileCache();
  const concurrency = Math.max(1, Math.min(4, availableParallelism()));
  run("tests", process.execPath, [
    "--test",
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
    ...files,
  ]);
}

/**
 * Each of the hundreds of nodes that tests start has a data folder of its own, and would fill the compile cache in there:
 * half of its start. With one for all, filled before, the tests are quicker, and the machine is less busy.
 */
function shareCompileCache(): void {
  if (process.env["NODE_COMPILE_CACHE"] !== undefined) return;
  const folder = mkdtempSync(join(tmpdir(), "cardea-compile-cache-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  run("compile cache", process.execPath, ["scripts/fill-compile-cache.ts", folder]);
  process.env["NODE_COMPILE_CACHE"] = folder;
}

function testFiles(path: string): string[] {
  if (!existsSync(path)) return [];
  return statSync(path).isDirectory() ? globSync(`${path}/**/*.test.ts`) : [path];
}

function tool(name: string): string {
  return `node_modules/.bin/${name}`;
}

function run(what: string, command: string, args: string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: "inherit" });
  if (error !== undefined) fail(`${what}: ${error.message}`);
  if (status !== 0) fail(`${what}: failed`);
  console.log(`${what}: fine`);
}

function fail(text: string): never {
  console.error(text);
  process.exit(1);
}
