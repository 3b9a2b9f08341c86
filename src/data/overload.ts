/**
 * Notices that a worker has more work than it can do, so that it sheds new requests before its heap or its
 * clients' patience runs out.
 *
 * Two signs: the event loop is late, or the heap is near its limit. Either must be set to count. Lateness is
 * measured by a timer against its own schedule; the state holds until the next measurement. A heap that is full of
 * garbage is no overload: before requests are refused for it, and while they are, it is collected now and then,
 * since a worker that refuses everything allocates too little for V8 to do it.
 */

import { type Heap, WorkerHeap } from "./worker-heap.ts";

export const CHECK_MS = 100;

/** At least so long between two collections that are asked for here. */
const COLLECT_EVERY_MS = 5000;

export interface OverloadLimits {
  /** 0: the lateness of the loop does not count. */
  shedEventLoopDelayMs: number;
  /** Share of the heap limit in use, 0 to 1; 0: the heap does not count. */
  shedHeapShare: number;
}

export interface OverloadSurroundings {
  heap?: Heap;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export class Overload {
  readonly #limits: OverloadLimits;
  readonly #heap: Heap;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  #expectedAt: number;
  #collectedAt = Number.NEGATIVE_INFINITY;
  #wasLate = false;
  /** Lateness of the loop at the last measurement. */
  delayMs = 0;
  heapUsedBytes = 0;
  isOverloaded = false;
  readonly #onMeasured: (overload: Overload) => void;

  constructor(
    limits: OverloadLimits,
    onMeasured: (overload: Overload) => void,
    { heap = new WorkerHeap(), now = () => performance.now() }: OverloadSurroundings = {},
  ) {
    this.#limits = limits;
    this.#onMeasured = onMeasured;
    this.#heap = heap;
    this.#now = now;
    this.#expectedAt = now() + CHECK_MS;
    this.#timer = setInterval(() => this.#measure(), CHECK_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #measure(): void {
    const now = this.#now();
    this.delayMs = Math.max(0, now - this.#expectedAt);
    const { shedEventLoopDelayMs } = this.#limits;
    const isLate = shedEventLoopDelayMs > 0 && this.delayMs > shedEventLoopDelayMs;
    // Late once may be a pause of the machine, after which everybody's requests come at the same time.
    this.isOverloaded = this.#isHeapFull(now) || (isLate && this.#wasLate);
    this.#wasLate = isLate;
    // After a collection: the pause that it took is no lateness.
    this.#expectedAt = this.#now() + CHECK_MS;
    this.#onMeasured(this);
  }

  #isHeapFull(now: number): boolean {
    const heap = this.#heap;
    const mostBytes = heap.limitBytes * this.#limits.shedHeapShare;
    this.heapUsedBytes = heap.usedBytes();
    if (mostBytes === 0 || this.heapUsedBytes <= mostBytes) return false;
    if (now - this.#collectedAt >= COLLECT_EVERY_MS) {
      heap.collect();
      this.#collectedAt = now;
      this.heapUsedBytes = heap.usedBytes();
    }
    return this.heapUsedBytes > mostBytes;
  }
}
