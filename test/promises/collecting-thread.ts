/**
 * Collects the garbage of a thread of the node when a test asks for it, so that what is left is what is kept: a file
 * `collect-SLOT` in the data folder is the wish, `collected-SLOT` (JSON, bytes of the heap that live) the answer.
 */

import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { workerData } from "node:worker_threads";
import type { ThreadStart } from "../../src/shared/messages.ts";

const LOOK_MS = 20;

export interface Collected {
  heapBytes: number;
  /** Of array buffers and what else hangs on the heap. */
  externalBytes: number;
}

const { dataFolder, slot } = workerData as ThreadStart;
const wish = join(dataFolder, `collect-${slot}`);
const answer = join(dataFolder, `collected-${slot}`);

// Only a new context gets the function of a flag that comes late.
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (options: object) => void;

setInterval(() => {
  if (!existsSync(wish)) return;
  // The second one takes what finalisers of the first have let go; "last-resort" also gives pages back.
  for (let i = 0; i < 2; i++) collect({ type: "major", execution: "sync", flavor: "last-resort" });
  const { used_heap_size: heapBytes, external_memory: externalBytes } = getHeapStatistics();
  const collected: Collected = { heapBytes, externalBytes };
  writeFileSync(`${answer}.new`, JSON.stringify(collected));
  renameSync(`${answer}.new`, answer);
  rmSync(wish);
}, LOOK_MS).unref();
