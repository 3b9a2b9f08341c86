/** The real control, which also dies when the file "fault-control" comes to be in its data folder. */

import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { workerData } from "node:worker_threads";
import type { ThreadStart } from "../../src/shared/messages.ts";

const LOOK_MS = 10;

const file = join((workerData as ThreadStart).dataFolder, "fault-control");

setInterval(() => {
  if (!existsSync(file)) return;
  rmSync(file);
  throw new Error("thrown on purpose");
}, LOOK_MS);

await import("../../src/control/main.ts");
