/**
 * One connection of a worker to one Redis, shared by all limits with the same settings. Runs scripts with a deadline.
 *
 * A Redis that is away must not hold requests up: only the first connection is waited for, and after it failed,
 * scripts fail at once until the next trial. A connection that was lost is made anew in the background.
 */

import type { PluginLog } from "../../plugin/index.ts";
import { canonicalJson } from "../../lib/content-hash.ts";
import { createRedisClient, type RedisClient } from "./redis-client.ts";
import type { RedisScript } from "./redis-scripts.ts";
import type { RedisSettings } from "./redis-settings.ts";

/** From a connection that could not be made to the next trial. */
const NEXT_TRIAL_MS = 1000;
/** Problems of one connection are logged at most this often. */
const LOG_INTERVAL_MS = 5000;

const connections = new Map<string, RedisConnection>();

export class RedisConnection {
  readonly #settings: RedisSettings;
  readonly #log: PluginLog;
  readonly #identity: string;
  readonly #timeoutMs: number;
  #users = 0;
  #client: RedisClient | null = null;
  #opening: Promise<RedisClient> | null = null;
  #nextTrialAt = 0;
  #nextLogAt = 0;

  private constructor(identity: string, settings: RedisSettings, log: PluginLog) {
    this.#identity = identity;
    this.#settings = settings;
    this.#log = log;
    this.#timeoutMs =
      settings.policy === "redis-sentinel" ? settings.redis_read_timeout : settings.redis_timeout;
  }

  /** The connection for these settings; nothing is opened before its first script. Give it back with `release`. */
  static acquire(settings: RedisSettings, log: PluginLog): RedisConnection {
    const identity = canonicalJson(
      Object.fromEntries(
        Object.entries(settings).filter(
          ([name]) => name === "policy" || name.startsWith("redis_") || name.startsWith("sentinel_"),
        ),
      ),
    );
    let connection = connections.get(identity);
    if (connection === undefined) {
      connection = new RedisConnection(identity, settings, log);
      connections.set(identity, connection);
    }
    connection.#users++;
    return connection;
  }

  /** The last user closes the connection; scripts on their way are waited for. */
  release(): void {
    if (--this.#users > 0) return;
    connections.delete(this.#identity);
    const client = this.#client;
    this.#client = null;
    if (client !== null) void this.#close(client);
  }

  /** Reply of the script; throws when Redis cannot be had, refuses, or does not answer in time. */
  async run(script: RedisScript, key: string, args: string[]): Promise<unknown> {
    const client = this.#client ?? (await this.#open());
    try {
      return await inTime(evaluate(client, script, key, args), this.#timeoutMs);
    } catch (error) {
      this.#report(error);
      throw error;
    }
  }

  async #open(): Promise<RedisClient> {
    if (this.#opening === null) {
      if (performance.now() < this.#nextTrialAt) throw new Error("Redis is not connected");
      this.#opening = this.#connect();
    }
    return this.#opening;
  }

  async #connect(): Promise<RedisClient> {
    let client: RedisClient | null = null;
    try {
      client = await createRedisClient(this.#settings);
      const { promise: failed, reject } = Promise.withResolvers<never>();
      failed.catch(() => undefined); // It may fail long after the race below is over.
      client.on("error", (error) => {
        this.#report(error);
        reject(error);
      });
      await inTime(Promise.race([client.connect(), failed]), this.#connectTimeoutMs);
      if (this.#users > 0) this.#client = client;
      else void this.#close(client);
      return client;
    } catch (error) {
      this.#nextTrialAt = performance.now() + NEXT_TRIAL_MS;
      this.#report(error);
      if (client !== null) await destroy(client);
      throw error;
    } finally {
      this.#opening = null;
    }
  }

  get #connectTimeoutMs(): number {
    const settings = this.#settings;
    return settings.policy === "redis-sentinel" ? settings.redis_connect_timeout : settings.redis_timeout;
  }

  async #close(client: RedisClient): Promise<void> {
    try {
      await inTime(client.close(), this.#timeoutMs);
    } catch {
      await destroy(client); // It is going anyway; what it waited for fails.
    }
  }

  #report(error: unknown): void {
    const now = performance.now();
    if (now < this.#nextLogAt) return;
    this.#nextLogAt = now + LOG_INTERVAL_MS;
    this.#log.error("limits cannot be counted in Redis", {
      policy: this.#settings.policy,
      reason: error instanceof Error ? error.message : String(error),
    });
  }
}

/** By its name first: Redis knows the script from the second call on. */
async function evaluate(
  client: RedisClient,
  script: RedisScript,
  key: string,
  args: string[],
): Promise<unknown> {
  const call = { keys: [key], arguments: args };
  try {
    return await client.evalSha(script.sha, call);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
    return client.eval(script.text, call);
  }
}

async function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new Error(`no answer from Redis within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function destroy(client: RedisClient): Promise<void> {
  try {
    await client.destroy();
  } catch {
    // It was not open any more.
  }
}
