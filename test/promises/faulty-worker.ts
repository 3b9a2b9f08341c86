/**
 * The real worker, which also does what a file in its data folder asks of its slot: "fault-0" with "throw", "heap"
 * or "loop" is the next fault of worker 0. "late" and "fill" last as long as the file exists: a loop that is late
 * again and again, and a heap that is nearly full.
 */

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { workerData } from "node:worker_threads";
import type { ThreadStart } from "../../src/shared/messages.ts";

const LOOK_MS = 10;
const LATE_MS = 150;
/** Of numbers: 32 MB. */
const FILLING = 4_000_000;

const { dataFolder, slot } = workerData as ThreadStart;
const file = join(dataFolder, `fault-${slot}`);

let filling: number[] | null = null;

setInterval(() => {
  const fault = wish();
  if (fault !== "fill") filling = null;
  switch (fault) {
    case "throw":
      rmSync(file);
      throw new Error("thrown on purpose");
    case "loop":
      rmSync(file);
      for (;;);
    case "heap":
      rmSync(file);
      fillHeap();
      break;
    case "late": {
      const until = performance.now() + LATE_MS;
      while (performance.now() < until);
      break;
    }
    case "fill":
      filling ??= Array.from({ length: FILLING }, (_, i) => i + 0.5);
      break;
  }
}, LOOK_MS);

/** The test may take the file away at any moment. */
function wish(): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function fillHeap(): void {
  const kept: number[][] = [];
  for (;;) kept.push(Array.from({ length: 10_000 }, (_, i) => i));
}

await import("../../src/data/worker.ts");
