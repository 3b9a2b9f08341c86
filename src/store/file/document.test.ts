/** The declarative file: which items it holds, and what is said about a wrong one. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigError } from "../../config/config-error.ts";
import { type FileDocument, type FileFormat, type ItemCheck, readDocument } from "./document.ts";

/** Refuses what has a field "bad". */
const check: ItemCheck = (_key, value) =>
  Object.hasOwn(value, "bad") ? { message: "it is bad", pointer: "/bad" } : null;

function read(text: string, env: NodeJS.ProcessEnv = {}, format: FileFormat = "yaml"): FileDocument {
  const whole = format === "yaml" ? `${text}\n#END\n` : text;
  return readDocument({ name: "apisix.yaml", text: whole, format, env, check });
}

function items(text: string, env: NodeJS.ProcessEnv = {}): [string, unknown][] {
  return read(text, env).items.map(({ key, value }) => [key, JSON.parse(value)]);
}

function refusal(text: string, format: FileFormat = "yaml", end = "\n#END"): string {
  try {
    readDocument({
      name: "apisix.yaml",
      text: format === "yaml" ? text + end : text,
      format,
      env: {},
      check,
    });
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return assert.fail(`accepted: ${text}`);
}

describe("the key of a resource", () => {
  const cases: [text: string, keys: string[]][] = [
    ["routes: [{ id: 1 }, { id: a }]", ["/routes/1", "/routes/a"]],
    ["routes: [{ id: 7 }, {}, {}]", ["/routes/7", "/routes/arr_2", "/routes/arr_3"]],
    ["consumers: [{ username: jack }]", ["/consumers/jack"]],
    ["consumers: [{ id: jack, username: jack }]", ["/consumers/jack"]],
    ["consumers: [{ id: jack/credentials/one }]", ["/consumers/jack/credentials/one"]],
    ["plugin_metadata: [{ id: prometheus }]", ["/plugin_metadata/prometheus"]],
    ["secrets: [{ id: vault/1 }]", ["/secrets/vault/1"]],
    ["routes:\nupstreams: []", []],
    ["routes_conf_version: 3", []],
    ["", []],
  ];
  for (const [text, keys] of cases) {
    test(`${JSON.stringify(text)} gives ${keys.join(", ") || "nothing"}`, () => {
      assert.deepEqual(
        items(text).map(([key]) => key),
        keys,
      );
    });
  }
});

test("a resource is taken as it stands; an index of another mode is left out, a plugin without configuration has an empty one", () => {
  const text = "routes:\n  - { id: 1, uri: /a, modifiedIndex: 9, plugins: { key-auth: } }";
  assert.deepEqual(items(text), [["/routes/1", { id: 1, uri: "/a", plugins: { "key-auth": {} } }]]);
});

test("anchors and merge keys may be used as often as there are routes", () => {
  const routes = Array.from({ length: 500 }, (_, i) => `  - { id: ${i}, upstream: *shared }`).join("\n");
  const text = `upstreams:\n  - &shared { id: u, nodes: { "a:1": 1 } }\nroutes:\n${routes}`;
  assert.deepEqual(items(text)[500], [
    "/routes/499",
    { id: 499, upstream: { id: "u", nodes: { "a:1": 1 } } },
  ]);
});

test("variables become what they read as, and stay text within quotes", () => {
  const text = 'routes:\n  - id: a\n    priority: ${{N}}\n    desc: "${{N}}"\n    name: ${{M:=x}}';
  assert.deepEqual(items(text, { N: "5" }), [["/routes/a", { id: "a", priority: 5, desc: "5", name: "x" }]]);
});

test("variables in JSON become what they read as", () => {
  const {
    items: [item],
  } = read('{ "routes": [{ "id": "a", "priority": "${{N}}" }] }', { N: "5" }, "json");
  assert.deepEqual(JSON.parse(item.value), { id: "a", priority: 5 });
});

test("a fault is told with the line of the field and the resource, and the item stays", () => {
  const { faults, items: all } = read("routes:\n  - id: 1\n  - id: 2\n    uri: /x\n    bad: 3");
  assert.deepEqual(
    [...faults],
    [["/routes/2", { line: 5, column: 10, key: "/routes/2", message: "it is bad" }]],
  );
  assert.equal(all.length, 2);
});

test("a check may look at every other resource, wherever it stands", () => {
  const seen: unknown[] = [];
  const text = "routes: [{ id: 1 }]\nupstreams: [{ id: u, type: ewma }]\n#END";
  const look: ItemCheck = (key, _value, get) => {
    if (key === "/routes/1") seen.push(get("/upstreams/u"), get("/upstreams/v"));
    return null;
  };
  readDocument({ name: "apisix.yaml", text, format: "yaml", env: {}, check: look });
  assert.deepEqual(seen, [{ id: "u", type: "ewma" }, undefined]);
});

test("a list of plugins has no effect and says so", () => {
  assert.match(read("plugins:\n  - name: cors").warnings.join(), /^plugins has no effect/);
});

describe("the whole file is refused:", () => {
  const cases: [text: string, message: string | RegExp][] = [
    ["route: []", "apisix.yaml:1:1 route: unknown type of resource; did you mean routes?"],
    ["credentials: []", /unknown type of resource/],
    ["routes: { id: 1 }", "apisix.yaml:1:9 routes: expected a list of resources"],
    ["routes:\n  - 5", "apisix.yaml:2:5 routes[0]: expected a map, the resource"],
    [
      "routes:\n  - id: 1\n  - id: '1'",
      "apisix.yaml:3:5 /routes/1: the resource is given twice, expected an id of its own",
    ],
    ["routes:\n  - id: ${{NOT_SET}}", /^apisix\.yaml:2:9 the environment variable NOT_SET is not set/],
    ["routes: [", /^apisix\.yaml:\d+:\d+ not valid YAML or JSON: /],
    ["routes:\n  - { id: 1, id: 2 }", /not valid YAML or JSON: Map keys must be unique/],
    ["routes: [{ __proto__: {} }]", /this key is never allowed/],
    ["- 1", /expected a map/],
  ];
  for (const [text, message] of cases) {
    test(text.replaceAll("\n", "⏎"), () => {
      if (typeof message === "string") assert.equal(refusal(text), message);
      else assert.match(refusal(text), message);
    });
  }

  test("without its end mark", () => {
    const message = "apisix.yaml the file does not end with #END: it is not complete, or is being written";
    for (const end of ["", "\n#EN", "\n#END\nx: 1"])
      assert.equal(refusal("routes: []", "yaml", end), message);
  });

  test("JSON that is empty or was cut off", () => {
    assert.equal(refusal("", "json"), "apisix.yaml the file is empty");
    assert.equal(refusal("routes: []", "json"), "apisix.yaml the file is YAML, expected JSON");
    assert.match(refusal('{ "routes": [', "json"), /^apisix\.yaml:1:14 not valid YAML or JSON: /);
  });

  test("without repeating what may be a secret", () => {
    for (const text of ["a: [1] canary", 'a: [1] "canary"', "a: canary: b", "a: |x canary"]) {
      assert.doesNotMatch(refusal(text), /canary/);
    }
    assert.doesNotMatch(refusal('{ "a": [1] "canary" }', "json"), /canary/);
  });

  test("a file beyond the limit", () => {
    assert.match(refusal(`a: ${"x".repeat(4 * 1024 * 1024)}`), /has more than 4194304 bytes/);
  });
});
