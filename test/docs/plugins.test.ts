/** The pages of the plugins are complete: one each, a line in the list, and a row for every field. Metadata may be a sentence. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PluginCatalog } from "../../src/plugins/catalog.ts";
import { ROOT } from "../promises/real-node.ts";

const read = (page: string): string => readFileSync(`${ROOT}/docs/plugins/${page}.md`, "utf8");

interface Schema {
  properties?: Record<string, { default?: unknown }>;
}

/** Names of the fields that have no row of their own (or of their parts), or one with another default. */
function missingRows(page: string, schema: Schema | undefined): string[] {
  const rows = page.split("\n").map((line) => line.split("|").map((cell) => plain(cell)));
  return Object.entries(schema?.properties ?? {}).flatMap(([name, field]) => {
    const own = rows.filter((cells) => cells[1]?.split(/[.[]/, 1)[0] === name);
    if (own.length === 0) return [`${name}: no row`];
    // A page may say in words what stands in for an absent field, and show the parts of an object alone.
    if (field.default === undefined || typeof field.default === "object") return [];
    const expected = plain(JSON.stringify(field.default));
    return own.some((cells) => cells[3] === expected) ? [] : [`${name}: no default ${expected}`];
  });
}

function plain(cell: string): string {
  return cell.replaceAll(/[`"]/g, "").trim();
}

for (const plugin of new PluginCatalog(null).list()) {
  test(`${plugin.name} has a page with every field, and a line in the list`, () => {
    const page = read(plugin.name);
    assert.ok(page.startsWith(`# ${plugin.name}\n`));
    assert.deepEqual(missingRows(page, plugin.config as Schema), []);
    assert.deepEqual(missingRows(page, plugin.consumer as Schema | undefined), []);
    const shared = Object.keys((plugin.metadata as Schema | undefined)?.properties ?? {});
    assert.deepEqual(
      shared.filter((name) => !page.includes(`\`${name}\``)),
      [],
      "fields of the metadata that the page does not name",
    );
    const line = read("README")
      .split("\n")
      .find((one) => one.startsWith(`| [${plugin.name}](${plugin.name}.md) |`));
    assert.ok(line !== undefined, "no line in docs/plugins/README.md");
    assert.ok(line.endsWith(`| ${plugin.priority} |`), `priority is ${plugin.priority}: ${line}`);
  });
}
