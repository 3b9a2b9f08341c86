/**
 * The real control thread, which also dies when a file named `die` appears in its data folder: it stops to
 * answer, as a loop without end would, until the supervisor ends it.
 */

import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { workerData } from "node:worker_threads";
import type { ThreadStart } from "../../src/shared/messages.ts";

const file = join((workerData as ThreadStart).dataFolder, "die");

setInterval(() => {
  if (!existsSync(file)) return;
  rmSync(file);
  for (;;);
}, 5);

await import("../../src/control/main.ts");
