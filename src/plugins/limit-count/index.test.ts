import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway, type TestGateway, type TestRequest } from "../../testing/index.ts";

const upstream = { nodes: { "a:80": 1 } };

function gatewayWith(config: object, now: () => number = Date.now): TestGateway {
  return testGateway({ now, routes: [{ uri: "/*", plugins: { "limit-count": config }, upstream }] });
}

async function statuses(gateway: TestGateway, requests: TestRequest[]): Promise<number[]> {
  const found: number[] = [];
  for (const request of requests) found.push((await gateway.request(request)).status);
  return found;
}

test("as many requests pass as the window allows, then 503, and after the window again", async () => {
  let now = 1_000_000;
  const gateway = gatewayWith({ count: 2, time_window: 60 }, () => now);
  assert.deepEqual(await statuses(gateway, [{}, {}, {}]), [200, 200, 503]);
  now += 59_999;
  assert.deepEqual(await statuses(gateway, [{}]), [503]);
  now += 1;
  assert.deepEqual(await statuses(gateway, [{}, {}, {}]), [200, 200, 503]);
});

test("the answer tells limit, rest and seconds until the reset", async () => {
  let now = 1_000_000;
  const gateway = gatewayWith({ count: 2, time_window: 60 }, () => now);
  const first = await gateway.request();
  assert.deepEqual(
    ["limit", "remaining", "reset"].map((name) => first.headers.get(`x-ratelimit-${name}`)),
    ["2", "1", "60"],
  );
  now += 12_340;
  await gateway.request();
  const refused = await gateway.request();
  assert.equal(refused.headers.get("x-ratelimit-remaining"), "0");
  assert.equal(refused.headers.get("x-ratelimit-reset"), "47.66");
});

test("the headers can be left out, or renamed by plugin metadata", async () => {
  const quiet = gatewayWith({ count: 2, time_window: 60, show_limit_quota_header: false });
  assert.equal((await quiet.request()).headers.get("x-ratelimit-limit"), undefined);

  const renamed = testGateway({
    pluginMetadata: { "limit-count": { limit_header: "X-Quota" } },
    routes: [{ uri: "/*", plugins: { "limit-count": { count: 2, time_window: 60 } }, upstream }],
  });
  const answer = await renamed.request();
  assert.equal(answer.headers.get("x-quota"), "2");
  assert.equal(answer.headers.get("x-ratelimit-remaining"), "1");
});

test("code and message of the refusal can be chosen", async () => {
  const gateway = gatewayWith({ count: 1, time_window: 60, rejected_code: 429, rejected_msg: "slow down" });
  await gateway.request();
  const refused = await gateway.request();
  assert.equal(refused.status, 429);
  assert.deepEqual(JSON.parse(refused.text), { error_msg: "slow down" });
});

for (const { name, config, requests, expected } of [
  {
    name: "by default each client address has its own count",
    config: {},
    requests: [{ address: "10.0.0.1" }, { address: "10.0.0.1" }, { address: "10.0.0.2" }],
    expected: [200, 503, 200],
  },
  {
    name: "a variable can be the key, and the address stands in where it has no value",
    config: { key: "http_x_user" },
    requests: [
      { headers: { "x-user": "a" } },
      { headers: { "x-user": "a" }, address: "10.0.0.9" },
      { headers: { "x-user": "b" } },
      {},
      {},
    ],
    expected: [200, 503, 200, 200, 503],
  },
  {
    name: "variables can be combined",
    config: { key: "$http_x_user $uri", key_type: "var_combination" },
    requests: [
      { target: "/a", headers: { "x-user": "a" } },
      { target: "/b", headers: { "x-user": "a" } },
      { target: "/a", headers: { "x-user": "a" } },
    ],
    expected: [200, 200, 503],
  },
  {
    name: "a constant counts everybody together",
    config: { key: "all", key_type: "constant" },
    requests: [{ address: "10.0.0.1" }, { address: "10.0.0.2" }],
    expected: [200, 503],
  },
]) {
  test(name, async () => {
    assert.deepEqual(
      await statuses(gatewayWith({ count: 1, time_window: 60, ...config }), requests),
      expected,
    );
  });
}

test("two routes with the same configuration count apart; an edited limit begins anew", async () => {
  const plugins = { "limit-count": { count: 1, time_window: 60 } };
  const gateway = testGateway({
    routes: [
      { uri: "/a", plugins, upstream },
      { uri: "/b", plugins, upstream },
    ],
  });
  assert.deepEqual(
    await statuses(gateway, [{ target: "/a" }, { target: "/b" }, { target: "/a" }]),
    [200, 200, 503],
  );
  gateway.put("route", "1", { uri: "/a", name: "renamed", plugins, upstream });
  assert.deepEqual(await statuses(gateway, [{ target: "/a" }]), [503]);
  gateway.put("route", "1", {
    uri: "/a",
    plugins: { "limit-count": { count: 2, time_window: 60 } },
    upstream,
  });
  assert.deepEqual(
    await statuses(gateway, [{ target: "/a" }, { target: "/a" }, { target: "/a" }]),
    [200, 200, 503],
  );
});

test("when the counters are full, new keys are refused, or pass with allow_degradation; known keys still count", async () => {
  const config = "cardea: { memory: { limit_counters: 1024 } }";
  for (const [allowDegradation, expected] of [
    [false, 500],
    [true, 200],
  ] as const) {
    const gateway = testGateway({
      config,
      routes: [
        {
          uri: "/*",
          plugins: { "limit-count": { count: 1, time_window: 3600, allow_degradation: allowDegradation } },
          upstream,
        },
      ],
    });
    assert.equal((await gateway.request({ address: "10.9.9.9" })).status, 200);
    const seen = new Set<number>();
    for (let i = 0; i < 5000; i++)
      seen.add((await gateway.request({ address: `10.0.${i >> 8}.${i & 255}` })).status);
    assert.deepEqual(seen, new Set([200, expected]));
    assert.equal((await gateway.request({ address: "10.9.9.9" })).status, 503);
  }
});
