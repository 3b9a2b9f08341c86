/**
 * Notices that a worker has more work than it can do, so that it sheds new requests before its heap or its
 * clients' patience runs out.
 *
 * Two signs: the event loop is late, or the heap is near its limit. Either must be set to count. Lateness is
 * measured by a timer against its own schedule; the state holds until the next measurement.
 */

import { getHeapStatistics } from "node:v8";

const CHECK_MS = 100;

export interface OverloadLimits {
  /** 0: the lateness of the loop does not count. */
  shedEventLoopDelayMs: number;
  /** Share of the heap limit in use, 0 to 1; 0: the heap does not count. */
  shedHeapShare: number;
}

export class Overload {
  readonly #limits: OverloadLimits;
  readonly #timer: NodeJS.Timeout;
  #expectedAt: number;
  /** Lateness of the loop at the last measurement, and its highest value since `takeReport`. */
  delayMs = 0;
  heapUsedBytes = 0;
  isOverloaded = false;
  readonly #onMeasured: (overload: Overload) => void;

  constructor(limits: OverloadLimits, onMeasured: (overload: Overload) => void) {
    this.#limits = limits;
    this.#onMeasured = onMeasured;
    this.#expectedAt = performance.now() + CHECK_MS;
    this.#timer = setInterval(() => this.#measure(), CHECK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #measure(): void {
    const now = performance.now();
    this.delayMs = Math.max(0, now - this.#expectedAt);
    this.#expectedAt = now + CHECK_MS;
    const heap = getHeapStatistics();
    this.heapUsedBytes = heap.used_heap_size;
    const { shedEventLoopDelayMs, shedHeapShare } = this.#limits;
    this.isOverloaded =
      (shedEventLoopDelayMs > 0 && this.delayMs > shedEventLoopDelayMs) ||
      (shedHeapShare > 0 && heap.used_heap_size > heap.heap_size_limit * shedHeapShare);
    this.#onMeasured(this);
  }
}
