/**
 * A thread for the tests of this folder: it works on shared memory as hard as it can, until it has done
 * its share (`count`) or is terminated in the middle of whatever it does (`mix`).
 */

import assert from "node:assert/strict";
import { parentPort, workerData } from "node:worker_threads";
import { openSharedMemory, type SharedBuffers, type SharedMemory } from "./shared-memory.ts";

export interface HammerStart {
  job: "count" | "mix";
  buffers: SharedBuffers;
  slot: number;
  generation: number;
  /** One row of `TALLIES` per slot: what was surely done, over all generations of the slot. */
  tallies: SharedArrayBuffer;
  attempts: number;
}

export const TALLIES = 4;
export const COUNTED = 0;
export const ADMITTED = 1;
export const STORED = 2;
export const MEASURED = 3;

export const NOW_MS = 1_700_000_000_000;
export const LIMIT = 5000;
export const HUGE = 1e12;

/** What `count` admitted. */
export interface HammerCounts {
  fixed: number;
  sliding: number;
  leaky: number;
  held: number;
}

function count({ counters }: SharedMemory, attempts: number): HammerCounts {
  const counts = { fixed: 0, sliding: 0, leaky: 0, held: 0 };
  for (let i = 0; i < attempts; i++) {
    if (counters.increment("k", 1, LIMIT, 60_000, NOW_MS)) counts.fixed++;
    if (counters.slide("k", 1, LIMIT, 60_000, NOW_MS)) counts.sliding++;
    if (counters.leak("k", 10, LIMIT, NOW_MS)) counts.leaky++;
    if (counters.hold("k", LIMIT, NOW_MS)) counts.held++;
  }
  return counts;
}

function mix({ counters, dictionary, metrics }: SharedMemory, slot: number, tallies: Float64Array): void {
  const own = slot * TALLIES;
  const family = metrics.histogram("work", ["kind"], [1, 2]);
  const series = family.series(["all"]);
  for (let i = 0; ; i++) {
    counters.increment("endless", 1, HUGE, HUGE, NOW_MS);
    if (!counters.full) tallies[own + COUNTED]++;
    if (counters.increment("limited", 1, LIMIT, HUGE, NOW_MS)) tallies[own + ADMITTED]++;
    // Windows of one step: entries come and go all the time.
    counters.increment(`short ${slot} ${i % 5000}`, 1, 1, 1, NOW_MS + i);
    if (counters.hold(`held ${i % 50}`, HUGE, NOW_MS)) counters.release(`held ${i % 50}`);
    counters.hold("kept", HUGE, NOW_MS);
    if (i % 3 === 0) counters.release("kept");

    const stored = dictionary.increment("sum", 1, 0);
    if (stored !== undefined) tallies[own + STORED]++;
    const letter = String.fromCodePoint(97 + (i % 26));
    dictionary.set(`value ${i % 40}`, letter.repeat(1 + (i % 900)));
    const read = dictionary.get(`value ${(i * 7) % 40}`);
    if (typeof read === "string") assert.equal(read, read[0].repeat(read.length));
    dictionary.rpush("list", letter);
    if (i % 4 !== 0) dictionary.lpop("list");
    if (dictionary.llen("list") > 100) dictionary.delete("list");

    family.observe(series, i % 3);
    tallies[own + MEASURED]++;
    if (i % 5 === 0) family.release(family.series([`passing ${i % 20}`]));
    if (i === 30) parentPort!.postMessage("working");
  }
}

if (parentPort !== null) {
  const { job, buffers, slot, generation, tallies, attempts } = workerData as HammerStart;
  const memory = openSharedMemory(buffers, slot, generation);
  if (job === "count") {
    parentPort.once("message", () => parentPort!.postMessage(count(memory, attempts)));
    parentPort.postMessage("ready");
  } else mix(memory, slot, new Float64Array(tallies));
}
