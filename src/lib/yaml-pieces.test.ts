import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parse } from "yaml";
import { yamlPieces } from "./yaml-pieces.ts";

const textOf = (value: Record<string, unknown>): string => [...yamlPieces(value)].join("");

test("is read again as what it was", () => {
  const words = fc.constantFrom(
    "null",
    "yes",
    "~",
    "1e3",
    "0x1f",
    "2026-11-21",
    "- a",
    "a: b",
    "#",
    "*",
    "&a",
    "!t",
    "",
    "é\u2028",
  );
  const name = fc.oneof(fc.string(), words);
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      name,
      fc.jsonValue({ maxDepth: 0 }),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(name, tie("value"), { maxKeys: 3, noNullPrototype: true }),
    ),
  }));
  const document = fc.dictionary(name, value, { noNullPrototype: true });
  fc.assert(
    fc.property(document, (given) => {
      const shown = JSON.parse(JSON.stringify(given)) as Record<string, unknown>;
      assert.deepEqual(parse(textOf(shown)), shown);
    }),
    { numRuns: 500 },
  );
});

test("looks as people write it", () => {
  const route = {
    id: "1",
    uri: "/a",
    hosts: ["a.com", "*.b.com"],
    plugins: { cors: {} },
    upstream: { nodes: [{ host: "h", port: 1 }] },
  };
  assert.equal(
    textOf({ routes: [route], none: [], routes_conf_version: 1 }),
    `routes:
  - id: "1"
    uri: /a
    hosts:
      - a.com
      - "*.b.com"
    plugins:
      cors: {}
    upstream:
      nodes:
        - host: h
          port: 1
none: []
routes_conf_version: 1
`,
  );
});

test("takes keys of any length", () => {
  const value = { routes: [{ ["k".repeat(3000)]: { a: [1] }, b: 2 }] };
  assert.deepEqual(parse(textOf(value)), value);
});
