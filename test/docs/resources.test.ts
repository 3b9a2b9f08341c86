/** The pages of the resources say what the schemas say. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { unusedMeanings } from "../../scripts/resource-meanings.ts";
import { DOCUMENTED_TYPES, pageOf, withFields } from "../../scripts/docs-resources.ts";

test("every resource has a page whose table of fields is that of its schema", () => {
  for (const type of DOCUMENTED_TYPES) {
    const page = readFileSync(pageOf(type), "utf8");
    assert.equal(page, withFields(type, page), `run scripts/docs-resources.ts for ${type.plural}`);
  }
});

test("no meaning is left of a field that is gone", () => {
  for (const type of DOCUMENTED_TYPES) withFields(type, readFileSync(pageOf(type), "utf8"));
  assert.deepEqual(unusedMeanings(), []);
});
