import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, Type } from "../../plugin/index.ts";
import { testGateway } from "../../testing/index.ts";

const upstream = { nodes: { "a:80": 1 } };

/** A plugin with a path of its own, whose name a setting of the static file can change. */
const clock = definePlugin({
  name: "clock",
  version: "1",
  priority: 1,
  config: Type.Object({}),
  apis: (host) => [
    {
      methods: ["GET", "HEAD"],
      uri: (host.attributes.uri as string | undefined) ?? "/apisix/clock",
      handle: (ctx) => ctx.answer(200, { now: host.now(), asked: ctx.request.path }),
    },
    { methods: ["POST"], uri: "/apisix/alarm", handle: async (ctx) => ctx.answer(201, "set") },
  ],
  compile: () => ({}),
});

function gatewayWith(route: object, config?: string) {
  return testGateway({
    config,
    plugins: [clock],
    now: () => 7,
    consumers: [{ username: "jack", plugins: { "key-auth": { key: "k" } } }],
    routes: [{ uri: "/*", ...route }],
    upstream: () => assert.fail("the upstream was asked"),
  });
}

test("a route leads to the path of a plugin, under a name of its own", async () => {
  const gateway = gatewayWith({ plugins: { "public-api": { uri: "/apisix/clock" } }, upstream });
  const answer = await gateway.request({ target: "/time" });
  assert.equal(answer.status, 200);
  assert.deepEqual(JSON.parse(answer.text), { now: 7, asked: "/time" });
});

test("without a uri the path of the request counts, and each method has its own", async () => {
  const gateway = gatewayWith({ plugins: { "public-api": {} } });
  assert.equal((await gateway.request({ target: "/apisix/clock" })).status, 200);
  assert.equal((await gateway.request({ target: "/apisix/alarm" })).status, 404);
  assert.equal((await gateway.request({ target: "/apisix/alarm", method: "POST" })).text, "set");
});

test("a path that no plugin has is not found, though the route has an upstream", async () => {
  const gateway = gatewayWith({ plugins: { "public-api": { uri: "/apisix/none" } }, upstream });
  assert.equal((await gateway.request({ target: "/apisix/clock" })).status, 404);
});

test("the other plugins of the route protect the path", async () => {
  const gateway = gatewayWith({ plugins: { "public-api": { uri: "/apisix/clock" }, "key-auth": {} } });
  assert.equal((await gateway.request()).status, 401);
  assert.equal((await gateway.request({ headers: { apikey: "k" } })).status, 200);
});

test("a plugin chooses its path by its settings in the static file", async () => {
  const config = "plugin_attr: { clock: { uri: /apisix/what-time } }";
  const gateway = gatewayWith({ plugins: { "public-api": {} } }, config);
  assert.equal((await gateway.request({ target: "/apisix/what-time" })).status, 200);
  assert.equal((await gateway.request({ target: "/apisix/clock" })).status, 404);
});
