import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStaticConfig } from "../../config/load.ts";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import type { PluginLog } from "../../plugin/index.ts";
import { DelayedCounts } from "./delayed-counts.ts";
import { RedisCounters } from "./redis-counters.ts";
import { startRedis, withoutRedis } from "./redis-test-server.ts";

const silent: PluginLog = { debug() {}, info() {}, warn() {}, error() {} };
const WINDOW_MS = 86_400_000;

for (const isSliding of [false, true]) {
  test(
    `workers of one node admit no more than the limit between exchanges (${isSliding ? "sliding" : "fixed"})`,
    { skip: withoutRedis, timeout: 20_000 },
    async (t) => {
      const redis = await startRedis(t);
      const { counters } = openSharedMemory(
        createSharedMemory(parseStaticConfig("test", "", {}).config.memory, 1),
        0,
        1,
      );
      const settings = {
        policy: "redis",
        redis_host: "127.0.0.1",
        redis_port: redis.port,
        redis_database: 0,
        redis_timeout: 1000,
        redis_ssl: false,
        redis_ssl_verify: false,
        redis_keepalive_timeout: 10_000,
        redis_keepalive_pool: 100,
      } as const;
      const workers = [0, 1].map(() => {
        const connection = new RedisCounters(settings, silent);
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
