/** Files of resources: what is written reads the same, and what cannot be applied is named with its line. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as fc from "fast-check";
import { addToLists, fileText, namesVariables, ResourceFile, type ResourceLists } from "./resource-file.ts";

let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "cardea-file-"));
});
after(() => rmSync(folder, { recursive: true }));

function fileOf(text: string, name = "apisix.yaml", env: NodeJS.ProcessEnv = {}): ResourceFile {
  const file = join(folder, name);
  writeFileSync(file, text);
  return new ResourceFile(file, env);
}

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom(
    "yes",
    "off",
    "~",
    "null",
    "1e3",
    "0x1f",
    "12:30:00",
    "- a",
    "a: b",
    "#c",
    "/*",
    "&a",
    "*a",
    " ",
    "",
  ),
);
const value = fc.dictionary(
  fc.stringMatching(/^[a-z_]{1,8}$/).filter((name) => !["id", "plugins", "username"].includes(name)),
  fc.oneof(text, fc.integer(), fc.boolean(), fc.array(text, { maxLength: 3 })),
  { maxKeys: 4, noNullPrototype: true },
);

for (const format of ["yaml", "json"] as const) {
  test(`what is written as ${format} reads the same`, () => {
    const key = fc.constantFrom(
      "/routes/1",
      "/upstreams/a.b",
      "/consumers/jack/credentials/x",
      "/secrets/vault/1",
    );
    fc.assert(
      fc.property(
        key,
        value.filter((each) => !namesVariables(each)),
        (name, fields) => {
          const lists: ResourceLists = {};
          addToLists(lists, name, fields);
          const { writes } = fileOf(fileText(lists, format), `file.${format}`);
          const list = lists[name.split("/")[1]];
          const id = name.includes("/credentials/") ? {} : { id: list[0]["id"] };
          const { create_time: _made, update_time: _changed, ...rest } = fields;
          assert.deepEqual(writes, [{ key: name, value: { ...id, ...rest } }]);
        },
      ),
      { numRuns: 100 },
    );
  });
}

test("the mark at the end is not asked for, variables are read, times of the server are left out", () => {
  const lines = ["routes:", "  - id: 1", "    uri: ${{U}}", "    name: ${{N:=x}}", "    create_time: 1", ""];
  const { writes } = fileOf(lines.join("\n"), "a.yaml", { U: "/u" });
  assert.deepEqual(writes, [{ key: "/routes/1", value: { id: 1, uri: "/u", name: "x" } }]);
});

test("a resource without an id is refused with its line", () => {
  assert.throws(() => fileOf("routes:\n  - uri: /a\n"), /apisix\.yaml:2:5 \/routes\/arr_1: expected an id/);
  assert.throws(() => fileOf("route:\n  - uri: /a\n"), /apisix\.yaml:1:1 route: .*did you mean routes/);
});

test("refusals of a node get their place in the file", () => {
  const file = fileOf("routes:\n  - id: 1\n    uri: /a\n    plugins:\n      cors: {max_age: x}\n");
  const refusals = [
    { key: "/routes/1", message: "wrong", pointer: "/plugins/cors/max_age" },
    { key: "/routes/2", message: "elsewhere", pointer: "" },
  ];
  const [first, second] = file.located(refusals).split("\n");
  assert.match(first, /apisix\.yaml:5:23 \/routes\/1: wrong$/);
  assert.equal(second, "/routes/2: elsewhere");
});

test("the types of a file are those that it has lists of, also empty ones", () => {
  assert.deepEqual(fileOf("upstreams: []\nconsumers:\n  - username: a\n").types, [
    "consumers",
    "credentials",
    "upstreams",
  ]);
  assert.deepEqual(fileOf('{"routes": [], "routes_conf_version": 1}', "a.json").types, ["routes"]);
});
