/**
 * The heap of this thread as its limit sees it: a worker dies when its old generation outgrows what
 * `supervision.worker_heap` gives it. The young generation has room of its own (up to 192 MB on Node 24), and V8's
 * `heap_size_limit` counts both, so neither figure may stand in for the other.
 */

import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { resourceLimits } from "node:worker_threads";

export interface Heap {
  /** Of the old generation, garbage included. */
  usedBytes(): number;
  readonly limitBytes: number;
  /** Collects all garbage now, which stops the thread for some 10 ms per 100 MB that live. */
  collect(): void;
}

export class WorkerHeap implements Heap {
  readonly limitBytes: number;
  #collect: (() => void) | null = null;

  constructor() {
    const limitMb = resourceLimits.maxOldGenerationSizeMb ?? 0;
    this.limitBytes = limitMb > 0 ? limitMb * 1024 * 1024 : getHeapStatistics().heap_size_limit;
  }

  /** Costs 7 µs. */
  usedBytes(): number {
    let used = 0;
    for (const { space_name, space_used_size } of getHeapSpaceStatistics()) {
      if (!space_name.startsWith("new_")) used += space_used_size;
    }
    return used;
  }

  collect(): void {
    this.#collect ??= reachCollector();
    this.#collect();
  }
}

/** V8 gives it to contexts that are made while the flag is set. */
function reachCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  return collect;
}
