/**
 * Rate and concurrency limits, exact over all workers of the node.
 *
 * Four ways of counting share one table: fixed windows, sliding windows, leaky buckets, and units held
 * (requests at the same time). Results stand in the fields of this object until its next operation, so
 * that nothing is allocated. A request that is refused consumes nothing.
 *
 * Keys are text of any length: name what is limited (plugin, owner, configuration version) before the part
 * that comes from the client. Times are wall clock milliseconds, which all threads share; when the clock
 * steps back, a window is cut to its own length instead of lasting until the old time comes again.
 *
 * `full` says that the table had no room for a new key, or that it could not be had in time: `allowed` is
 * false then, and the plugin decides by its documented policy. Counts that exist are never evicted, so a
 * flood of new keys resets nobody. Capacity, use and refusals: `stats()`.
 *
 * Measured on Node 24 with keys of 40 characters: every operation 0.13 µs on one key and 0.2 µs over
 * 10,000; refusing a new key when the table is full 0.25 µs.
 */

import {
  CONCURRENCY,
  FIXED_WINDOW,
  LEAKY_BUCKET,
  type LimitTable,
  SLIDING_WINDOW,
  type LimitTableStats,
} from "./limit-table.ts";

/** Threads read the clock one after the other; only more than this is a clock that was set back. */
const CLOCK_SLACK_MS = 1000;

const MAX_UNRELEASED = 10_000;

/** Values of a fixed window: its end (which is the expiry) and the count. */
const COUNT = 1;
/** Values of a sliding window: two counts, and the number of the window that each belongs to. */
const SLIDING_COUNT = 1;
const SLIDING_WINDOW_NUMBER = 3;
/** Value of a leaky bucket: when it will be empty. */
const EMPTY_AT = 1;

export class LimitCounters {
  /** Whether the last operation admitted its request. */
  allowed = false;
  /** The table was full or could not be had; nothing was counted. */
  full = false;
  /** Cost that still fits into the window; never negative. */
  remaining = 0;
  /** Until the window ends; for a refused request of a sliding window, until one may be admitted. */
  resetMs = 0;
  /** Leaky bucket: how long the request must wait to keep to the rate. */
  delayMs = 0;
  /** Concurrency: units held over all workers, with this one if it was admitted. */
  held = 0;
  readonly #table: LimitTable;
  /** Keys whose unit could not be given back in time: done with the next unit that is taken. */
  #unreleased: string[] = [];

  constructor(table: LimitTable) {
    this.#table = table;
  }

  /**
   * Fixed window: at most `limit` per window, which begins with the first request of the key. Sets
   * `remaining` and `resetMs`. Cost 0 looks without counting.
   */
  increment(key: string, cost: number, limit: number, windowMs: number, nowMs: number): boolean {
    return this.#count(key, cost, limit, windowMs, nowMs, false);
  }

  /** The same, but the cost is counted even beyond the limit: for costs that are known only afterwards. */
  charge(key: string, cost: number, limit: number, windowMs: number, nowMs: number): boolean {
    return this.#count(key, cost, limit, windowMs, nowMs, true);
  }

  #count(
    key: string,
    cost: number,
    limit: number,
    windowMs: number,
    nowMs: number,
    always: boolean,
  ): boolean {
    const table = this.#table;
    const at = table.enter(key, FIXED_WINDOW, nowMs);
    if (at < 0) return this.#refuseFull();
    try {
      const values = table.values;
      let end = values[at];
      if (end <= nowMs) {
        // The count goes first: a worker that dies here leaves an expired window, not a used-up new one.
        values[at + COUNT] = 0;
        end = nowMs + windowMs;
        table.expiresAt(at, end);
      } else if (end - nowMs > windowMs + CLOCK_SLACK_MS) {
        end = nowMs + windowMs;
        table.expiresAt(at, end);
      }
      const before = values[at + COUNT];
      const allowed = before + cost <= limit;
      const after = allowed || always ? before + cost : before;
      if (after !== before) values[at + COUNT] = after;
      this.full = false;
      this.allowed = allowed;
      this.remaining = after < limit ? limit - after : 0;
      this.resetMs = end - nowMs;
      return allowed;
    } finally {
      table.leave();
    }
  }

  /**
   * Sliding window, as an estimate from two fixed windows aligned to the clock: the previous one counts
   * with the share of it that the sliding window still covers. Sets `remaining` and `resetMs`.
   */
  slide(key: string, cost: number, limit: number, windowMs: number, nowMs: number): boolean {
    const table = this.#table;
    const at = table.enter(key, SLIDING_WINDOW, nowMs);
    if (at < 0) return this.#refuseFull();
    try {
      const values = table.values;
      const window = Math.floor(nowMs / windowMs);
      const leftMs = windowMs - (nowMs - window * windowMs);
      // Windows take turns in two places, and the number of a window is written after its count is 0.
      const turn = at + (window % 2);
      if (values[turn + SLIDING_WINDOW_NUMBER] !== window) {
        values[turn + SLIDING_COUNT] = 0;
        values[turn + SLIDING_WINDOW_NUMBER] = window;
      }
      const other = at + ((window + 1) % 2);
      const hasPrevious = values[other + SLIDING_WINDOW_NUMBER] === window - 1;
      const previous = hasPrevious ? Math.min(values[other + SLIDING_COUNT], limit) : 0;
      const before = values[turn + SLIDING_COUNT];
      const estimate = (previous / windowMs) * leftMs;
      const allowed = before + cost <= limit && before + estimate < limit;
      const after = allowed ? before + cost : before;
      values[turn + SLIDING_COUNT] = after;
      table.expiresAt(at, (window + 2) * windowMs);
      this.full = false;
      this.allowed = allowed;
      this.remaining = Math.max(0, Math.floor(limit - after - estimate));
      this.resetMs =
        allowed || before >= limit || previous === 0
          ? leftMs
          : Math.max(0, leftMs - ((limit - before) * windowMs) / previous);
      return allowed;
    } finally {
      table.leave();
    }
  }

  /**
   * Leaky bucket: `ratePerSecond` drains steadily, and up to `burst` requests beyond it are admitted with
   * a delay (`delayMs`) that keeps to the rate. The bucket is one number, the time at which it will be
   * empty, so that a death in between cannot leave half of it.
   */
  leak(key: string, ratePerSecond: number, burst: number, nowMs: number): boolean {
    const table = this.#table;
    const at = table.enter(key, LEAKY_BUCKET, nowMs);
    if (at < 0) return this.#refuseFull();
    try {
      const values = table.values;
      const stepMs = 1000 / ratePerSecond;
      const fullestMs = burst * stepMs;
      let emptyAt = values[at + EMPTY_AT];
      if (emptyAt - nowMs > fullestMs + CLOCK_SLACK_MS) emptyAt = nowMs + fullestMs;
      // Excess in time: the request adds one step to what is left; an empty bucket takes the first for free.
      const excessMs = Math.max(0, emptyAt - nowMs + stepMs);
      // Sums of fractions: a step that should just fit must not fail by its last bit.
      const allowed = excessMs <= fullestMs + stepMs * 1e-9;
      if (allowed) {
        values[at + EMPTY_AT] = nowMs + excessMs;
        table.expiresAt(at, nowMs + excessMs + stepMs);
      }
      this.full = false;
      this.allowed = allowed;
      this.delayMs = allowed ? excessMs : 0;
      return allowed;
    } finally {
      table.leave();
    }
  }

  /**
   * Concurrency: takes one of `limit` units of the key. Give it back with `release` of the same key in the
   * same worker; a dying worker gives back all of its own. Sets `held`.
   */
  hold(key: string, limit: number, nowMs: number): boolean {
    const table = this.#table;
    if (this.#unreleased.length > 0) this.#releaseLate();
    const at = table.enter(key, CONCURRENCY, nowMs);
    if (at < 0) return this.#refuseFull();
    try {
      const held = table.held();
      const allowed = held < limit;
      if (allowed) table.hold(1);
      this.full = false;
      this.allowed = allowed;
      this.held = allowed ? held + 1 : held;
      return allowed;
    } finally {
      table.leave();
    }
  }

  /**
   * Gives one unit back. False when this worker holds none of the key, or when the lock was not to be had:
   * then the unit is given back later. Sets `held`.
   */
  release(key: string): boolean {
    const table = this.#table;
    const at = table.find(key, CONCURRENCY);
    if (at < 0) {
      if (table.timedOut && this.#unreleased.length < MAX_UNRELEASED) this.#unreleased.push(key);
      return false;
    }
    try {
      const holdsOne = table.heldHere() > 0;
      if (holdsOne) table.hold(-1);
      this.held = table.held();
      if (this.held === 0) table.expiresAt(at, 0);
      return holdsOne;
    } finally {
      table.leave();
    }
  }

  /** Windows and buckets whose key begins with `prefix` (all without one) start anew; units held stay. */
  reset(prefix = ""): number {
    return this.#table.removeAll(prefix);
  }

  stats(): LimitTableStats {
    return this.#table.stats();
  }

  #releaseLate(): void {
    const keys = this.#unreleased;
    this.#unreleased = [];
    for (const key of keys) this.release(key);
  }

  #refuseFull(): boolean {
    this.full = true;
    this.allowed = false;
    this.remaining = 0;
    this.resetMs = 0;
    this.delayMs = 0;
    return false;
  }
}
