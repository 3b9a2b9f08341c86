/** What a worker knows of the configuration, as it changes under requests. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../../testing/index.ts";

const upstream = { nodes: { "inline:80": 1 } };

function gatewayWith(options: Parameters<typeof testGateway>[0]) {
  return testGateway({ upstream: (request) => ({ body: request.node }), ...options });
}

test("an edited route counts from the next request on, a deleted one is gone", async () => {
  const gateway = gatewayWith({ routes: [{ uri: "/a", upstream }] });
  assert.equal((await gateway.request({ target: "/a" })).status, 200);
  gateway.put("route", "1", { uri: "/b", upstream });
  assert.equal((await gateway.request({ target: "/a" })).status, 404);
  assert.equal((await gateway.request({ target: "/b" })).status, 200);
  gateway.put("route", "1", null);
  assert.equal((await gateway.request({ target: "/b" })).status, 404);
});

test("a disabled route is not routed, and comes back", async () => {
  const gateway = gatewayWith({ routes: [{ uri: "/a", status: 0, upstream }] });
  assert.equal((await gateway.request({ target: "/a" })).status, 404);
  gateway.put("route", "1", { uri: "/a", status: 1, upstream });
  assert.equal((await gateway.request({ target: "/a" })).status, 200);
});

test("an upstream that is edited, deleted and made again is the same to its routes", async () => {
  const gateway = gatewayWith({
    upstreams: [{ id: "u", nodes: { "one:80": 1 } }],
    routes: [{ uri: "/a", upstream_id: "u" }],
  });
  assert.equal((await gateway.request({ target: "/a" })).text, "one:80");
  gateway.put("upstream", "u", { nodes: { "two:80": 1 } });
  assert.equal((await gateway.request({ target: "/a" })).text, "two:80");
  gateway.put("upstream", "u", null);
  assert.equal((await gateway.request({ target: "/a" })).status, 502);
  gateway.put("upstream", "u", { nodes: { "three:80": 1 } });
  assert.equal((await gateway.request({ target: "/a" })).text, "three:80");
});

test("a route takes upstream and hosts from its service, its own count before", async () => {
  const gateway = gatewayWith({
    services: [{ id: "s", hosts: ["a.com"], upstream: { nodes: { "service:80": 1 } } }],
    routes: [
      { id: "1", uri: "/a", service_id: "s" },
      { id: "2", uri: "/b", service_id: "s", hosts: ["b.com"], upstream },
    ],
  });
  assert.equal((await gateway.request({ target: "/a", host: "a.com" })).text, "service:80");
  assert.equal((await gateway.request({ target: "/a", host: "x.com" })).status, 404);
  assert.equal((await gateway.request({ target: "/b", host: "b.com" })).text, "inline:80");
  assert.equal((await gateway.request({ target: "/b", host: "a.com" })).status, 404);
});

test("the upstream that a service refers to counts before the one inside it", async () => {
  const gateway = gatewayWith({
    upstreams: [{ id: "u", nodes: { "shared:80": 1 } }],
    services: [{ id: "s", upstream_id: "u", upstream: { nodes: { "inside:80": 1 } } }],
    routes: [{ uri: "/a", service_id: "s" }],
  });
  assert.equal((await gateway.request({ target: "/a" })).text, "shared:80");
});

test("new hosts of a service move its routes, also those of a service that comes after its routes", async () => {
  const wide = { uri: "/*", upstream: { nodes: { "wide:80": 1 } } };
  const narrow = { uri: "/a", service_id: "s", upstream: { nodes: { "narrow:80": 1 } } };
  const gateway = gatewayWith({ routes: [wide, narrow] });
  const answerTo = async (host: string): Promise<string | number> => {
    const { status, text } = await gateway.request({ target: "/a", host });
    return status === 200 ? text : status;
  };
  assert.equal(
    await answerTo("any.com"),
    404,
    "its plugins are unknown, and the wide route may protect less",
  );
  gateway.put("service", "s", { hosts: ["a.com"] });
  assert.equal(await answerTo("any.com"), "wide:80");
  assert.equal(await answerTo("a.com"), "narrow:80");
  gateway.put("service", "s", { hosts: ["b.com"] });
  assert.equal(await answerTo("a.com"), "wide:80");
  assert.equal(await answerTo("b.com"), "narrow:80");
  gateway.put("service", "s", null);
  assert.equal(await answerTo("any.com"), 404);
});

test("plugins of a service and of a plugin config change under their routes", async () => {
  const limited = (count: number): object => ({ "limit-count": { count, time_window: 60 } });
  const gateway = gatewayWith({
    services: [{ id: "s", plugins: limited(1), upstream }],
    pluginConfigs: [{ id: "p", plugins: {} }],
    routes: [{ uri: "/a", service_id: "s", plugin_config_id: "p" }],
  });
  const limit = async (): Promise<string | undefined> =>
    (await gateway.request({ target: "/a" })).headers.get("x-ratelimit-limit");
  assert.equal(await limit(), "1");
  gateway.put("service", "s", { plugins: limited(2), upstream });
  assert.equal(await limit(), "2");
  gateway.put("plugin_config", "p", { plugins: limited(3) });
  assert.equal(await limit(), "3");
  gateway.put("plugin_config", "p", null);
  assert.equal((await gateway.request({ target: "/a" })).status, 503, "what it held may have been a guard");
});

test("a consumer's group and its plugins change under its requests", async () => {
  const gateway = gatewayWith({
    consumers: [{ username: "jack", group_id: "g", plugins: { "key-auth": { key: "k" } } }],
    routes: [{ uri: "/a", plugins: { "key-auth": {} }, upstream }],
  });
  const limit = async (): Promise<string | undefined> =>
    (await gateway.request({ target: "/a", headers: { apikey: "k" } })).headers.get("x-ratelimit-limit");
  assert.equal(
    (await gateway.request({ target: "/a", headers: { apikey: "k" } })).status,
    503,
    "its group is missing",
  );
  gateway.put("consumer_group", "g", { plugins: { "limit-count": { count: 7, time_window: 60 } } });
  assert.equal(await limit(), "7");
  gateway.put("consumer", "jack", {
    username: "jack",
    group_id: "g",
    plugins: { "key-auth": { key: "k" }, "limit-count": { count: 8, time_window: 60 } },
  });
  assert.equal(await limit(), "8");
});

test("a plugin in two global rules counts in neither, the rest of both does", async () => {
  const gateway = gatewayWith({
    routes: [{ uri: "/a", upstream }],
    globalRules: [
      {
        id: "1",
        plugins: {
          "limit-count": { count: 1, time_window: 60 },
          "ip-restriction": { blacklist: ["10.0.0.1"] },
        },
      },
      { id: "2", plugins: { "limit-count": { count: 2, time_window: 60 } } },
    ],
  });
  const answer = await gateway.request({ target: "/a" });
  assert.equal(answer.headers.get("x-ratelimit-limit"), undefined);
  assert.equal((await gateway.request({ target: "/a", address: "10.0.0.1" })).status, 403);
  gateway.put("global_rule", "2", null);
  assert.equal((await gateway.request({ target: "/a" })).headers.get("x-ratelimit-limit"), "1");
});

test("a route without an upstream answers 503, one with a missing upstream 502", async () => {
  const gateway = gatewayWith({
    routes: [
      { id: "1", uri: "/none", plugins: { "key-auth": { anonymous_consumer: "guest" } } },
      { id: "2", uri: "/missing", upstream_id: "nowhere" },
    ],
    consumers: [{ username: "guest" }],
  });
  assert.equal((await gateway.request({ target: "/none" })).status, 503);
  assert.equal((await gateway.request({ target: "/missing" })).status, 502);
});
