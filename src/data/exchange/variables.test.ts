/** Variables as a request has them, read in `log`, when all of them have their value. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PluginDefinition } from "../../plugin/definition.ts";
import { Type } from "../../plugin/index.ts";
import { testGateway, type TestRequest } from "../../testing/index.ts";

async function readAll(
  request: TestRequest,
  names: readonly string[],
): Promise<Record<string, string | undefined>> {
  const values: Record<string, string | undefined> = {};
  const reader: PluginDefinition = {
    name: "reader",
    version: "1",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({
      log(ctx) {
        for (const name of names) values[name] = ctx.variable(name);
      },
    }),
  };
  const gateway = testGateway({
    config: "apisix: { router: { http: radixtree_uri_with_parameter } }",
    plugins: [reader],
    consumers: [{ username: "jack", group_id: "g", plugins: { "key-auth": { key: "k" } } }],
    consumerGroups: [{ id: "g", plugins: {} }],
    services: [{ id: "s", name: "shop", upstream: { nodes: { "10.0.0.7:8080": 1 } } }],
    routes: [
      {
        id: "r",
        name: "items",
        uri: "/items/:item/*rest",
        service_id: "s",
        plugins: {
          "key-auth": { anonymous_consumer: "jack" },
          "limit-count": { count: 5, time_window: 3600, key: "http_x_who" },
          reader: {},
        },
      },
    ],
    upstream: () => ({ status: 201, headers: { "X-Up": "yes" }, body: "12345" }),
  });
  await gateway.request(request);
  return values;
}

const REQUEST: TestRequest = {
  method: "POST",
  target: "/items/%37/x/y?B=2&a=%201&flag",
  host: "Shop.A.com:9080",
  headers: {
    Cookie: "one=1; Two=zwei; three",
    "X-Thing": "t",
    under_score: "u",
    Authorization: `Basic ${Buffer.from("ann:pw").toString("base64")}`,
  },
  body: "abc",
  address: "10.1.1.1",
};

const EXPECTED: Record<string, string | undefined> = {
  remote_addr: "10.1.1.1",
  remote_port: "40000",
  remote_user: "ann",
  host: "shop.a.com",
  http_host: "Shop.A.com:9080",
  http_x_thing: "t",
  http_under_score: "u",
  http_missing: undefined,
  arg_a: " 1",
  arg_B: "2",
  arg_b: undefined,
  arg_flag: "",
  arg_none: undefined,
  cookie_one: "1",
  cookie_Two: "zwei",
  cookie_two: undefined,
  args: "B=2&a=%201&flag",
  is_args: "?",
  uri: "/items/7/x/y",
  request_uri: "/items/7/x/y?B=2&a=%201&flag",
  real_request_uri: "/items/%37/x/y?B=2&a=%201&flag",
  request: "POST /items/%37/x/y?B=2&a=%201&flag HTTP/1.1",
  request_method: "POST",
  scheme: "http",
  https: "",
  server_port: "9080",
  server_protocol: "HTTP/1.1",
  request_body: "abc",
  status: "201",
  body_bytes_sent: "5",
  sent_http_x_up: "yes",
  upstream_http_x_up: "yes",
  upstream_addr: "10.0.0.7:8080",
  upstream_status: "201",
  upstream_scheme: "http",
  upstream_host: "shop.a.com:9080",
  upstream_uri: "/items/7/x/y?B=2&a=%201&flag",
  balancer_ip: "10.0.0.7",
  balancer_port: "8080",
  route_id: "r",
  route_name: "items",
  service_id: "s",
  service_name: "shop",
  consumer_name: "jack",
  consumer_group_id: "g",
  uri_param_item: "7",
  uri_param_rest: "x/y",
  uri_param_none: undefined,
  matched_uri: "/items/:item/*rest",
  request_type: "traditional_http",
  no_such_variable: undefined,
};

test("every variable has the value that nginx and APISIX give it", async () => {
  assert.deepEqual(await readAll(REQUEST, Object.keys(EXPECTED)), EXPECTED);
});

test("$rate_limiting_info tells what the limit said, as JSON", async () => {
  const request = { ...REQUEST, headers: { "X-Who": 'a"b' } };
  const info = JSON.parse((await readAll(request, ["rate_limiting_info"]))["rate_limiting_info"]!);
  const { rate_limiting_key: key, rate_limiting_reset: reset, ...rest } = info;
  assert.match(key, /:a"b$/);
  assert.ok(reset > 3590 && reset <= 3600);
  assert.deepEqual(rest, { rate_limiting_limit: 5, rate_limiting_remaining: 4 });
});

for (const [name, pattern] of [
  ["request_time", /^\d+\.\d{3}$/],
  ["upstream_response_time", /^\d+\.\d{3}$/],
  ["msec", /^\d{10}\.\d{3}$/],
  ["time_iso8601", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/],
  ["time_local", /^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$/],
  ["request_id", /^[0-9a-f]{32}$/],
  ["pid", /^\d+$/],
] as const) {
  test(`$${name} looks like ${pattern.source}`, async () => {
    assert.match((await readAll(REQUEST, [name]))[name] ?? "", pattern);
  });
}

test("two requests have two ids", async () => {
  const values = await readAll(REQUEST, ["request_id"]);
  const again = await readAll(REQUEST, ["request_id"]);
  assert.notEqual(values["request_id"], again["request_id"]);
});
