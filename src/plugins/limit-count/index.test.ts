import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import { testGateway, type TestGateway, type TestRequest } from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";
import { startRedis, withoutRedis } from "../limit/redis-test-server.ts";
import { freePort } from "../../../test/ports/free-port.ts";

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

test("a sliding window remembers the one before it", async () => {
  let now = 600_000;
  const gateway = gatewayWith({ count: 4, time_window: 60, window_type: "sliding" }, () => now);
  assert.deepEqual(await statuses(gateway, [{}, {}, {}, {}, {}]), [200, 200, 200, 200, 503]);
  // A quarter of the next window is over: three of the four still count.
  now += 75_000;
  assert.deepEqual(await statuses(gateway, [{}, {}]), [200, 503]);
  const refused = await gateway.request();
  assert.equal(refused.headers.get("x-ratelimit-remaining"), "0");
  assert.equal(refused.headers.get("x-ratelimit-reset"), "0");
});

for (const { name, config, requests, expected } of [
  {
    name: "count and window can come from the request, with a default",
    config: { count: "${http_quota ?? 1}", time_window: "$arg_window", key: "$http_user", key_type: "var" },
    requests: [
      { target: "/?window=60" },
      { target: "/?window=60" },
      { target: "/?window=60", headers: { quota: "2" } },
    ],
    expected: [200, 503, 200],
  },
  {
    name: "a request that gives no usable number gets 500",
    config: { count: "$http_quota", time_window: 60 },
    requests: ["", "x", "0", "-1", "1.5", "1e999", "1"].map((quota) => ({ headers: { quota } })),
    expected: [500, 500, 500, 500, 500, 500, 200],
  },
  {
    name: "or passes uncounted with allow_degradation",
    config: { count: "$http_quota", time_window: 60, allow_degradation: true },
    requests: [{}, {}],
    expected: [200, 200],
  },
]) {
  test(name, async () => {
    assert.deepEqual(await statuses(gatewayWith(config), requests), expected);
  });
}

const RULES = [
  { key: "$http_user", count: 1, time_window: 60, header_prefix: "User" },
  { key: "$http_project", count: "${http_quota ?? 2}", time_window: 3600 },
];

test("of several rules those apply whose key has a value; none is an error", async () => {
  const gateway = gatewayWith({ rules: RULES });
  const user = { headers: { user: "x" } };
  const project = { headers: { project: "x" } };
  const both = { headers: { user: "y", project: "x" } };
  assert.deepEqual(
    await statuses(gateway, [{}, user, user, project, both, project]),
    [500, 200, 503, 200, 200, 503],
  );
  const lenient = gatewayWith({ rules: RULES, allow_degradation: true });
  assert.deepEqual(await statuses(lenient, [{}, {}]), [200, 200]);
});

test("each rule has headers of its own, with its prefix or its number", async () => {
  const answer = await gatewayWith({ rules: RULES }).request({ headers: { user: "x", project: "y" } });
  assert.equal(answer.headers.get("x-user-ratelimit-limit"), "1");
  assert.equal(answer.headers.get("x-user-ratelimit-remaining"), "0");
  assert.equal(answer.headers.get("x-user-ratelimit-reset"), "60");
  assert.equal(answer.headers.get("x-2-ratelimit-limit"), "2");
  assert.equal(answer.headers.get("x-2-ratelimit-reset"), "3600");
  assert.equal(answer.headers.get("x-ratelimit-limit"), undefined);
});

test("rules whose keys become the same text count apart", async () => {
  const rules = RULES.map((rule) => ({ ...rule, count: 1 }));
  const gateway = gatewayWith({ rules });
  assert.deepEqual(await statuses(gateway, [{ headers: { user: "x", project: "x" } }]), [200]);
});

test("routes of a group share one counter", async () => {
  const plugins = { "limit-count": { count: 2, time_window: 60, group: "together" } };
  const gateway = testGateway({
    routes: [
      { uri: "/a", plugins, upstream },
      { uri: "/b", plugins, upstream },
    ],
    services: [],
  });
  const requests = [{ target: "/a" }, { target: "/b" }, { target: "/a" }];
  assert.deepEqual(await statuses(gateway, requests), [200, 200, 503]);
});

function refusalOf(config: object): string | undefined {
  return checkPlugins({ "limit-count": config }, "config", new PluginCatalog(null))?.message;
}

const WINDOW = { count: 1, time_window: 60 };
const REDIS = { policy: "redis", redis_host: "127.0.0.1", redis_timeout: 60_000 };
const SENTINEL = {
  policy: "redis-sentinel",
  redis_sentinels: [{ host: "s1", port: 1 }],
  redis_master_name: "m",
};

for (const { config, message } of [
  { config: { count: 1 }, message: "value should match only one schema, but matches none" },
  {
    config: { ...WINDOW, rules: RULES },
    message: "count/time_window and rules cannot be specified at the same time",
  },
  {
    config: { count: 1, rules: RULES },
    message: "count/time_window and rules cannot be specified at the same time",
  },
  { config: { rules: RULES, group: "g" }, message: "group and rules cannot be specified at the same time" },
  { config: { rules: [RULES[0], RULES[0]] }, message: "duplicate key '$http_user' in rules" },
  { config: { ...WINDOW, policy: "redis" }, message: "then clause did not match" },
  { config: { ...WINDOW, policy: "redis-cluster" }, message: "else clause did not match" },
  { config: { ...WINDOW, policy: "redis-sentinel" }, message: "else clause did not match" },
  {
    config: { ...WINDOW, policy: "memcached" },
    message: 'property "policy" validation failed: matches none of the enum values',
  },
  {
    config: { ...WINDOW, ...REDIS, sync_interval: 0.05 },
    message: "sync_interval should not be smaller than 0.1",
  },
  {
    config: { ...WINDOW, ...REDIS, sync_interval: 60 },
    message: "sync_interval should be smaller than time_window",
  },
  {
    config: { ...WINDOW, ...SENTINEL, redis_role: "slave" },
    message: 'redis_role "slave" is not supported: counters are written, which a slave refuses',
  },
  {
    config: { ...WINDOW, policy: "redis-cluster", redis_cluster_nodes: ["nowhere"], redis_cluster_name: "c" },
    message: 'redis_cluster_nodes: given "nowhere", expected host:port',
  },
]) {
  test(`refused at write time: ${message} (${JSON.stringify(config)})`, () => {
    assert.equal(
      refusalOf(config),
      `failed to check the configuration of plugin limit-count err: ${message}`,
    );
  });
}

test("accepted at write time: every policy with its fields", () => {
  assert.equal(refusalOf({ ...WINDOW, ...REDIS, sync_interval: 0.1 }), undefined);
  assert.equal(refusalOf({ ...WINDOW, ...SENTINEL }), undefined);
  assert.equal(refusalOf({ rules: RULES, window_type: "sliding" }), undefined);
});

test("a group keeps the settings that it was first used with", () => {
  const config = { ...WINDOW, group: "kept" };
  assert.equal(refusalOf(config), undefined);
  assert.equal(refusalOf({ ...config, _meta: { priority: 5 } }), undefined);
  assert.match(refusalOf({ ...config, count: 2 })!, /group conf mismatched$/);
  assert.equal(refusalOf({ ...WINDOW, count: 2, group: "another" }), undefined);
});

const withRedis = { skip: withoutRedis };

for (const windowType of ["fixed", "sliding"]) {
  test(`gateways that share a Redis share the count of a ${windowType} window`, withRedis, async (t) => {
    const redis = await startRedis(t);
    const config = {
      count: 5,
      time_window: 86_400,
      window_type: windowType,
      ...REDIS,
      redis_port: redis.port,
    };
    const gateways = [gatewayWith(config), gatewayWith(config)];
    t.after(() => gateways.forEach((gateway) => gateway.put("route", "1", null)));
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => gateways[i % 2].request()));
    const byStatus = Object.groupBy(answers, (answer) => answer.status);
    assert.deepEqual([byStatus[200]?.length, byStatus[503]?.length], [5, 15]);
    const { headers } = byStatus[503]![0];
    assert.equal(headers.get("x-ratelimit-limit"), "5");
    assert.equal(headers.get("x-ratelimit-remaining"), "0");
    assert.ok(Number(headers.get("x-ratelimit-reset")) > 0);
  });
}

test(
  "with sync_interval, Redis hears of requests later, and gateways learn of each other then",
  withRedis,
  async (t) => {
    const redis = await startRedis(t);
    const config = { count: 4, time_window: 86_400, ...REDIS, redis_port: redis.port, sync_interval: 0.1 };
    const gateways = [gatewayWith(config), gatewayWith(config), gatewayWith(config)];
    t.after(() => gateways.forEach((gateway) => gateway.put("route", "1", null)));
    // Both ask Redis before the first request, and tell it of their requests later.
    assert.deepEqual(await statuses(gateways[0], [{}, {}]), [200, 200]);
    assert.deepEqual(await statuses(gateways[1], [{}, {}]), [200, 200]);
    const key = redis.command("KEYS", "plugin-limit-count:*");
    while (redis.command("GET", key) !== "4") await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(await statuses(gateways[2], [{}]), [503]);
    // The others learn it with the answer that Redis has given them by now.
    let admitted = 0;
    while ((await gateways[0].request()).status === 200) admitted++;
    assert.ok(admitted <= 2, `${admitted} more than the first gateway knew to be left`);
  },
);

test("with sync_interval and without Redis, the node counts by itself", async () => {
  const redis = { ...REDIS, redis_port: await freePort(), sync_interval: 1 };
  assert.deepEqual(
    await statuses(gatewayWith({ count: 2, time_window: 60, ...redis }), [{}, {}, {}]),
    [200, 200, 503],
  );
});

test("without its Redis, a limit answers 500, or lets pass with allow_degradation", async () => {
  const redis = { ...REDIS, redis_port: await freePort() };
  const strict = await gatewayWith({ ...WINDOW, ...redis }).request();
  assert.equal(strict.status, 500);
  assert.deepEqual(JSON.parse(strict.text), { error_msg: "failed to limit count" });
  const lenient = gatewayWith({ ...WINDOW, ...redis, allow_degradation: true });
  assert.deepEqual(await statuses(lenient, [{}, {}]), [200, 200]);
});
