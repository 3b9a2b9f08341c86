/** The page of the dependencies has a row for each, and for nothing else; what comes at run time is used. */

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../promises/real-node.ts";

function readManifest(): Record<string, object> {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<string, object>;
}

test("every dependency has a row that says why", () => {
  const manifest = readManifest();
  const wanted = ["dependencies", "optionalDependencies", "devDependencies"].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
  const page = readFileSync(join(ROOT, "docs/internals/dependencies.md"), "utf8");
  const told = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(told.sort(), wanted.sort());
});

test("every dependency at run time is imported by something", () => {
  const files = globSync("src/**/*.ts", { cwd: ROOT }).filter((file) => !file.endsWith(".test.ts"));
  const code = files.map((file) => readFileSync(join(ROOT, file), "utf8")).join("\n");
  const isUsed = (name: string): boolean =>
    [`"${name}"`, `"${name}/`].some((text) => code.includes(`from ${text}`) || code.includes(`(${text}`));
  assert.deepEqual(
    Object.keys(readManifest()["dependencies"]).filter((name) => !isUsed(name)),
    [],
  );
});
