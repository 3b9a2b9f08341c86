/**
 * Counting in Redis with a delay (`sync_interval`): a worker decides by what Redis said last, and tells Redis once
 * per interval what it admitted since.
 *
 * The error: in one interval every worker may admit up to what was left at its last exchange. Workers of one node
 * count together besides, so a node alone is exact, and of several none admits more than the limit. Between exchanges
 * a request costs no round trip; only the first of a key and the first of a window wait for Redis. While Redis is
 * away, the node counts by itself.
 */

import type { PluginHost } from "../../plugin/index.ts";
import { LruMap } from "../../lib/lru.ts";
import type { CountResult, RedisCounters } from "./redis-counters.ts";

/** Keys that a configuration remembers; of forgotten ones Redis is asked again. */
const MAX_KEYS = 10_000;

/** So many names for the ends of windows in the length of one: far enough apart to mean the same end. */
const WINDOW_NAMES = 4;

interface Entry {
  readonly key: string;
  /** What the node counts in for this window: workers that learnt of its end a moment apart name it alike. */
  nodeKey: string;
  readonly limit: number;
  readonly windowMs: number;
  readonly isSliding: boolean;
  /** As of the last exchange. */
  remaining: number;
  resetAt: number;
  /** Admitted since, and not told yet. */
  untold: number;
}

type Host = Pick<PluginHost, "counters" | "now">;

export class DelayedCounts {
  readonly intervalMs: number;
  readonly #redis: RedisCounters;
  readonly #host: Host;
  readonly #entries = new LruMap<string, Entry>(MAX_KEYS);
  /** First exchanges under way, by key. */
  readonly #asking = new Map<string, Promise<Entry>>();
  #untold = new Set<Entry>();
  #timer: NodeJS.Timeout | null = null;

  constructor(redis: RedisCounters, intervalSeconds: number, host: Host) {
    this.#redis = redis;
    this.intervalMs = intervalSeconds * 1000;
    this.#host = host;
  }

  async count(
    key: string,
    cost: number,
    limit: number,
    windowMs: number,
    isSliding: boolean,
  ): Promise<CountResult> {
    let entry = this.#entries.get(key);
    if (entry === undefined || entry.resetAt <= this.#host.now()) {
      try {
        entry = await this.#ask(key, limit, windowMs, isSliding, entry);
      } catch {
        return this.#countHere(key, cost, limit, windowMs, isSliding); // The connection has logged why.
      }
    }
    const resetMs = Math.max(0, entry.resetAt - this.#host.now());
    const remaining = entry.remaining - entry.untold - cost;
    if (remaining < 0 || !this.#fitsNode(entry, cost)) return { allowed: false, remaining: 0, resetMs };
    entry.untold += cost;
    this.#untold.add(entry);
    this.#timer ??= setTimeout(() => void this.#tell(), this.intervalMs);
    return { allowed: true, remaining, resetMs };
  }

  #fitsNode({ nodeKey, limit, windowMs }: Entry, cost: number): boolean {
    const { counters } = this.#host;
    // Without room for the node's count, the worker's own has to do.
    return counters.increment(nodeKey, cost, limit, windowMs, this.#host.now()) || counters.full;
  }

  /** Tells Redis what it does not know yet. */
  async dispose(): Promise<void> {
    await this.#tell();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #ask(
    key: string,
    limit: number,
    windowMs: number,
    isSliding: boolean,
    before: Entry | undefined,
  ): Promise<Entry> {
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#askRedis(key, limit, windowMs, isSliding, before).finally(() =>
        this.#asking.delete(key),
      );
      this.#asking.set(key, asking);
    }
    return asking;
  }

  /** What was not told of a fixed window that is over counts no more; a sliding one still needs it. */
  async #askRedis(
    key: string,
    limit: number,
    windowMs: number,
    isSliding: boolean,
    before: Entry | undefined,
  ): Promise<Entry> {
    const late = isSliding && before !== undefined ? before.untold : 0;
    if (before !== undefined) before.untold -= late;
    try {
      const { remaining, resetMs } = await this.#redis.count(key, late, limit, windowMs, isSliding, true);
      const resetAt = this.#host.now() + resetMs;
      const nodeKey = nodeKeyOf(key, resetAt, windowMs);
      const entry: Entry = { key, nodeKey, limit, windowMs, isSliding, remaining, resetAt, untold: 0 };
      this.#entries.set(key, entry);
      return entry;
    } catch (error) {
      if (before !== undefined) before.untold += late;
      throw error;
    }
  }

  async #tell(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const entries = this.#untold;
    this.#untold = new Set();
    await Promise.all([...entries].map((entry) => this.#tellOne(entry)));
  }

  async #tellOne(entry: Entry): Promise<void> {
    const { key, untold, limit, windowMs, isSliding } = entry;
    if (untold === 0 || (!isSliding && entry.resetAt <= this.#host.now())) return;
    try {
      const result = await this.#redis.count(key, untold, limit, windowMs, isSliding, true);
      entry.untold -= untold;
      entry.remaining = result.remaining;
      const resetAt = this.#host.now() + result.resetMs;
      if (resetAt - entry.resetAt > windowMs / 2) entry.nodeKey = nodeKeyOf(key, resetAt, windowMs);
      entry.resetAt = resetAt;
    } catch {
      // Redis is away: it is told with the next exchange, as long as the window lasts.
      this.#untold.add(entry);
      this.#timer ??= setTimeout(() => void this.#tell(), this.intervalMs);
    }
  }

  #countHere(key: string, cost: number, limit: number, windowMs: number, isSliding: boolean): CountResult {
    const { counters } = this.#host;
    const allowed = isSliding
      ? counters.slide(key, cost, limit, windowMs, this.#host.now())
      : counters.increment(key, cost, limit, windowMs, this.#host.now());
    if (counters.full) throw new Error("the counters of the node are full");
    return { allowed, remaining: counters.remaining, resetMs: counters.resetMs };
  }
}

function nodeKeyOf(key: string, resetAt: number, windowMs: number): string {
  return `${key}:${Math.round(resetAt / (windowMs / WINDOW_NAMES))}`;
}
