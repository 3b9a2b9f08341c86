import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { DictionaryTable } from "./dictionary-table.ts";
import { ACCEPTED, ACTIVE } from "./gauge-lanes.ts";
import {
  ADMITTED,
  COUNTED,
  type HammerCounts,
  type HammerStart,
  HUGE,
  LIMIT,
  MEASURED,
  NOW_MS,
  STORED,
  TALLIES,
} from "./hammer-thread.ts";
import { SUPERVISOR_SLOT } from "./lanes.ts";
import { LimitTable } from "./limit-table.ts";
import {
  createSharedMemory,
  openSharedMemory,
  repairAfterDeath,
  type SharedBuffers,
} from "./shared-memory.ts";

const CONFIG = { limitCounters: 2000, dictionaryBytes: 131_072, metricBytesPerWorker: 65_536 };
const WORKERS = 3;
/** A thousand kills (`CARDEA_TEST_KILLS=1000`) take about a minute. */
const KILLS = Number(process.env["CARDEA_TEST_KILLS"] ?? 100);

/** Most of a kill's time is the start of the next worker; with compiled code at hand it is less than half. */
const CACHE = mkdtempSync(join(tmpdir(), "cardea-hammer-"));
after(() => rmSync(CACHE, { recursive: true, force: true }));
const BOOT = `require("node:module").enableCompileCache(${JSON.stringify(CACHE)});
  import(${JSON.stringify(new URL("hammer-thread.ts", import.meta.url).href)});`;

function start(
  job: HammerStart["job"],
  buffers: SharedBuffers,
  slot: number,
  generation: number,
  tallies: SharedArrayBuffer,
  attempts: number,
): Worker {
  const workerData: HammerStart = { job, buffers, slot, generation, tallies, attempts };
  return new Worker(BOOT, { eval: true, workerData });
}

test("P9: limits are exact over workers that hammer one key", async () => {
  const buffers = createSharedMemory(CONFIG, WORKERS);
  const tallies = new SharedArrayBuffer(8);
  const workers = Array.from({ length: WORKERS }, (_, slot) =>
    start("count", buffers, slot, 1, tallies, LIMIT),
  );
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const answers = workers.map((worker) => once(worker, "message"));
  for (const worker of workers) worker.postMessage("go");
  const counts = (await Promise.all(answers)).map(([counts]) => counts as HammerCounts);
  const sum = (name: keyof HammerCounts) => counts.reduce((sum, count) => sum + count[name], 0);
  assert.deepEqual(
    { fixed: sum("fixed"), sliding: sum("sliding"), leaky: sum("leaky"), held: sum("held") },
    { fixed: LIMIT, sliding: LIMIT, leaky: LIMIT + 1, held: LIMIT },
  );
  await Promise.all(workers.map((worker) => worker.terminate()));
});

test(`P4: ${KILLS} workers are killed while they hammer, and no lock, count or entry stays behind`, async (t) => {
  const buffers = createSharedMemory(CONFIG, WORKERS);
  const tallies = new SharedArrayBuffer(WORKERS * TALLIES * 8);
  let kills = 0;
  let brokenLocks = 0;
  const errors: unknown[] = [];

  async function killAndReplace(slot: number): Promise<void> {
    for (let generation = 1; kills < KILLS && errors.length === 0; generation++) {
      kills++;
      const worker = start("mix", buffers, slot, generation, tallies, 0);
      worker.on("error", (error) => errors.push(error));
      await Promise.race([once(worker, "message"), once(worker, "exit")]);
      await worker.terminate();
      brokenLocks += repairAfterDeath(buffers, slot, generation).brokenLocks;
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, (_, slot) => killAndReplace(slot)));
  assert.deepEqual(errors, []);
  t.diagnostic(`${brokenLocks} locks were left held`);
  assert.ok(brokenLocks > 0, "no kill left a lock, so nothing was tried");

  const { counters, dictionary, metricReader } = openSharedMemory(buffers, SUPERVISOR_SLOT, 0);
  assert.equal(new LimitTable(buffers.limits, SUPERVISOR_SLOT, 0).heldLocks(), 0);
  assert.equal(new DictionaryTable(buffers.dictionary, SUPERVISOR_SLOT, 0).heldLocks(), 0);

  const done = new Float64Array(tallies);
  const total = (tally: number) => {
    let sum = 0;
    for (let slot = 0; slot < WORKERS; slot++) sum += done[slot * TALLIES + tally];
    return sum;
  };
  /** Each kill may have come between an operation and its tally. */
  const assertCounted = (found: number, tally: number) => {
    const sure = total(tally);
    assert.ok(found >= sure && found <= sure + kills, `found ${found}, surely done ${sure}, kills ${kills}`);
  };
  counters.increment("endless", 0, HUGE, HUGE, NOW_MS);
  assertCounted(HUGE - counters.remaining, COUNTED);
  counters.increment("limited", 0, LIMIT, HUGE, NOW_MS);
  assert.ok(total(ADMITTED) <= LIMIT);
  assertCounted(LIMIT - counters.remaining, ADMITTED);
  assertCounted(dictionary.increment("sum", 0)!, STORED);
  counters.hold("kept", HUGE, NOW_MS);
  assert.equal(counters.held, 1);

  for (const _ of metricReader.refresh());
  const [work] = [...metricReader.families];
  const measured = work.series
    .map((series) => work.sum(series, 1) + work.sum(series, 2) + work.sum(series, 3))
    .reduce((a, b) => a + b, 0);
  assertCounted(measured, MEASURED);

  const later = NOW_MS + 1e9;
  for (let i = 0; i < 1000; i++) counters.increment(`after ${i}`, 1, 1, 1000, later);
  assert.equal(counters.full, false);
  dictionary.clear();
  const { freeBytes, capacityBytes, entries } = dictionary.stats();
  assert.deepEqual([freeBytes, entries], [capacityBytes, 0]);
});

test("a dead worker's open connections are cleared, its totals stay", () => {
  const buffers = createSharedMemory(CONFIG, 2);
  const [first, second] = [0, 1].map((slot) => openSharedMemory(buffers, slot, 1));
  for (const { gauges } of [first, second]) {
    gauges.add(ACTIVE, 3);
    gauges.add(ACCEPTED, 10);
  }
  first.threads.acknowledge(0, 7);
  repairAfterDeath(buffers, 0, 1);
  assert.equal(second.gauges.total(ACTIVE), 3);
  assert.equal(second.gauges.total(ACCEPTED), 20);
  assert.equal(second.threads.applied(0), 0);
  assert.equal(second.threads.state(0), "dead");
});

test("a slot that does not exist is refused by name", () => {
  const buffers = createSharedMemory(CONFIG, 2);
  assert.throws(() => openSharedMemory(buffers, 2, 1), /slot: given 2, expected a worker from 0 to 1/);
});
