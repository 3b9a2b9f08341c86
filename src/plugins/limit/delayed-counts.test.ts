import assert from "node:assert/strict";
import { test } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import { parseStaticConfig } from "../../config/load.ts";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import { DelayedCounts } from "./delayed-counts.ts";
import type { LimitCounters } from "../../shared/limit-counters.ts";
import type { RedisSettings } from "./redis-settings.ts";
import { RedisCounters } from "./redis-counters.ts";
import { startRedis, withoutRedis } from "./redis-test-server.ts";

const WINDOW_MS = 86_400_000;

function settingsOf(port: number): RedisSettings {
  return {
    policy: "redis",
    redis_host: "127.0.0.1",
    redis_port: port,
    redis_database: 0,
    redis_timeout: 60_000,
    redis_ssl: false,
    redis_ssl_verify: false,
    redis_keepalive_timeout: 10_000,
    redis_keepalive_pool: 100,
  };
}

function nodeCounters(): LimitCounters {
  const { memory } = parseStaticConfig("test", "", {}).config;
  return openSharedMemory(createSharedMemory(memory, 1), 0, 1).counters;
}

for (const isSliding of [false, true]) {
  test(
    `workers of one node admit no more than the limit between exchanges (${isSliding ? "sliding" : "fixed"})`,
    { skip: withoutRedis },
    async (t) => {
      const redis = await startRedis(t);
      const counters = nodeCounters();
      const workers = [0, 1].map(() => {
        const connection = new RedisCounters(settingsOf(redis.port), silent);
        const delayed = new DelayedCounts(connection, 3600, { counters, now: Date.now });
        return { connection, delayed };
      });
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, i) => workers[i % 2].delayed.count("k", 1, 10, WINDOW_MS, isSliding)),
      );
      assert.equal(results.filter((result) => result.allowed).length, 10);
      for (const { connection, delayed } of workers) {
        await delayed.dispose();
        connection.dispose();
      }
      const told = isSliding ? redis.command("HGET", "k", "count") : redis.command("GET", "k");
      assert.equal(told, "10");
    },
  );
}

test(
  "a sliding window that ends before Redis was told still weighs in the next one",
  { skip: withoutRedis },
  async (t) => {
    const redis = await startRedis(t);
    const connection = new RedisCounters(settingsOf(redis.port), silent);
    let now = Date.now();
    const delayed = new DelayedCounts(connection, 3600, { counters: nodeCounters(), now: () => now });
    const allowed = async (): Promise<boolean> => (await delayed.count("k", 1, 2, WINDOW_MS, true)).allowed;
    assert.deepEqual([await allowed(), await allowed(), await allowed()], [true, true, false]);
    now += WINDOW_MS;
    assert.equal(await allowed(), false);
    await delayed.dispose();
    connection.dispose();
    assert.equal(redis.command("HGET", "k", "count"), "2");
  },
);
