/**
 * When a target is probed: on a grid of its own interval, whose start is random, so that the probes of many
 * targets spread over the interval; each probe is moved a little within the grid, so that two gateways do not
 * fall into step. The grid itself does not move: over time there are exactly as many probes as intervals.
 *
 * The first probe comes within a second, whatever the interval. After a change of the interval (the target went
 * up or down) the next one comes within the new interval. What was missed is not made up for.
 */

const FIRST_WITHIN_MS = 1000;
const JITTER = 0.1;
const MAX_JITTER_MS = 1000;

export class ProbeTimes {
  readonly #random: () => number;
  #intervalMs: number;
  /** The place on the grid that the next probe belongs to. */
  #gridMs: number;
  #nextMs: number;

  /** Times in monotonic milliseconds; `random` in [0, 1). */
  constructor(intervalMs: number, nowMs: number, random: () => number) {
    this.#random = random;
    this.#intervalMs = intervalMs;
    const within = Math.min(intervalMs, FIRST_WITHIN_MS);
    this.#nextMs = nowMs + random() * within;
    // Of a long interval the first probe is one more, before the grid.
    this.#gridMs = intervalMs <= FIRST_WITHIN_MS ? this.#nextMs : nowMs + random() * intervalMs - intervalMs;
  }

  get nextMs(): number {
    return this.#nextMs;
  }

  /** A probe ended at `nowMs`; from here on they are `intervalMs` apart. */
  advance(nowMs: number, intervalMs: number): void {
    if (intervalMs !== this.#intervalMs) {
      this.#intervalMs = intervalMs;
      this.#gridMs = nowMs;
    }
    const missed = Math.max(0, Math.floor((nowMs - this.#gridMs) / intervalMs));
    this.#gridMs += (missed + 1) * intervalMs;
    const jitterMs = Math.min(intervalMs * JITTER, MAX_JITTER_MS);
    this.#nextMs = Math.max(nowMs, this.#gridMs + (this.#random() - 0.5) * jitterMs);
  }
}
