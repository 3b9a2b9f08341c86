/**
 * Lets workers go first where control shares a core with them: a page of metrics or a large change is some hundred
 * milliseconds of work that nobody waits for, and a request that waits for a core does.
 *
 * On Linux a niceness belongs to a thread. Threads inherit it, so libuv's pool, which is everybody's, must exist before.
 * Elsewhere a niceness is the whole process's: then nothing is changed.
 */

import { stat } from "node:fs/promises";
import { getPriority, setPriority } from "node:os";
import type { Log } from "../lib/log.ts";

/** Control keeps a quarter of a core that workers could use up (sched(7): a step is 1.25 times). */
const STEPS = 5;
/** Of setpriority(2). */
const LOWEST = 19;
const CALLING_THREAD = 0;

export async function yieldToWorkers(log: Log): Promise<void> {
  if (process.platform !== "linux") return;
  await stat(".").catch(() => null); // whatever it says: the pool is there now
  try {
    // From where the node is: an operator may have made it nicer as a whole.
    setPriority(CALLING_THREAD, Math.min(getPriority(CALLING_THREAD) + STEPS, LOWEST));
  } catch (error) {
    log.warn("control runs with the priority of the workers", { error: String(error) });
  }
}
