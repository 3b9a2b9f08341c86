/** The page of the dependencies has a row for each, and for nothing else. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../promises/real-node.ts";

test("every dependency has a row that says why", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<string, object>;
  const wanted = ["dependencies", "optionalDependencies", "devDependencies"].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
  const page = readFileSync(join(ROOT, "docs/internals/dependencies.md"), "utf8");
  const told = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(told.sort(), wanted.sort());
});
