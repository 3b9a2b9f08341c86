/**
 * Holds the arrows of ARCHITECTURE.md: which room may import from which. Whoever is not listed may be imported
 * by nobody but its own room.
 */

import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** Room → rooms that it may import from, besides itself. Tests may import anything. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  model: ["lib", "plugin"],
  config: ["lib", "model"],
  store: ["lib", "config", "model"],
  shared: ["lib", "config"],
  plugin: ["lib", "shared", "model"],
  plugins: ["lib", "plugin"],
  data: ["lib", "plugin", "plugins", "model", "shared", "config"],
  control: ["lib", "plugins", "model", "shared", "config", "store"],
  api: ["lib", "model", "shared", "config", "store", "control"],
  supervisor: ["lib", "shared", "config"],
  cli: ["lib", "config", "model", "shared", "store"],
  testing: ["lib", "plugin", "plugins", "model", "shared", "config", "data"],
};

/** Files that put a thread together, and may import more than their rooms. */
const ASSEMBLIES: Readonly<Record<string, readonly string[]>> = { "src/control/main.ts": ["api"] };

/** Lines "from → to: file" of imports that no arrow allows. */
export function checkArrows(root: string): string[] {
  const wrong: string[] = [];
  for (const file of globSync("src/**/*.ts", { cwd: root })) {
    if (file.endsWith(".test.ts")) continue;
    const from = roomOf(file);
    const allowed = ARROWS[from]?.concat(ASSEMBLIES[file] ?? []);
    if (allowed === undefined) {
      wrong.push(`${from}: a room without arrows: ${file}`);
      continue;
    }
    for (const target of importsOf(join(root, file))) {
      const to = roomOf(relative(root, join(root, dirname(file), target)));
      if (to !== from && to !== "" && !allowed.includes(to)) wrong.push(`${from} → ${to}: ${file}`);
    }
  }
  return wrong;
}

function roomOf(file: string): string {
  const [top, room] = file.split("/");
  return top === "src" ? room : "";
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/^(?:import|export)\b[^"';]*?from "(\.[^"]+)"/gm)].map((match) => match[1]);
}
