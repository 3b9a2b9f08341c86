/**
 * Deadlines of everything that waits in a worker: slow heads, slow bodies, idle connections, upstreams.
 *
 * One sweep per worker looks at all registered items every `SWEEP_MS`. Setting a deadline is therefore one
 * store of a number, where a timer of its own would cost two list operations per request. The price is the
 * resolution: an item is told between 0 and `SWEEP_MS` after its deadline, never before.
 */

import { performance } from "node:perf_hooks";

export const SWEEP_MS = 50;

/** `deadline` value of an item that waits for nothing at the moment. */
export const NEVER = Number.POSITIVE_INFINITY;

export interface Deadlined {
  /** In `now()` milliseconds; `NEVER` when nothing is awaited. Written by its owner at any time. */
  deadline: number;
  /** Called once per sweep while `deadline` lies in the past: the owner moves or clears it, or ends itself. */
  onDeadline(nowMs: number): void;
}

export class Deadlines {
  readonly #items = new Set<Deadlined>();
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout | null;

  /** `now` gives monotonic milliseconds; tests pass their own clock with `sweeping: false` and call `sweep`. */
  constructor(now: () => number = () => performance.now(), { sweeping = true } = {}) {
    this.#now = now;
    this.#timer = sweeping ? setInterval(() => this.sweep(), SWEEP_MS).unref() : null;
  }

  now(): number {
    return this.#now();
  }

  get size(): number {
    return this.#items.size;
  }

  add(item: Deadlined): void {
    this.#items.add(item);
  }

  delete(item: Deadlined): void {
    this.#items.delete(item);
  }

  sweep(): void {
    const now = this.#now();
    for (const item of this.#items) if (item.deadline <= now) item.onDeadline(now);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#items.clear();
  }
}
