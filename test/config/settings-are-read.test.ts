/** Settings that are documented, checked and then read by nobody promise what does not happen. */

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../promises/real-node.ts";

/** Where the static configuration is described in the form that the node runs on. */
const DESCRIPTIONS = ["src/config/static-config.ts", "src/config/discovery.ts"];

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

test("every setting is named by some code that is not the configuration's own", () => {
  const settings = DESCRIPTIONS.map(read).flatMap((text) =>
    [...text.matchAll(/^export interface \w+[^{]*\{\n(.*?)^\}/gms)].flatMap(([, body]) =>
      [...body.matchAll(/^ +(\w+)\??:/gm)].map(([, name]) => name),
    ),
  );
  assert.ok(settings.length > 100, "the descriptions are read");
  const files = globSync("src/**/*.ts", { cwd: ROOT, exclude: ["src/config/**", "src/**/*.test.ts"] });
  const words = new Set(files.flatMap((file) => read(file).match(/\w+/g) ?? []));
  assert.deepEqual(
    settings.filter((name) => !words.has(name)),
    [],
  );
});
