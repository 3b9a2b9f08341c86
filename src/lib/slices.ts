/**
 * Long work in slices, so that whatever else a thread has to do (heartbeats, probes, requests) gets its turn.
 *
 *     const breathe = slices();
 *     for (const item of items) {
 *       work(item);
 *       await breathe();
 *     }
 */

import { setImmediate as nextTurn } from "node:timers/promises";

/** Work in one turn of the event loop. */
const SLICE_MS = 8;

/** To be called after each piece of work: gives a promise when the slice is over, which ends in another turn. */
export function slices(sliceMs = SLICE_MS): () => Promise<void> | undefined {
  let end = performance.now() + sliceMs;
  const begin = (): void => {
    end = performance.now() + sliceMs;
  };
  return () => (performance.now() < end ? undefined : nextTurn().then(begin));
}
