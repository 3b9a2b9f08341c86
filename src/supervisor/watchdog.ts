/**
 * Decides which thread hangs. It looks at the heartbeats in the rhythm in which they are written.
 *
 * A thread is judged only for time in which this loop itself was on time: after a pause of the machine or of the
 * process every heartbeat is stale, and all get the whole span anew. One thread is terminated at a time, and the
 * next only when that one's successor serves: a machine that is merely overloaded must not lose all its workers.
 */

export interface WatchedThread {
  readonly slot: number;
  /** Whether it has beaten since it started; until then it is loading. */
  readonly hasBeaten: boolean;
  /** Monotonic milliseconds. */
  readonly lastBeatMs: number;
  readonly startedAtMs: number;
}

export interface WatchdogOptions {
  heartbeatMs: number;
  staleAfterMs: number;
  /** A thread that loads may take this long until its first beat. */
  startGraceMs: number;
}

export class Watchdog {
  readonly #options: WatchdogOptions;
  /** Since when this loop has been on time. */
  #punctualSinceMs: number;
  #lastLookMs: number;
  #terminated: { slot: number; atMs: number } | null = null;

  constructor(options: WatchdogOptions, nowMs: number) {
    this.#options = options;
    this.#punctualSinceMs = nowMs;
    this.#lastLookMs = nowMs;
  }

  /** The successor of the thread that was terminated serves. */
  recovered(slot: number): void {
    if (this.#terminated?.slot === slot) this.#terminated = null;
  }

  /** To be called every `heartbeatMs`: the thread to terminate now, or null. */
  look(nowMs: number, threads: Iterable<WatchedThread>): WatchedThread | null {
    const { heartbeatMs, staleAfterMs } = this.#options;
    const lateMs = nowMs - this.#lastLookMs - heartbeatMs;
    this.#lastLookMs = nowMs;
    if (lateMs > Math.max(heartbeatMs, staleAfterMs / 4)) this.#punctualSinceMs = nowMs;
    if (this.#terminated !== null) {
      // A successor that cannot start must not protect the other threads for ever.
      if (nowMs - this.#terminated.atMs < staleAfterMs) return null;
      this.#terminated = null;
    }
    let worst: WatchedThread | null = null;
    let worstMs = 0;
    for (const thread of threads) {
      const limitMs = thread.hasBeaten ? staleAfterMs : this.#options.startGraceMs;
      const since = thread.hasBeaten ? thread.lastBeatMs : thread.startedAtMs;
      const overdueMs = nowMs - Math.max(since, this.#punctualSinceMs) - limitMs;
      if (overdueMs > worstMs) [worst, worstMs] = [thread, overdueMs];
    }
    if (worst !== null) this.#terminated = { slot: worst.slot, atMs: nowMs };
    return worst;
  }
}
