import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPlugins } from "../../model/plugin-check.ts";
import { testGateway, type TestGateway, type TestRequest, type TestResponse } from "../../testing/index.ts";
import { countedIn, startRedis, withoutRedis } from "../limit/redis-test-server.ts";
import { PluginCatalog } from "../catalog.ts";
import { freePort } from "../../../test/ports/free-port.ts";

const DEFAULTS = { conn: 1, burst: 0, default_conn_delay: 0.1, key: "remote_addr" };

interface SlowGateway extends TestGateway {
  /** Answers all requests that are at the upstream. */
  answerAll(): void;
  /** Resolves when so many requests have reached the upstream, all in all. */
  reached(count: number): Promise<void>;
  readonly atUpstream: number;
}

/** The upstream answers when the test says so. */
function gatewayWith(config: object, replace = false): SlowGateway {
  const waiting: (() => void)[] = [];
  let arrived = 0;
  let watchers: { count: number; resolve: () => void }[] = [];
  const upstream = (): Promise<object> =>
    new Promise((resolve) => {
      waiting.push(() => resolve({ body: "upstream" }));
      arrived++;
      watchers = watchers.filter((watcher) => {
        if (arrived >= watcher.count) watcher.resolve();
        return arrived < watcher.count;
      });
    });
  const plugins = { "limit-conn": replace ? config : { ...DEFAULTS, ...config } };
  const gateway = testGateway({
    upstream,
    routes: [{ uri: "/*", plugins, upstream: { nodes: { "a:80": 1 } } }],
  });
  return {
    ...gateway,
    answerAll: () => waiting.splice(0).forEach((answer) => answer()),
    reached: (count) =>
      arrived >= count
        ? Promise.resolve()
        : new Promise((resolve) => watchers.push({ count, resolve: () => resolve() })),
    get atUpstream() {
      return waiting.length;
    },
  };
}

async function statuses(answers: Promise<TestResponse>[]): Promise<number[]> {
  return (await Promise.all(answers)).map((answer) => answer.status);
}

/** Statuses of requests that come while none is answered yet. */
async function together(gateway: SlowGateway, requests: TestRequest[], passing: number): Promise<number[]> {
  const answers = requests.map((request) => gateway.request(request));
  await gateway.reached(passing);
  gateway.answerAll();
  return statuses(answers);
}

function refusalOf(config: object): string | undefined {
  return checkPlugins({ "limit-conn": config }, "config", new PluginCatalog(null))?.message;
}

test("as many requests pass at the same time as the limit allows; ended ones make room", async () => {
  const gateway = gatewayWith({ conn: 2 });
  assert.deepEqual(await together(gateway, [{}, {}, {}], 2), [200, 200, 503]);
  assert.deepEqual(await together(gateway, [{}, {}, {}], 4), [200, 200, 503]);
});

for (const { name, onlyDefault, delaysMs } of [
  { name: "by multiples of the delay", onlyDefault: false, delaysMs: [0, 100, 200] },
  { name: "all alike with only_use_default_delay", onlyDefault: true, delaysMs: [0, 100, 100] },
]) {
  test(`requests within the burst are delayed, ${name}`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const gateway = gatewayWith({ burst: 2, only_use_default_delay: onlyDefault });
    const answers = [{}, {}, {}, {}].map((request) => gateway.request(request));
    assert.equal((await answers[3]).status, 503);
    for (let passedMs = 0; passedMs <= 200; passedMs += 50) {
      await turn();
      assert.equal(
        gateway.atUpstream,
        delaysMs.filter((delayMs) => delayMs <= passedMs).length,
        `after ${passedMs} ms`,
      );
      t.mock.timers.tick(50);
    }
    gateway.answerAll();
    assert.deepEqual(await statuses(answers.slice(0, 3)), [200, 200, 200]);
  });
}

for (const { name, config, requests, passing, expected } of [
  {
    name: "each client address is limited for itself",
    config: {},
    requests: [{ address: "10.0.0.1" }, { address: "10.0.0.2" }, { address: "10.0.0.1" }],
    passing: 2,
    expected: [200, 200, 503],
  },
  {
    name: "the address stands in where the key has no value",
    config: { key: "http_x_user" },
    requests: [{ headers: { "x-user": "a" } }, {}, { headers: { "x-user": "a" } }, {}],
    passing: 2,
    expected: [200, 200, 503, 503],
  },
  {
    name: "variables can be combined",
    config: { key: "$http_x_user $uri", key_type: "var_combination" },
    requests: [{ target: "/a" }, { target: "/b" }, { target: "/a" }],
    passing: 2,
    expected: [200, 200, 503],
  },
  {
    name: "conn and burst can come from the request",
    config: { conn: "${http_conn ?? 1}", burst: "$arg_burst", default_conn_delay: 0.0001 },
    requests: [1, 2, 3, 4].map(() => ({ target: "/?burst=1", headers: { conn: "2" } })),
    passing: 3,
    expected: [200, 200, 200, 503],
  },
  {
    name: "a request that gives no number gets 500",
    config: { conn: "$http_conn" },
    requests: [{}, { headers: { conn: "x" } }, { headers: { conn: "0" } }, { headers: { conn: "1" } }],
    passing: 1,
    expected: [500, 500, 500, 200],
  },
  {
    name: "or passes with allow_degradation",
    config: { conn: "$http_conn", allow_degradation: true },
    requests: [{}, {}],
    passing: 2,
    expected: [200, 200],
  },
]) {
  test(name, async () => {
    assert.deepEqual(await together(gatewayWith(config), requests, passing), expected);
  });
}

test("code and message of the refusal can be chosen", async () => {
  const gateway = gatewayWith({ rejected_code: 429, rejected_msg: "slow down" });
  void gateway.request();
  const refused = await gateway.request();
  assert.equal(refused.status, 429);
  assert.deepEqual(JSON.parse(refused.text), { error_msg: "slow down" });
});

const RULES = {
  default_conn_delay: 0.1,
  rules: [
    { conn: 1, burst: 0, key: "$http_user" },
    { conn: "${http_limit ?? 2}", burst: 0, key: "$http_project" },
  ],
};

test("of several rules those apply whose key has a value; none is an error", async () => {
  const user = { headers: { user: "x" } };
  const project = { headers: { project: "x" } };
  const both = { headers: { user: "y", project: "x" } };
  const gateway = gatewayWith(RULES, true);
  assert.deepEqual(
    await together(gateway, [user, user, project, both, project, both, {}], 3),
    [200, 503, 200, 200, 503, 503, 500],
  );
  // The refused ones gave back what the first rule had given them.
  assert.deepEqual(await together(gateway, [both, both], 4), [200, 503]);
});

test("a client that leaves gives its unit back, also while it is delayed", async () => {
  const gateway = gatewayWith({ conn: 1, burst: 1, default_conn_delay: 3600 });
  const [first, second] = [new AbortController(), new AbortController()];
  const abandoned = [gateway.request({}, first.signal), gateway.request({}, second.signal)];
  assert.equal((await gateway.request()).status, 503);
  first.abort();
  second.abort();
  for (const answer of abandoned) assert.equal((await answer).isAborted, true);
  // Had one unit stayed, this request would be delayed.
  const next = gateway.request();
  await gateway.reached(2);
  gateway.answerAll();
  assert.equal((await next).status, 200);
});

for (const { config, message } of [
  {
    config: { conn: 1, burst: 0, key: "k" },
    message: "value should match only one schema, but matches none",
  },
  {
    config: { ...DEFAULTS, ...RULES },
    message: "value should match only one schema, but matches both schemas 1 and 2",
  },
  {
    config: { ...DEFAULTS, key_type: "constant" },
    message: 'property "key_type" validation failed: matches none of the enum values',
  },
  { config: { ...DEFAULTS, policy: "redis" }, message: "then clause did not match" },
  {
    config: { ...DEFAULTS, policy: "redis", redis_host: "127.0.0.1", key_ttl: 0 },
    message: "key_ttl: given 0, expected at least 1",
  },
]) {
  test(`refused at write time: ${message}`, () => {
    assert.equal(refusalOf(config), `failed to check the configuration of plugin limit-conn err: ${message}`);
  });
}

test("gateways that share a Redis share the limit", { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);
  const config = { ...countedIn(redis), conn: 2 };
  const gateways = [gatewayWith(config), gatewayWith(config)];
  t.after(() => gateways.forEach((gateway) => gateway.put("route", "1", null)));
  for (let round = 1; round <= 3; round++) {
    const answers = [0, 1].map((i) => gateways[i].request());
    await Promise.all(gateways.map((gateway) => gateway.reached(round)));
    assert.deepEqual(await statuses(gateways.map((gateway) => gateway.request())), [503, 503]);
    gateways.forEach((gateway) => gateway.answerAll());
    assert.deepEqual(await statuses(answers), [200, 200]);
    while (redis.command("ZCARD", redis.command("KEYS", "limit_conn:*")) !== "0") await turn();
  }
});

test("units in Redis are given back after the configuration is gone", { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);
  const gateway = gatewayWith(countedIn(redis));
  const answer = gateway.request();
  await gateway.reached(1);
  const key = redis.command("KEYS", "limit_conn:*");
  assert.equal(redis.command("ZCARD", key), "1");
  gateway.put("route", "1", null);
  gateway.answerAll();
  assert.equal((await answer).status, 200);
  while (redis.command("ZCARD", key) !== "0") await turn();
});

test("a client that leaves while Redis is asked holds no unit", { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);
  const gateway = gatewayWith(countedIn(redis));
  t.after(() => gateway.put("route", "1", null));
  const leaving = new AbortController();
  const answer = gateway.request({}, leaving.signal);
  leaving.abort();
  assert.equal((await answer).isAborted, true);
  while (!redis.command("INFO", "commandstats").includes("cmdstat_zrem:calls=1")) await turn();
  const next = gateway.request();
  await gateway.reached(1);
  gateway.answerAll();
  assert.equal((await next).status, 200);
});

test("without its Redis, a limit answers 500, or lets pass with allow_degradation", async () => {
  const redis = { policy: "redis", redis_host: "127.0.0.1", redis_port: await freePort() };
  assert.deepEqual(await together(gatewayWith(redis), [{}, {}], 0), [500, 500]);
  const lenient = gatewayWith({ ...redis, allow_degradation: true });
  assert.deepEqual(await together(lenient, [{}, {}], 2), [200, 200]);
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
