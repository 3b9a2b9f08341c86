/** Validators are compiled one per turn; and every schema that is built in is a JSON Schema, since compiling trusts it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv } from "ajv";
import { Type } from "../lib/schema.ts";
import { pluginSchema } from "../model/plugin-check.ts";
import { RESOURCE_TYPES } from "../model/resources.ts";
import { validatorOf } from "../model/schema-check.ts";
import { PluginCatalog } from "../plugins/catalog.ts";
import { warmUp } from "./warm-up.ts";

test("each schema is compiled in a turn of its own, broken ones too, and the end ends it", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const read: string[] = [];
  const watched = (name: string) => ({
    name,
    get config() {
      read.push(name);
      return name === "broken" ? (Type.Unsafe<unknown>({ type: 7 }) as never) : Type.Object({});
    },
  });
  const stop = warmUp([], [watched("a"), watched("broken"), watched("b"), watched("c")]);
  const seen: string[] = [];
  for (let turn = 0; turn < 3; turn++) {
    context.mock.timers.tick(10);
    seen.push([...new Set(read)].join());
  }
  assert.deepEqual(seen, ["a", "a,broken", "a,broken,b"]);
  stop();
  context.mock.timers.tick(100);
  assert.ok(!read.includes("c"));
});

test("every built-in schema is valid, and compiles", () => {
  const judge = new Ajv({ strict: false });
  const schemas = RESOURCE_TYPES.map((type) => [type.plural, type.schema] as const);
  for (const plugin of new PluginCatalog(null).list()) {
    const schema = pluginSchema(plugin, "config");
    schemas.push([plugin.name, schema]);
    if (plugin.consumer !== undefined) schemas.push([plugin.name, pluginSchema(plugin, "consumer")]);
    if (plugin.metadata !== undefined) schemas.push([plugin.name, plugin.metadata]);
  }
  for (const [name, schema] of schemas) {
    assert.ok(judge.validateSchema(schema), `${name}: ${judge.errorsText()}`);
    assert.equal(typeof validatorOf(schema), "function");
  }
});
