/** Checks of whole configurations: every fault is found, in APISIX's words, and nothing is written. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestNode } from "./node.ts";

let node: TestNode;

before(async () => {
  node = await new TestNode({ streamRoutes: false }).start();
});
after(() => node.dispose());

test("every fault of every resource is in the answer, with its place", async () => {
  const upstream = { nodes: { "127.0.0.1:1": 1 } };
  const reply = await node.call("POST", "/configs/validate", {
    routes: [
      { id: "1", uri: "/a", upstream_id: "not-asked-for" },
      { id: "1", uri: 1, upstream },
    ],
    routes_conf_version: "1",
    consumers: [
      { username: "jack" },
      { username: "jack" },
      { id: "jack/credentials/1", plugins: { "ip-restriction": { whitelist: ["10.0.0.1"] } } },
    ],
    secrets: [{ id: "vault" }],
  });
  assert.equal(reply.status, 400);
  assert.equal(reply.body.error_msg, "Configuration validation failed");
  const errors = reply.body.errors as Record<string, unknown>[];
  const told = errors.map((error) => Object.values(error).join(" ")).toSorted();
  assert.deepEqual(told, [
    "consumers jack 1 found duplicate username jack in consumers",
    "consumers jack/credentials/1 2 only supports auth type plugins in consumer credential",
    "routes 1 1 found duplicate id 1 in routes",
    'routes 1 1 invalid configuration: property "uri" validation failed: wrong type: expected string, got number',
    "routes routes_conf_version must be a number, got string",
    "secrets vault 0 invalid secret id: vault",
  ]);
  assert.equal((await node.call("GET", "/routes")).body.total, 0);
});

const refusals: [name: string, body: string | undefined, type: string, message: RegExp][] = [
  ["no body", undefined, "application/json", /^invalid request body: empty request body$/],
  ["broken JSON", "{", "application/json", /^invalid request body: /],
  ["broken YAML", "a: [", "application/yaml", /^invalid request body: /],
  [
    "broken YAML that is long",
    `${Array.from({ length: 3000 }, (_, i) => `k${i}: secret-canary\n`).join("")}a: [`,
    "application/yaml",
    /^invalid request body: (?!.*canary)/s,
  ],
  ["a list", "[1]", "application/json", /^invalid request body: expected an object$/],
];
for (const [name, body, type, message] of refusals) {
  test(`${name} is refused without being repeated`, async () => {
    const reply = await node.call("POST", "/configs/validate", body, { "content-type": type });
    assert.equal(reply.status, 400);
    assert.deepEqual(Object.keys(reply.body), ["error_msg"]);
    assert.match(reply.body.error_msg, message);
  });
}

test("a good configuration in YAML is accepted", async () => {
  const yaml = "routes:\n  - id: 1\n    uri: /a\n    upstream: { nodes: { '127.0.0.1:1': 1 } }\n";
  const reply = await node.call("POST", "/configs/validate", yaml, { "content-type": "application/yaml" });
  assert.deepEqual([reply.status, reply.text], [200, "{}\n"]);
});

test("without stream listeners there are no stream routes", async () => {
  for (const [method, body] of [["GET"], ["PUT", { server_port: 1 }]] as const) {
    const reply = await node.call(method, "/stream_routes/1", body);
    assert.equal(reply.status, 400);
    assert.equal(reply.body.error_msg, "stream mode is disabled, can not add stream routes");
  }
});

test("metadata needs the name of a plugin that is known", async () => {
  assert.equal((await node.call("PUT", "/plugin_metadata", {})).body.error_msg, "missing plugin name");
  assert.equal((await node.call("PUT", "/plugin_metadata/none", {})).body.error_msg, "invalid plugin name");
});
