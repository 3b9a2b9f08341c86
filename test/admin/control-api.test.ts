/** The Control API's answers to the byte, and what it says of health. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { NodeHealth } from "../../src/control/health/report.ts";
import { HostCheck } from "../../src/api/host-check.ts";
import { createControlServer } from "../../src/api/control/server.ts";
import { PluginCatalog } from "../../src/plugins/catalog.ts";
import { TestNode } from "./node.ts";

const counter = { success: 1, http_failure: 0, tcp_failure: 3, timeout_failure: 0 };
const dead: NodeHealth = { ip: "127.0.0.1", port: 1, status: "unhealthy", counter };
const upstream = { nodes: { "127.0.0.1:1": 1 } };
let node: TestNode;

before(async () => {
  node = await new TestNode({}, undefined, {
    nodesOf: (key) => (key === "/routes/checked" ? [dead] : []),
  }).start();
});
after(() => node.dispose());

test("without checks there is an empty object, as APISIX answers", async () => {
  assert.equal((await node.callControl("GET", "/v1/healthcheck")).text, "{}\n");
});

const refusals: [path: string, status: number, message: string][] = [
  ["/v1/healthcheck/routes/none", 404, "routes[none] not found"],
  ["/v1/healthcheck/routes/bare", 404, "no checker for routes[bare]"],
  ["/v1/healthcheck/route/1", 400, "invalid src type route"],
  ["/v1/healthcheck/routes", 404, "missing src id for src type routes"],
  ["/v1/route/none", 404, "route[none] not found"],
  ["/v1/plugin_metadata/none", 404, "plugin metadata[none] not found"],
  ["/v1/nothing", 404, "404 Route Not Found"],
];
for (const [path, status, message] of refusals) {
  test(`${path} is answered with ${status}: ${message}`, async () => {
    await node.call("PUT", "/routes/bare", { uri: "/bare", upstream });
    const reply = await node.callControl("GET", path);
    assert.deepEqual([reply.status, reply.text], [status, `{"error_msg":"${message}"}\n`]);
  });
}

test("resources with checks are listed with their nodes, as JSON and for browsers", async () => {
  await node.call("PUT", "/routes/checked", { uri: "/c", upstream: { ...upstream, checks: { active: {} } } });
  const expected = { name: "/apisix/routes/checked", type: "http", nodes: [dead] };
  assert.deepEqual((await node.callControl("GET", "/v1/healthcheck")).body, [expected]);
  assert.deepEqual((await node.callControl("GET", "/v1/healthcheck/routes/checked")).body, expected);
  const page = await node.callControl("GET", "/v1/healthcheck/routes/checked", { accept: "text/html" });
  assert.equal(page.headers.get("content-type"), "text/html");
  assert.match(page.text, /<td>127\.0\.0\.1:1<\/td><td>unhealthy<\/td><td>1<\/td><td>3<\/td>/);
});

test("resources are shown as they are held: with defaults, nodes as a list, the id as text", async () => {
  await node.call("PUT", "/routes/7", { id: 7, uri: "/held", upstream, plugins: { "key-auth": {} } });
  const { key, value } = (await node.callControl("GET", "/v1/route/7")).body;
  assert.deepEqual([key, value.id, value.priority, value.status], ["/apisix/routes/7", "7", 0, 1]);
  assert.deepEqual(value.upstream.nodes, [{ host: "127.0.0.1", port: 1, weight: 1 }]);
  assert.deepEqual([value.upstream.type, value.upstream.hash_on], ["roundrobin", "vars"]);
  assert.equal(value.plugins["key-auth"].header, "apikey");
  assert.deepEqual(value.plugins["key-auth"]._meta, {});
  const all = (await node.callControl("GET", "/v1/routes")).body as { key: string; value: object }[];
  assert.deepEqual(all.find((item) => item.key === key)?.value, value);
});

test("resources are shown when all of them are loaded, and not before", async () => {
  const { state, publisher } = node.control;
  const { promise: loaded, resolve: load } = Promise.withResolvers<void>();
  const server = createControlServer({
    state,
    publisher,
    plugins: new PluginCatalog(null),
    threads: node.shared.threads,
    counters: { reset: () => 0 },
    hosts: new HostCheck([]),
    loaded,
  });
  let isAnswered = false;
  const list = server.inject("/v1/routes").then((reply) => {
    isAnswered = true;
    return reply.statusCode;
  });
  assert.equal((await server.inject("/v1/workers")).statusCode, 200);
  assert.equal(isAnswered, false);
  load();
  assert.equal(await list, 200);
  await server.close();
});

test("a reload of plugins is answered", async () => {
  assert.equal((await node.callControl("PUT", "/v1/plugins/reload")).text, "done");
  const form = await fetch(`${node.controlUrl}/v1/plugins/reload`, {
    method: "PUT",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: "any=body",
  });
  assert.deepEqual([form.status, await form.text()], [200, "done"]);
});

test("metadata of plugins is shown without what the plugin encrypts, and not at all of a plugin that is not known", async () => {
  const put = (name: string, value: object) =>
    ({ type: "put", key: `/plugin_metadata/${name}`, value: JSON.stringify(value) }) as const;
  await node.control.store.write([
    put("limit-count", { redis_password: "canary", policy: "redis" }),
    put("of-others", { password: "canary" }),
    put("example-plugin", { ikey: 1, skey: "shown" }),
  ]);
  const { body, text } = await node.callControl("GET", "/v1/plugin_metadatas");
  assert.ok(!text.includes("canary"), text);
  assert.equal(body.length, 3);
  assert.equal((await node.callControl("GET", "/v1/plugin_metadata/limit-count")).body.policy, "redis");
  assert.equal((await node.callControl("GET", "/v1/plugin_metadata/example-plugin")).body.skey, "shown");
  assert.equal((await node.callControl("GET", "/v1/plugin_metadata/of-others")).text, '"(not shown)"\n');
});
