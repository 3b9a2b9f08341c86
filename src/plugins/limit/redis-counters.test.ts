import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import { RedisCounters } from "./redis-counters.ts";
import type { RedisSettings } from "./redis-settings.ts";
import {
  startRedis,
  startRedisAt,
  startRedisCluster,
  startSentinel,
  withoutRedis,
} from "./redis-test-server.ts";
import { freePort } from "../../../test/ports/free-port.ts";

const options = { skip: withoutRedis };
/** A thousand years: none ends, and the share of the one before does not change, while a test runs. */
const WINDOW_MS = 2 ** 45;
const keepalive = { redis_keepalive_timeout: 10_000, redis_keepalive_pool: 100 };

function single(port: number, more: object = {}): RedisSettings {
  return {
    policy: "redis",
    redis_host: "127.0.0.1",
    redis_port: port,
    redis_database: 0,
    redis_timeout: 60_000,
    redis_ssl: false,
    redis_ssl_verify: false,
    ...keepalive,
    ...more,
  };
}

function countersFor(t: TestContext, settings: RedisSettings): RedisCounters {
  const counters = new RedisCounters(settings, silent);
  t.after(() => counters.dispose());
  return counters;
}

/** What is in time on a quiet machine may be late once on a busy one. */
async function untilItWorks<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

for (const isSliding of [false, true]) {
  test(
    `${isSliding ? "a sliding" : "a fixed"} window lets in exactly its limit, however many ask at once`,
    options,
    async (t) => {
      const redis = await startRedis(t);
      const counters = countersFor(t, single(redis.port));
      const results = await Promise.all(
        Array.from({ length: 100 }, () => counters.count("k", 1, 30, WINDOW_MS, isSliding)),
      );
      assert.equal(results.filter((result) => result.allowed).length, 30);
      assert.equal(Math.min(...results.map((result) => result.remaining)), 0);
      for (const { resetMs } of results) assert.ok(resetMs > 0 && resetMs <= WINDOW_MS, `reset ${resetMs}`);
    },
  );
}

test("what is refused consumes nothing, and charges count beyond the limit", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port));
  const count = async (cost: number, always = false) =>
    Object.values(await counters.count("k", cost, 10, 60_000, false, always)).slice(0, 2);
  assert.deepEqual(await count(7), [true, 3]);
  assert.deepEqual(await count(4), [false, 3]);
  assert.deepEqual(await count(3), [true, 0]);
  assert.deepEqual(await count(5, true), [false, 0]);
  assert.equal(redis.command("GET", "k"), "15");
});

test("the previous window counts with the share that the sliding window still covers", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port));
  const window = Math.floor(Date.now() / WINDOW_MS);
  redis.command("HSET", "k", "window", String(window - 1), "count", "100", "previous", "0");
  const { remaining } = await counters.count("k", 1, 100, WINDOW_MS, true);
  const share = 1 - (Date.now() % WINDOW_MS) / WINDOW_MS;
  assert.ok(Math.abs(remaining - (99 - 100 * share)) <= 1, `remaining ${remaining}`);
});

test("a bucket takes its burst with growing delays and refuses the rest", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port));
  // So slow that nothing leaks while the test runs.
  const delays = await Promise.all(Array.from({ length: 5 }, () => counters.leak("k", 1e-6, 2)));
  assert.deepEqual(
    delays.map((delayMs) => Math.round(delayMs / 1e7)),
    [0, 100, 200, -0, -0],
  );
  assert.deepEqual(delays.slice(3), [-1, -1]);
});

test("units are held up to the limit and given back exactly once", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port));
  const units = await Promise.all([1, 2, 3].map(() => counters.hold("k", 2, 60_000)));
  assert.deepEqual(
    units.map((unit) => unit?.held ?? null),
    [1, 2, null],
  );
  await counters.release(units[0]!);
  assert.equal(redis.command("ZCARD", "k"), "1");
  const third = await counters.hold("k", 2, 60_000);
  assert.equal(third?.held, 2);
  assert.equal(await counters.hold("k", 2, 60_000), null);
  await counters.release(units[1]!);
  await counters.release(third);
  assert.equal(redis.command("ZCARD", "k"), "0");
});

test("a unit whose time is over is forgotten", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port));
  redis.command("ZADD", "k", "1", "of-a-gateway-that-died");
  const unit = await counters.hold("k", 1, 60_000);
  assert.equal(unit?.held, 1);
  await counters.release(unit);
});

test(
  "user, password and database are used; wrong ones fail, whatever others have open",
  options,
  async (t) => {
    const redis = await startRedis(t);
    redis.command("ACL", "SETUSER", "alice", "on", ">secret", "~*", "+@all");
    const right = { redis_username: "alice", redis_password: "secret", redis_database: 3 };
    const counters = countersFor(t, single(redis.port, right));
    assert.equal((await counters.count("k", 1, 5, 60_000, false)).allowed, true);
    assert.equal(redis.command("-n", "3", "GET", "k"), "1");
    const wrong = countersFor(t, single(redis.port, { ...right, redis_password: "wrong" }));
    await assert.rejects(wrong.count("k", 1, 5, 60_000, false), /WRONGPASS/);
  },
);

test("a Redis that does not answer fails a limit after its timeout", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port, { redis_timeout: 100 }));
  await untilItWorks(() => counters.count("k", 1, 5, 60_000, false));
  redis.freeze();
  await assert.rejects(counters.count("k", 1, 5, 60_000, false), /no answer from Redis within 100 ms/);
  redis.thaw();
});

test("a Redis that is away fails limits at once, and is used again when it is back", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port));
  await counters.count("k", 1, 5, 60_000, false);
  await redis.stop();
  await assert.rejects(counters.count("k", 1, 5, 60_000, false));
  await startRedisAt(t, redis.port);
  const { allowed } = await untilItWorks(() => counters.count("k", 1, 5, 60_000, false));
  assert.equal(allowed, true);
});

test("a unit that could not be given back is given back with the next one", options, async (t) => {
  const redis = await startRedis(t);
  const counters = countersFor(t, single(redis.port, { redis_timeout: 200 }));
  const unit = await untilItWorks(() => counters.hold("k", 5, 60_000));
  redis.command("CLIENT", "PAUSE", "60000", "WRITE");
  await counters.release(unit!);
  redis.command("CLIENT", "UNPAUSE");
  redis.command("DEL", "k");
  redis.command("ZADD", "k", String(Date.now() + 60_000), unit!.unit);
  const next = await untilItWorks(() => counters.hold("k", 5, 60_000));
  while (redis.command("ZCARD", "k") !== "1") await new Promise((resolve) => setImmediate(resolve));
  assert.equal(redis.command("ZSCORE", "k", next!.unit) === "", false);
  await counters.release(next!);
});

test("nobody at the other end fails quickly, and stays failed until the next trial", options, async (t) => {
  const counters = countersFor(t, single(await freePort()));
  await assert.rejects(counters.count("k", 1, 5, 60_000, false), /ECONNREFUSED/);
  await assert.rejects(counters.count("k", 1, 5, 60_000, false), /Redis is not connected/);
});

test("a cluster is found by one of its nodes", options, async (t) => {
  const redis = await startRedisCluster(t);
  const counters = countersFor(t, {
    policy: "redis-cluster",
    redis_cluster_nodes: [`127.0.0.1:${redis.port}`],
    redis_cluster_name: "c",
    redis_timeout: 60_000,
    redis_cluster_ssl: false,
    redis_cluster_ssl_verify: false,
    ...keepalive,
  });
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) => counters.count(`k${i % 2}`, 1, 3, 60_000, i % 2 === 0)),
  );
  assert.equal(results.filter((result) => result.allowed).length, 6);
});

test("a sentinel tells where the master is", options, async (t) => {
  const redis = await startRedis(t);
  const sentinel = await startSentinel(t, redis);
  const counters = countersFor(t, {
    policy: "redis-sentinel",
    redis_sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
    redis_master_name: "main",
    redis_role: "master",
    redis_connect_timeout: 60_000,
    redis_read_timeout: 60_000,
    redis_keepalive_timeout: 60_000,
    redis_database: 2,
  });
  const results = await Promise.all(
    Array.from({ length: 20 }, () => counters.count("k", 1, 3, 60_000, false)),
  );
  assert.equal(results.filter((result) => result.allowed).length, 3);
  assert.equal(redis.command("-n", "2", "GET", "k"), "3");
});
