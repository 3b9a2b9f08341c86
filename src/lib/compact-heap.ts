/**
 * Gives back the memory that the start of a thread left behind: garbage, a young generation that has grown,
 * half-empty pages. V8 would keep all that until a full collection, which an idle thread never comes to.
 *
 * Per thread 4 to 9 MB, 26 MB for an idle node with two workers, and some 100 MB for a worker that took 50,000 routes; it
 * takes 20 ms, and 10 more per 10 MB that live, so it is for a thread that serves nobody yet. V8 offers it under its flag --expose-gc only, which the launcher gives to the node process.
 */

/** Beyond it there is little to win relative to the time that it takes. */
const LARGEST_HEAP_BYTES = 512 * 1024 * 1024;
/** Of a thread that serves already: some 30 ms. */
const LARGEST_SERVING_HEAP_BYTES = 64 * 1024 * 1024;

/**
 * To be called once per thread, before it serves. Without --expose-gc nothing happens. With `againAfterMs` once more
 * after that time, if the heap is small: what the last steps of the start and the first requests left behind.
 */
export function compactHeap(againAfterMs?: number): void {
  const collect = globalThis.gc;
  if (collect === undefined) return;
  // Nobody else is meant to have it, plugins least of all.
  globalThis.gc = undefined;
  const collectUpTo = (bytes: number): void => {
    if (process.memoryUsage().heapUsed > bytes) return;
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
  };
  collectUpTo(LARGEST_HEAP_BYTES);
  if (againAfterMs === undefined) return;
  setTimeout(collectUpTo, againAfterMs, LARGEST_SERVING_HEAP_BYTES).unref();
}
