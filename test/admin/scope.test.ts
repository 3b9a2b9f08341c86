/** Scoped admin keys: what they may touch, and the audit lines of every write. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { AdminKey, AdminKeyScope } from "../../src/config/static-config.ts";
import { RESOURCE_NAMES } from "../../src/model/resource-names.ts";
import { RESOURCE_TYPES } from "../../src/model/resources.ts";
import type { Log } from "../../src/lib/log.ts";
import { silent } from "../../src/lib/silent-log.ts";
import { CONTROL_PORT, KEY, TestNode } from "./node.ts";

function scoped(name: string, limits: Partial<AdminKeyScope>): AdminKey {
  const none = { resources: null, labels: null, hosts: null, uriPrefixes: null };
  return { name, key: `key-of-${name}-0123456789`, role: "admin", scope: { ...none, ...limits } };
}

const keys = [
  scoped("types", { resources: ["routes", "upstreams", "credentials"] }),
  scoped("team", { labels: { team: "a" } }),
  scoped("hosts", { hosts: ["a.com", "*.b.com"] }),
  scoped("paths", { uriPrefixes: ["/a", "/deep/"] }),
  scoped("both", { resources: ["routes", "upstreams"], hosts: ["a.com"], uriPrefixes: ["/a"] }),
];
const nodes = { "127.0.0.1:1": 1 };
const route = { uri: "/x", upstream: { nodes } };
let node: TestNode;

before(async () => {
  node = await new TestNode({ keys }).start();
  await node.call("PUT", "/routes/foreign", { ...route, labels: { team: "b" }, host: "c.com" });
  await node.call("PUT", "/consumers/foreign", { username: "foreign", labels: { team: "b" } });
});
after(() => node.dispose());

async function as(name: string, method: string, path: string, body?: unknown) {
  return await node.call(method, path, body, { "x-api-key": `key-of-${name}-0123456789` });
}

const cases: Record<string, [key: string, path: string, body: object, allowed: boolean]> = {
  "a type among its resources": ["types", "/routes/1", route, true],
  "a type not among them": ["types", "/services/1", {}, false],
  "a sub-resource that is named": ["types", "/consumers/foreign/credentials/1", {}, true],
  "an upstream that is the node's own Control API": [
    "types",
    "/upstreams/own",
    { nodes: { [`127.0.0.1:${CONTROL_PORT}`]: 1 } },
    false,
  ],
  "the right label": ["team", "/routes/2", { ...route, labels: { team: "a", more: "x" } }, true],
  "another label": ["team", "/routes/3", { ...route, labels: { team: "b" } }, false],
  "no label": ["team", "/upstreams/3", { nodes }, false],
  "a type that has no labels": ["team", "/global_rules/1", { plugins: {} }, false],
  "a resource of others, even with the right label afterwards": [
    "team",
    "/routes/foreign",
    { ...route, labels: { team: "a" } },
    false,
  ],
  "a sub-resource of what belongs to others": [
    "team",
    "/consumers/foreign/credentials/2",
    { labels: { team: "a" } },
    false,
  ],
  "its host": ["hosts", "/routes/4", { ...route, host: "A.com" }, true],
  "a host below its wildcard": ["hosts", "/routes/5", { ...route, hosts: ["x.b.com", "*.y.b.com"] }, true],
  "one foreign host among others": ["hosts", "/routes/6", { ...route, hosts: ["a.com", "b.com"] }, false],
  "a wider wildcard": ["hosts", "/routes/6", { ...route, host: "*.com" }, false],
  "no host": ["hosts", "/routes/7", route, false],
  "what acts on every host": ["hosts", "/global_rules/1", { plugins: {} }, false],
  "what has no host": ["hosts", "/upstreams/7", { nodes }, false],
  "a service with its host": ["hosts", "/services/7", { hosts: ["a.com"] }, true],
  "a path below its prefix": [
    "paths",
    "/routes/8",
    { upstream: { nodes }, uris: ["/a", "/a/*", "/deep/x*"] },
    true,
  ],
  "a path that only looks alike": ["paths", "/routes/9", { ...route, uri: "/ab" }, false],
  "a pattern that is wider than its prefix": ["paths", "/routes/9", { ...route, uri: "/a*" }, false],
  "everything right": ["both", "/routes/10", { ...route, uri: "/a/x", host: "a.com" }, true],
  "the host right and the path wrong": ["both", "/routes/11", { ...route, host: "a.com" }, false],
  "a type that is named and has neither": ["both", "/upstreams/11", { nodes }, true],
};

for (const [name, [key, path, body, allowed]] of Object.entries(cases)) {
  test(`a key limited to ${key} ${allowed ? "may" : "may not"} write ${name}`, async () => {
    node.audited.length = 0;
    const reply = await as(key, "PUT", path, body);
    assert.equal(reply.status < 300, allowed, reply.text);
    const [line] = node.audited;
    assert.equal(node.audited.length, 1);
    assert.deepEqual(
      [line["author"], line["method"], line["path"], line["status"]],
      [key, "PUT", path, reply.status],
    );
    if (allowed) return;
    assert.equal(reply.status, 403);
    assert.equal(reply.body.error_msg, "the admin key may not do this");
    assert.ok(reply.body.description.length > 10);
    assert.equal(line["reason"], `the admin key may not do this: ${reply.body.description}`);
  });
}

test("patches, deletes and reads of what belongs to others are refused, and lists leave it out", async () => {
  await as("team", "PUT", "/routes/own", { ...route, labels: { team: "a" } });
  assert.equal((await as("team", "PATCH", "/routes/foreign", { priority: 1 })).status, 403);
  assert.equal((await as("team", "PATCH", "/routes/own", { labels: { team: "b" } })).status, 403);
  assert.equal((await as("team", "DELETE", "/routes/foreign")).status, 403);
  assert.equal((await as("team", "GET", "/routes/foreign")).status, 403);
  assert.equal((await as("team", "GET", "/history?key=/routes/foreign")).body.total, 0);
  const { list, total } = (await as("team", "GET", "/routes")).body;
  const foreign = list.filter((item: { value: { labels: object } }) => !("team" in item.value.labels));
  assert.deepEqual([foreign.length, list.length], [0, total]);
  assert.ok(!list.some((item: { key: string }) => item.key.endsWith("/foreign")));
  assert.equal((await as("team", "GET", "/global_rules")).status, 403);
  assert.equal((await as("team", "PUT", "/plugins/reload")).status, 403);
  assert.equal((await as("team", "GET", "/plugins/list")).status, 200);
});

test("only keys without a scope lead to the node's own listeners", async () => {
  const own = { nodes: { [`localhost:${CONTROL_PORT}`]: 1 } };
  assert.equal((await as("types", "PATCH", "/routes/1", { upstream: own })).status, 403);
  assert.equal((await node.call("PUT", "/upstreams/control", own)).status, 201);
});

test("refused keys are audited without a name, and no line holds a key or a body", async () => {
  node.audited.length = 0;
  const secret = "wrong-key-canary";
  await node.call("PUT", `/routes/1?api_key=${secret}`, { ...route, desc: "body-canary" });
  await node.call("DELETE", "/routes/missing", undefined, { "x-api-key": secret });
  await node.call("PUT", "/consumers/c", { username: "c", plugins: { "key-auth": { key: "key-canary" } } });
  assert.deepEqual(
    node.audited.map((line) => [line["author"], line["status"]]),
    [
      [null, 401],
      [null, 401],
      ["admin", 201],
    ],
  );
  assert.ok(!JSON.stringify(node.audited).includes("canary"));
  assert.equal(typeof node.audited[2]["revision"], "number");
});

test("what fails within is logged by its path, without the key that its query may hold", async (t) => {
  const said: unknown[] = [];
  const log: Log = { ...silent, error: (message, fields) => void said.push({ message, ...fields }) };
  const other = new TestNode();
  other.log = log;
  await other.start();
  t.after(() => other.dispose());
  t.mock.method(other.control.store, "write", () => Promise.reject(new Error("on purpose")));
  const reply = await other.call("PUT", `/routes/1?api_key=${KEY}`, route, { "x-api-key": "" });
  assert.equal(reply.status, 500, reply.text);
  assert.deepEqual(said, [
    {
      message: "the Admin API failed",
      method: "PUT",
      path: "/apisix/admin/routes/1",
      error: "Error: on purpose",
    },
  ]);
  assert.ok(!reply.text.includes("on purpose"));
});

test("refused bodies are audited by the place of the fault, without what stands there", async () => {
  node.audited.length = 0;
  await node.call("PUT", "/routes/1", { ...route, host: "host canary" });
  await node.call("PUT", "/routes/1", '{"desc": "body-canary');
  assert.deepEqual(
    node.audited.map((line) => [line["status"], line["reason"]]),
    [
      [400, "not valid: /host"],
      [400, "not valid: the request"],
    ],
  );
});

test("the names that a scope may list are those of all resources", () => {
  assert.deepEqual([...RESOURCE_NAMES], RESOURCE_TYPES.map((type) => type.plural).toSorted());
});
