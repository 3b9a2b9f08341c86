/** What must hold for every plugin in the tree, whatever it does. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { resourceType } from "../model/resources.ts";
import { validateResource } from "../model/validate.ts";
import { PluginCatalog } from "./catalog.ts";

interface Schema {
  type?: string;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  const?: unknown;
  default?: unknown;
  minimum?: number;
  exclusiveMinimum?: number;
  properties?: Record<string, Schema>;
  description?: string;
  enum?: unknown[];
  required?: string[];
}

const catalog = new PluginCatalog(null);
/** Those that nobody writes have schemas, too. */
const writable = { get: (name: string) => ({ ...catalog.get(name)!, isMadeByControl: false }) };
const root = new URL(".", import.meta.url);

/** Folders of plugins: those with an `index.ts` that exports a definition of their name. */
const folders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(new URL(`${entry.name}/index.ts`, root)))
  .map((entry) => entry.name);

/** Values of which at least one is wrong for any field that says what it wants. */
const WRONG: unknown[] = [
  { wrong: { nested: [1] } },
  ["wrong", {}],
  "",
  "wrong\u0000",
  -1,
  1e308,
  0.5,
  true,
  null,
];

/** What a configuration of the plugin needs before anything else is looked at, where the schema alone does not tell. */
const NEEDED: Readonly<Record<string, object>> = {
  "real-ip": { source: "http_x_forwarded_for" },
  "uri-blocker": { block_rules: ["x"] },
  "limit-req": { rate: 1, burst: 0, key: "remote_addr" },
  "limit-conn": { conn: 1, burst: 0, default_conn_delay: 1, key: "remote_addr" },
  "limit-count": { count: 1, time_window: 1 },
  "fault-injection": { delay: { duration: 0 } },
  mocking: { response_example: "x" },
  "consumer-restriction": { blacklist: ["x"] },
  "proxy-mirror": { host: "http://127.0.0.1:80" },
};

/** Where APISIX's own words do not name the field. */
const WORDED: Readonly<Record<string, string>> = { "response-rewrite.headers": "header" };

/** Some value that the schema takes, as far as types and required fields say so. */
function sampleOf(schema: Schema | undefined): unknown {
  if (schema === undefined) return "x";
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return schema.enum[0];
  if (schema.default !== undefined) return schema.default;
  const choice = schema.anyOf ?? schema.oneOf;
  if (choice !== undefined) return sampleOf(choice[0]);
  switch (schema.type) {
    case "integer":
    case "number":
      return schema.minimum ?? (schema.exclusiveMinimum ?? 0) + 1;
    case "boolean":
      return true;
    case "array":
      return [sampleOf(schema.items)];
    case "object":
      return Object.fromEntries(
        (schema.required ?? []).map((name) => [name, sampleOf(schema.properties?.[name])]),
      );
    default:
      return "x";
  }
}

interface Place {
  /** Dotted, with 0 for the item of a list. */
  path: string;
  field: string;
  /** The configuration with this at the place. */
  withValue(value: unknown): unknown;
}

/** Every field below those of the configuration itself. */
function* nestedPlaces(schema: Schema, around: (value: unknown) => unknown, path = ""): Generator<Place> {
  for (const [field, inner] of Object.entries(schema.properties ?? {})) {
    const at = `${path}${field}`;
    const sample = sampleOf(schema) as Record<string, unknown>;
    const put = (value: unknown): unknown => around({ ...sample, [field]: value });
    if (path !== "") yield { path: at, field, withValue: put };
    if (inner.properties !== undefined) yield* nestedPlaces(inner, put, `${at}.`);
    if (inner.items?.properties !== undefined)
      yield* nestedPlaces(inner.items, (value) => put([value]), `${at}.0.`);
  }
}

function refusalOf(plugin: string, config: unknown): string | null {
  const isOfStreams = catalog.get(plugin)?.subsystems?.includes("http") === false;
  const conditions = isOfStreams ? {} : { uri: "/*" };
  const route = { ...conditions, plugins: { [plugin]: config }, upstream: { nodes: { "a:80": 1 } } };
  const type = resourceType(isOfStreams ? "stream_routes" : "routes")!;
  return validateResource(type, route, { plugins: writable }, "1")?.message ?? null;
}

function consumerRefusalOf(plugin: string, config: unknown): string | null {
  const value = { username: "jack", plugins: { [plugin]: config } };
  return validateResource(resourceType("consumers")!, value, { plugins: catalog }, "jack")?.message ?? null;
}

function metadataRefusalOf(plugin: string, value: unknown): string | null {
  return (
    validateResource(resourceType("plugin_metadata")!, value, { plugins: catalog }, plugin)?.message ?? null
  );
}

test("every folder is a plugin of that name in the catalog, with a page for its users", () => {
  const missing = folders.filter((name) => catalog.get(name) === undefined);
  assert.deepEqual(missing, [], "folders without a plugin in the catalog");
  const withoutPage = catalog
    .list()
    .filter(({ name }) => !existsSync(new URL(`../../docs/plugins/${name}.md`, root)));
  assert.deepEqual(
    withoutPage.map(({ name }) => name),
    [],
  );
});

test("the list of plugins names every one of them", () => {
  const page = readFileSync(new URL("../../docs/plugins/README.md", root), "utf8");
  assert.deepEqual(
    catalog
      .list()
      .filter(({ name }) => !page.includes(`(${name}.md)`))
      .map(({ name }) => name),
    [],
  );
});

for (const { name, config, consumer, metadata } of catalog.list()) {
  const fields = Object.entries((config as Schema).properties ?? {});
  const needed = { ...(sampleOf(config) as object), ...NEEDED[name] };

  test(`${name}: each field, wrong once, is refused by its name`, () => {
    for (const [field] of fields) {
      const refusals = WRONG.map((value) => refusalOf(name, { ...needed, [field]: value })).filter(
        (text) => text !== null,
      );
      assert.ok(
        refusals.some((text) => text.includes(WORDED[`${name}.${field}`] ?? field)),
        `${field}: nothing wrong is refused with its name, but: ${refusals.join(" | ")}`,
      );
    }
  });

  test(`${name}: each field inside others, wrong once, is refused by its name`, () => {
    const around = (value: unknown): unknown => ({ ...needed, ...(value as object) });
    const unnamed: string[] = [];
    for (const { path, field, withValue } of nestedPlaces(config, around)) {
      const refusals = WRONG.map((value) => refusalOf(name, withValue(value)) ?? "");
      if (!refusals.some((text) => text.includes(field)))
        unnamed.push(`${path}: ${refusals.find((text) => text !== "")}`);
    }
    assert.deepEqual(unnamed, []);
  });

  for (const [what, schema, check] of [
    ["consumer", consumer, consumerRefusalOf],
    ["metadata", metadata, metadataRefusalOf],
  ] as const) {
    if (schema === undefined) continue;
    test(`${name}: each field of its ${what} schema, wrong once, is refused by its name`, () => {
      const sample = sampleOf(schema) as object;
      for (const field of Object.keys((schema as Schema).properties ?? {})) {
        const refusals = WRONG.map((value) => check(name, { ...sample, [field]: value }) ?? "");
        assert.ok(
          refusals.some((text) => text.includes(field)),
          `${field}: nothing wrong is refused with its name, but: ${refusals.join(" | ")}`,
        );
      }
    });
  }

  test(`${name}: hostile configurations are answered, never thrown`, () => {
    for (const config of [
      null,
      [],
      "x",
      1,
      JSON.parse('{"__proto__":{"x":1}}'),
      { constructor: { prototype: {} } },
    ]) {
      refusalOf(name, config);
    }
    assert.equal(({} as Record<string, unknown>)["x"], undefined);
  });

  test(`${name}: its page names every field`, () => {
    const page = readFileSync(new URL(`../../docs/plugins/${name}.md`, root), "utf8");
    assert.deepEqual(
      fields.map(([field]) => field).filter((field) => !page.includes(field)),
      [],
    );
  });
}
