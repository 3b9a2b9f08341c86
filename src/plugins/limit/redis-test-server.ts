/** A real Redis for tests: alone, as a cluster of one node, or with a sentinel. Every one ends with its test. */

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { freePort } from "../../../test/ports/free-port.ts";

/** False, or why tests with Redis are skipped. */
export const withoutRedis =
  spawnSync("redis-server", ["--version"]).status === 0 ? false : "redis-server is not installed";

export interface TestRedis {
  readonly port: number;
  /** Answer of `redis-cli` to a command. */
  command(...words: string[]): string;
  /** Freezes the process, or lets it go on. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

/** Of the configuration of a limit, that it counts there. How long a busy machine takes to answer is not what tests ask. */
export function countedIn({ port }: TestRedis): object {
  return { policy: "redis", redis_host: "127.0.0.1", redis_port: port, redis_timeout: 60_000 };
}

export async function startRedis(test: TestContext, ...options: string[]): Promise<TestRedis> {
  return start(test, await freePort(), options);
}

export async function startRedisAt(
  test: TestContext,
  port: number,
  ...options: string[]
): Promise<TestRedis> {
  return start(test, port, options);
}

/** A cluster of one node that has all slots. */
export async function startRedisCluster(test: TestContext): Promise<TestRedis> {
  const redis = await startRedis(
    test,
    "--cluster-enabled",
    "yes",
    "--cluster-port",
    String(await freePort()),
  );
  redis.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  while (!redis.command("CLUSTER", "INFO").includes("cluster_state:ok")) await nextTurn();
  return redis;
}

/** A sentinel that watches `master` under the name "main". */
export async function startSentinel(test: TestContext, master: TestRedis): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), "cardea-sentinel-"));
  const file = join(folder, "sentinel.conf");
  writeFileSync(file, `sentinel monitor main 127.0.0.1 ${master.port} 1\n`);
  const port = await freePort();
  const args = [file, "--sentinel", "--port", String(port), "--dir", folder];
  return follow(test, spawn("redis-server", args), port, folder, "+monitor");
}

async function start(test: TestContext, port: number, options: string[]): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), "cardea-redis-"));
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, ...options];
  return follow(test, spawn("redis-server", args), port, folder, "Ready to accept connections");
}

async function follow(
  test: TestContext,
  child: ChildProcess,
  port: number,
  folder: string,
  readyText: string,
): Promise<TestRedis> {
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let output = "";
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout!.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(readyText)) resolve();
    });
    void ended.then(() => reject(new Error(`redis-server ended: ${output}`)));
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  test.after(stop);
  await ready;
  return {
    port,
    stop,
    freeze: () => child.kill("SIGSTOP"),
    thaw: () => child.kill("SIGCONT"),
    command: (...words) =>
      spawnSync("redis-cli", ["-p", String(port), ...words], { encoding: "utf8" }).stdout.trim(),
  };
}
