/**
 * The plugin that docs/writing-plugins.md shows is compiled and tested as its reader would do it: in a folder of its
 * own, with Cardea as a dependency.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { ROOT, temporaryFolder } from "../promises/real-node.ts";

test("the example plugin fits the contract's types", (t) => {
  const folder = project(t);
  const configuration = { compilerOptions: compilerOptions(), include: ["*.ts"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(configuration));
  const { status, stdout } = spawnSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
});

test("the example's tests pass", (t) => {
  const folder = project(t);
  const env = { ...process.env };
  delete env["NODE_TEST_CONTEXT"];
  const run = spawnSync(process.execPath, ["--test", "--test-reporter=tap"], {
    cwd: folder,
    encoding: "utf8",
    env,
  });
  assert.equal(run.status, 0, run.stdout);
  assert.match(run.stdout, /^# pass 3$/m);
});

/** The files that the page shows, by the name in their first line. */
function project(t: TestContext): string {
  const folder = temporaryFolder(t);
  const page = readFileSync(join(ROOT, "docs/writing-plugins.md"), "utf8");
  const files = [...page.matchAll(/^```ts\n\/\/ (\S+)\n([^]*?)^```$/gm)];
  assert.deepEqual(
    files.map(([, name]) => name),
    ["api-version.ts", "api-version.test.ts"],
  );
  for (const [, name, text] of files) writeFileSync(join(folder, name), text);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(ROOT, join(folder, "node_modules/cardea"));
  symlinkSync(join(ROOT, "node_modules/@types"), join(folder, "node_modules/@types"));
  return folder;
}

function compilerOptions(): object {
  const { compilerOptions: options } = JSON.parse(readFileSync(join(ROOT, "tsconfig.json"), "utf8")) as {
    compilerOptions: object;
  };
  return options;
}
