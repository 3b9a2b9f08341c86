/** What the pages say apart from their examples: links lead somewhere, and files that they show are accepted. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { parseStaticConfig } from "../../src/config/load.ts";
import { ROOT } from "../promises/real-node.ts";
import { documentationPages } from "./examples.ts";

const PAGES = [
  ...documentationPages(ROOT),
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "CHANGELOG.md",
];

test("every link of the documentation leads to a page, and to a heading of it", () => {
  const dead: string[] = [];
  for (const page of PAGES) {
    for (const [, target] of withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, heading] = target.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, file))) dead.push(`${page}: ${target}`);
      else if (heading !== undefined && !headingsOf(read(file)).has(heading)) dead.push(`${page}: ${target}`);
    }
  }
  assert.deepEqual(dead, []);
});

test("every static file that a page shows is valid, and nothing in it is without effect", () => {
  for (const page of PAGES) {
    for (const [, text] of read(page).matchAll(/^```yaml\n([^]*?)^```$/gm)) {
      const names = [...text.matchAll(/\$\{\{(\w+)\}\}/g)].map(([, name]) => name);
      const env = Object.fromEntries(names.map((name) => [name, `value-of-the-variable-${name}`]));
      // Files that a page names are the reader's.
      const { warnings } = parseStaticConfig(page, text, env);
      const told = warnings.filter((line) => !line.includes("cannot be read now (ENOENT)"));
      assert.deepEqual(told, [], page);
    }
  }
});

function read(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

function withoutCode(page: string): string {
  return page.replaceAll(/^```[^]*?^```$/gm, "").replaceAll(/`[^`\n]*`/g, "");
}

/** As GitHub makes them: lower case, no punctuation, hyphens for spaces. */
function headingsOf(page: string): Set<string> {
  const headings = [...page.matchAll(/^#+ (.+)$/gm)];
  return new Set(
    headings.map(([, text]) =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
