/** The operations of limits in Redis, for one plugin configuration; the twin of `LimitCounters` of the node. */

import { randomBytes } from "node:crypto";
import type { PluginLog } from "../../plugin/index.ts";
import { RedisConnection } from "./redis-connection.ts";
import * as scripts from "./redis-scripts.ts";
import type { RedisSettings } from "./redis-settings.ts";

export interface CountResult {
  allowed: boolean;
  /** Cost that still fits; never negative. */
  remaining: number;
  resetMs: number;
}

/** Units that could not be given back and are tried again; beyond it, Redis forgets them by their time. */
const MAX_UNRELEASED = 10_000;

/** Units of this worker are told from all others by this. */
const worker = randomBytes(9).toString("base64url");
let serial = 0;

export class RedisCounters {
  readonly #connection: RedisConnection;
  #unreleased: { key: string; unit: string }[] = [];
  /** Held, or on their way. */
  #units = 0;
  #isDisposed = false;

  constructor(settings: RedisSettings, log: PluginLog) {
    this.#connection = RedisConnection.acquire(settings, log);
  }

  /** Counts in a fixed or sliding window; `always` counts beyond the limit, too. */
  async count(
    key: string,
    cost: number,
    limit: number,
    windowMs: number,
    isSliding: boolean,
    always = false,
  ): Promise<CountResult> {
    const args = [String(limit), String(windowMs), String(cost), always ? "1" : "0"];
    if (!isSliding) {
      const [allowed, count, leftMs] = numbers(await this.#connection.run(scripts.FIXED_WINDOW, key, args));
      return { allowed: allowed === 1, remaining: Math.max(0, limit - count), resetMs: leftMs };
    }
    const [allowed, count, previous, leftMs] = numbers(
      await this.#connection.run(scripts.SLIDING_WINDOW, key, args),
    );
    const share = (previous / windowMs) * leftMs;
    // A request that found the window full waits for its end; another until the previous one weighs less.
    const waitsForEnd = allowed === 1 || count >= limit || previous === 0;
    return {
      allowed: allowed === 1,
      remaining: Math.max(0, Math.floor(limit - count - share)),
      resetMs: waitsForEnd ? leftMs : Math.max(0, leftMs - ((limit - count) * windowMs) / previous),
    };
  }

  /** Milliseconds to wait to keep to the rate; -1: refused. */
  async leak(key: string, ratePerSecond: number, burst: number): Promise<number> {
    const args = [String(ratePerSecond), String(burst)];
    const [allowed, waitUs] = numbers(await this.#connection.run(scripts.LEAKY_BUCKET, key, args));
    return allowed === 1 ? waitUs / 1000 : -1;
  }

  /** Takes a unit for at most `keepMs`. Null: all are taken. */
  async hold(key: string, limit: number, keepMs: number): Promise<RedisUnit | null> {
    const unit = `${worker}:${++serial}`;
    let isHeld = false;
    this.#units++;
    try {
      const args = [String(limit), unit, String(keepMs)];
      const [allowed, held] = numbers(await this.#connection.run(scripts.HOLD, key, args));
      if (this.#unreleased.length > 0) this.#releaseLate();
      isHeld = allowed === 1;
      return isHeld ? { key, unit, held } : null;
    } catch (error) {
      // Redis may have counted it without our hearing of it.
      this.#keepUnreleased(key, unit);
      throw error;
    } finally {
      if (!isHeld) this.#unitIsGone();
    }
  }

  /** Gives a unit back. Where Redis cannot be had now, with the next unit that is taken. */
  async release({ key, unit }: RedisUnit): Promise<void> {
    try {
      await this.#giveBack(key, unit);
    } finally {
      this.#unitIsGone();
    }
  }

  /** Closes when the last unit is given back: requests outlive their configuration. */
  dispose(): void {
    this.#isDisposed = true;
    if (this.#units === 0) this.#connection.release();
  }

  #unitIsGone(): void {
    if (--this.#units === 0 && this.#isDisposed) this.#connection.release();
  }

  async #giveBack(key: string, unit: string): Promise<void> {
    try {
      await this.#connection.run(scripts.RELEASE, key, [unit]);
    } catch {
      // The connection has logged it.
      this.#keepUnreleased(key, unit);
    }
  }

  #keepUnreleased(key: string, unit: string): void {
    if (this.#unreleased.length < MAX_UNRELEASED) this.#unreleased.push({ key, unit });
  }

  #releaseLate(): void {
    const units = this.#unreleased;
    this.#unreleased = [];
    for (const { key, unit } of units) void this.#giveBack(key, unit);
  }
}

export interface RedisUnit {
  readonly key: string;
  readonly unit: string;
  /** Units of the key held over all gateways, with this one. */
  readonly held: number;
}

function numbers(reply: unknown): number[] {
  if (!Array.isArray(reply)) throw new Error("Redis answered a limit's script with something else");
  return reply.map(Number);
}
