import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import { testGateway, type TestGateway, type TestRequest } from "../../testing/index.ts";
import { PluginCatalog } from "../catalog.ts";
import { countedIn, startRedis, withoutRedis } from "../limit/redis-test-server.ts";
import { freePort } from "../../../test/ports/free-port.ts";

const upstream = { nodes: { "a:80": 1 } };

function gatewayWith(config: object, now: () => number = Date.now): TestGateway {
  const plugins = { "limit-req": { key: "remote_addr", ...config } };
  return testGateway({ now, routes: [{ uri: "/*", plugins, upstream }] });
}

async function statuses(gateway: TestGateway, requests: TestRequest[]): Promise<number[]> {
  const found: number[] = [];
  for (const request of requests) found.push((await gateway.request(request)).status);
  return found;
}

function refusalOf(config: object): string | undefined {
  return checkPlugins({ "limit-req": config }, "config", new PluginCatalog(null))?.message;
}

test("requests within the rate pass, faster ones are refused", async () => {
  let now = 1_000_000;
  const gateway = gatewayWith({ rate: 2, burst: 0 }, () => now);
  assert.deepEqual(await statuses(gateway, [{}, {}]), [200, 503]);
  now += 499;
  assert.deepEqual(await statuses(gateway, [{}]), [503]);
  now += 1;
  assert.deepEqual(await statuses(gateway, [{}, {}]), [200, 503]);
});

test("requests within the burst are delayed to keep to the rate, beyond it refused", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const gateway = gatewayWith({ rate: 2, burst: 2 }, () => 1_000_000);
  const finished: number[] = [];
  const requests = [0, 1, 2, 3].map(async (i) => {
    const { status } = await gateway.request();
    finished.push(i);
    return status;
  });
  assert.equal(await requests[0], 200);
  assert.equal(await requests[3], 503);
  t.mock.timers.tick(499);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(new Set(finished), new Set([0, 3]));
  t.mock.timers.tick(1);
  assert.equal(await requests[1], 200);
  assert.deepEqual(new Set(finished), new Set([0, 1, 3]));
  t.mock.timers.tick(500);
  assert.equal(await requests[2], 200);
});

test("with nodelay, requests within the burst pass at once", async () => {
  const gateway = gatewayWith({ rate: 1, burst: 2, nodelay: true }, () => 1_000_000);
  assert.deepEqual(await statuses(gateway, [{}, {}, {}, {}]), [200, 200, 200, 503]);
});

for (const { name, config, requests, expected } of [
  {
    name: "each client address has its own bucket",
    config: {},
    requests: [{ address: "10.0.0.1" }, { address: "10.0.0.2" }, { address: "10.0.0.1" }],
    expected: [200, 200, 503],
  },
  {
    name: "the address stands in where the key has no value",
    config: { key: "http_x_user" },
    requests: [{ headers: { "x-user": "a" } }, {}, { headers: { "x-user": "b" } }, {}],
    expected: [200, 200, 200, 503],
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
]) {
  test(name, async () => {
    const gateway = gatewayWith({ rate: 1, burst: 0, ...config }, () => 1_000_000);
    assert.deepEqual(await statuses(gateway, requests), expected);
  });
}

test("code and message of the refusal can be chosen", async () => {
  const config = { rate: 1, burst: 0, rejected_code: 429, rejected_msg: "slow down" };
  const gateway = gatewayWith(config, () => 1_000_000);
  await gateway.request();
  const refused = await gateway.request();
  assert.equal(refused.status, 429);
  assert.deepEqual(JSON.parse(refused.text), { error_msg: "slow down" });
});

test("two routes with the same configuration have buckets of their own", async () => {
  const plugins = { "limit-req": { rate: 1, burst: 0, key: "remote_addr" } };
  const gateway = testGateway({
    now: () => 1_000_000,
    routes: [
      { uri: "/a", plugins, upstream },
      { uri: "/b", plugins, upstream },
    ],
  });
  const requests = [{ target: "/a" }, { target: "/b" }, { target: "/a" }];
  assert.deepEqual(await statuses(gateway, requests), [200, 200, 503]);
});

for (const { config, message } of [
  { config: { burst: 1, key: "k" }, message: 'property "rate" is required' },
  {
    config: { rate: 0, burst: 1, key: "k" },
    message: 'property "rate" validation failed: expected 0 to be greater than 0',
  },
  {
    config: { rate: 1, burst: 1, key: "k", key_type: "constant" },
    message: 'property "key_type" validation failed: matches none of the enum values',
  },
  { config: { rate: 1, burst: 1, key: "k", policy: "redis" }, message: "then clause did not match" },
  { config: { rate: 1, burst: 1, key: "k", policy: "redis-cluster" }, message: "else clause did not match" },
]) {
  test(`refused at write time: ${message}`, () => {
    assert.equal(refusalOf(config), `failed to check the configuration of plugin limit-req err: ${message}`);
  });
}

test("gateways that share a Redis share the bucket", { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);
  // So slow that nothing leaks while the test runs.
  const config = { rate: 0.0001, burst: 2, nodelay: true, ...countedIn(redis) };
  const gateways = [gatewayWith(config), gatewayWith(config)];
  t.after(() => gateways.forEach((gateway) => gateway.put("route", "1", null)));
  const answers = await Promise.all([0, 1, 0, 1, 0, 1].map((i) => gateways[i].request()));
  const byStatus = Object.groupBy(answers, (answer) => answer.status);
  assert.deepEqual([byStatus[200]?.length, byStatus[503]?.length], [3, 3]);
});

test("without its Redis, a limit answers 500, or lets pass with allow_degradation", async () => {
  const redisPort = await freePort();
  for (const [allowDegradation, expected] of [
    [false, 500],
    [true, 200],
  ] as const) {
    const gateway = gatewayWith({
      rate: 1,
      burst: 0,
      policy: "redis",
      redis_host: "127.0.0.1",
      redis_port: redisPort,
      allow_degradation: allowDegradation,
    });
    assert.deepEqual(await statuses(gateway, [{}, {}, {}]), [expected, expected, expected]);
  }
});
