/** Rollouts through the Admin API: who may write them, what they keep from being deleted, and what only nodes write. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { AdminKey, AdminKeyScope } from "../../src/config/static-config.ts";
import { TestNode } from "./node.ts";

function scoped(name: string, limits: Partial<AdminKeyScope>): AdminKey {
  const none = { resources: null, labels: null, hosts: null, uriPrefixes: null };
  return { name, key: `key-of-${name}-0123456789`, role: "admin", scope: { ...none, ...limits } };
}

const keys = [
  scoped("team", { labels: { team: "a" } }),
  scoped("paths", { resources: ["rollouts"], uriPrefixes: ["/a"] }),
];
const labels = { team: "a" };
const rollout = { labels, canary: { upstream_id: "new" }, steps: [{ weight: 5, duration: 60 }] };
let node: TestNode;

before(async () => {
  node = await new TestNode({ keys }).start();
  await node.call("PUT", "/upstreams/new", { nodes: { "127.0.0.1:1": 1 } });
  const upstream = { nodes: { "127.0.0.1:2": 1 } };
  await node.call("PUT", "/routes/own", { uri: "/a", labels, upstream });
  await node.call("PUT", "/routes/foreign", { uri: "/b", labels: { team: "b" }, upstream });
});
after(() => node.dispose());

for (const [key, route, status] of [
  ["team", "own", 201],
  ["team", "foreign", 403],
  ["paths", "own", 201],
  ["paths", "foreign", 403],
] as const) {
  test(`the key ${key} and a rollout on the ${route} route: ${status}`, async () => {
    const headers = { "x-api-key": `key-of-${key}-0123456789` };
    const reply = await node.call("PUT", "/rollouts/r", { ...rollout, route_id: route }, headers);
    assert.equal(reply.status, status, reply.text);
    if (status === 201) await node.call("DELETE", "/rollouts/r");
  });
}

test("a rollout is not moved to a route, nor away from one, that the key may not write", async () => {
  const headers = { "x-api-key": "key-of-team-0123456789" };
  await node.call("PUT", "/rollouts/r", { ...rollout, route_id: "foreign" });
  assert.equal((await node.call("PATCH", "/rollouts/r", { route_id: "own" }, headers)).status, 403);
  assert.equal((await node.call("DELETE", "/rollouts/r", undefined, headers)).status, 403);
  await node.call("PATCH", "/rollouts/r", { route_id: "own" });
  assert.equal((await node.call("PATCH", "/rollouts/r", { route_id: "foreign" }, headers)).status, 403);
  await node.call("DELETE", "/rollouts/r");
});

test("what a rollout names must be there, and its upstreams stay as long as it does", async () => {
  const missing = await node.call("PUT", "/rollouts/r", { ...rollout, route_id: "none" });
  assert.equal(missing.status, 400);
  assert.match(missing.body.error_msg, /route id \[none\]/);
  await node.call("PUT", "/rollouts/r", { ...rollout, route_id: "own" });
  const used = await node.call("DELETE", "/upstreams/new");
  assert.equal(used.status, 400);
  assert.match(used.body.error_msg, /rollout \[r\] is still using it now/);
  const second = await node.call("PUT", "/rollouts/s", { ...rollout, route_id: "own" });
  assert.match(second.body.error_msg, /the rollout \[r\] is on it already/);
});

test("progress is written by nodes alone", async () => {
  const path = "/rollouts/r/progress/r";
  const value = { run: "x", phase: "promoted", step: 0, elapsed: 0, requests: 0, holder: "me", since: 1 };
  assert.equal((await node.call("PUT", path, value)).status, 405);
  assert.equal((await node.call("DELETE", path)).status, 405);
  const batch = await node.call("POST", "/batch", { writes: [{ key: path, value }] });
  assert.notEqual(batch.status, 200);
  assert.match(batch.text, /not supported `PUT` method for progress/);
  assert.equal((await node.call("GET", path)).status, 404);
});

test("nobody writes the plugin that counts for a rollout", async () => {
  const plugins = { rollout: { rollout: "r", canary: "new", weight: 100 } };
  for (const [path, value] of [
    ["/routes/own", { uri: "/a", labels }],
    ["/services/s", {}],
    ["/global_rules/g", {}],
    ["/plugin_configs/p", {}],
    ["/consumers/c", { username: "c" }],
  ] as const) {
    for (const meta of [{}, { _meta: { disable: true } }]) {
      const body = { ...value, plugins: { rollout: { ...plugins.rollout, ...meta } } };
      const reply = await node.call("PUT", path, body);
      assert.equal(reply.status, 400, path);
      assert.match(reply.body.error_msg, /the plugin rollout is set by the gateway alone/);
    }
  }
});
