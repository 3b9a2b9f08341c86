/**
 * Lets workers go first where others share a core with them: a page of metrics or a large change is some hundred
 * milliseconds of work that nobody waits for, and a request that waits for a core does. The same goes for V8's helper
 * threads, which look for garbage in the heap of control for as long.
 *
 * On Linux a niceness belongs to a thread. Threads inherit it, so libuv's pool, which is everybody's, must exist before.
 * Elsewhere a niceness is the whole process's: then nothing is changed.
 */

import { readdir, readFile, stat } from "node:fs/promises";
import { getPriority, setPriority } from "node:os";
import type { Log } from "../lib/log.ts";

/** The others keep a quarter of a core that workers could use up (sched(7): a step is 1.25 times). */
const STEPS = 5;
/** Of setpriority(2). */
const LOWEST = 19;
const CALLING_THREAD = 0;
const THREADS = "/proc/self/task";
/** As Node.js calls the threads of its platform for V8. */
const HELPER_NAME = "V8Worker";

export async function yieldToWorkers(log: Log): Promise<void> {
  if (process.platform !== "linux") return;
  await stat(".").catch(() => null); // whatever it says: the pool is there now
  try {
    // From where the node is: an operator may have made it nicer as a whole.
    const lower = Math.min(getPriority(CALLING_THREAD) + STEPS, LOWEST);
    setPriority(CALLING_THREAD, lower);
    for (const thread of await helperThreads()) setPriority(thread, lower);
  } catch (error) {
    log.warn("control or helpers of V8 run with the priority of the workers", { error: String(error) });
  }
}

async function helperThreads(): Promise<number[]> {
  const threads = await readdir(THREADS);
  const names = await Promise.all(
    threads.map((id) => readFile(`${THREADS}/${id}/comm`, "utf8").catch(() => "")),
  );
  return threads.filter((_, i) => names[i].startsWith(HELPER_NAME)).map(Number);
}
