/** Slots: given out, found from other threads, taken back; exact counts; late results. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { HealthRegistry } from "./health-registry.ts";
import { countOf, SUCCESS, TCP_FAILURE } from "./health-state.ts";
import { drainKey, HEALTH_SLOTS, healthKey, HealthTable } from "./health-table.ts";

function newTable(): { shared: SharedArrayBuffer; registry: HealthRegistry; reader: HealthTable } {
  const shared = new SharedArrayBuffer(HealthTable.bytes());
  return { shared, registry: new HealthRegistry(new HealthTable(shared)), reader: new HealthTable(shared) };
}

const key = (n: number) => healthKey("/upstreams/1", "10.0.0.1", n, "a.test");

test("a slot is found by its key until it is released, and layout tells of both", () => {
  const { registry, reader } = newTable();
  assert.equal(reader.find(key(1)), -1);
  const before = reader.layout;
  const slot = registry.claim(key(1));
  assert.notEqual(reader.layout, before);
  assert.equal(registry.claim(key(1)), slot);
  assert.equal(reader.find(key(1)), slot);
  assert.equal(reader.isUp(slot), true);
  registry.release(slot);
  assert.equal(reader.find(key(1)), -1);
  assert.equal(reader.generation(slot), 0);
});

test("a full table refuses, and what is released is given out again", () => {
  const { registry, reader } = newTable();
  const slots = Array.from({ length: HEALTH_SLOTS }, (_, n) => registry.claim(key(n)));
  assert.equal(new Set(slots).size, HEALTH_SLOTS);
  assert.equal(registry.claim(key(-1)), -1);
  assert.equal(registry.used, HEALTH_SLOTS);
  for (const n of [0, 77, 12_000]) assert.equal(reader.find(key(n)), slots[n]);
  registry.release(slots[77]);
  assert.equal(registry.used, HEALTH_SLOTS - 1);
  assert.equal(registry.claim(key(-1)), slots[77]);
  assert.equal(reader.find(key(-1)), slots[77]);
});

test("a late result does not hit the next node in the slot", () => {
  const { registry, reader } = newTable();
  const slot = registry.claim(key(1));
  const generation = reader.generation(slot);
  registry.release(slot);
  reader.report(slot, generation, TCP_FAILURE, 1);
  for (let n = 2; n < HEALTH_SLOTS + 2; n++) registry.claim(key(n));
  assert.equal(reader.isUp(slot), true);
  assert.equal(reader.report(slot, generation, TCP_FAILURE, 1), false);
  assert.equal(reader.addError(slot, generation), 0);
  assert.equal(reader.eject(slot, generation, 1000, 1000, 1000), false);
  assert.equal(reader.isUp(slot), true);
  assert.equal(reader.report(slot, reader.generation(slot), TCP_FAILURE, 1), true);
  assert.equal(reader.isUp(slot), false);
});

test("only a node that goes up or down moves `changes`", () => {
  const { registry, reader } = newTable();
  const slot = registry.claim(key(1));
  const generation = reader.generation(slot);
  const before = reader.changes;
  assert.equal(reader.report(slot, generation, TCP_FAILURE, 2), false);
  assert.equal(reader.report(slot, generation, SUCCESS, 2), false);
  assert.equal(reader.changes, before);
  reader.report(slot, generation, TCP_FAILURE, 2);
  assert.equal(reader.report(slot, generation, TCP_FAILURE, 2), true);
  assert.equal(reader.changes, before + 1);
});

test("the next control finds states as they were, and releases what it does not claim", () => {
  const { shared, registry, reader } = newTable();
  const kept = registry.claim(key(1));
  const left = registry.claim(key(2));
  reader.report(kept, reader.generation(kept), TCP_FAILURE, 1);
  const next = new HealthRegistry(new HealthTable(shared));
  assert.equal(next.unclaimed, 2);
  assert.equal(next.claim(key(1)), kept);
  next.releaseUnclaimed();
  assert.equal(reader.isUp(kept), false);
  assert.equal(reader.find(key(2)), -1);
  assert.equal(reader.generation(left), 0);
  assert.equal(reader.find(key(1)), kept);
});

test("a drain is there until it is released, and counted over restarts of control", () => {
  const { shared, registry, reader } = newTable();
  const drain = drainKey("/upstreams/1", "a.test", 80);
  registry.claim(key(1));
  const slot = registry.claimDrain(drain);
  assert.equal(reader.drains, 1);
  assert.equal(reader.find(drain), slot);
  const next = new HealthRegistry(new HealthTable(shared));
  assert.equal(reader.drains, 1);
  assert.equal(next.claimDrain(drain), slot);
  assert.equal(reader.drains, 1);
  next.release(slot);
  assert.equal(reader.drains, 0);
  assert.equal(reader.find(drain), -1);
});

test("ejections grow, end by themselves, and begin anew after a good while", () => {
  const { registry, reader } = newTable();
  const slot = registry.claim(key(1));
  const generation = reader.generation(slot);
  assert.equal(reader.eject(slot, generation, 1000, 500, 2000), true);
  assert.equal(reader.eject(slot, generation, 1100, 500, 2000), false);
  assert.equal(reader.ejectedUntil(slot), 1500);
  assert.equal(reader.eject(slot, generation, 1600, 500, 2000), true);
  assert.equal(reader.ejectedUntil(slot), 2600);
  for (let i = 0; i < 9; i++) reader.eject(slot, generation, reader.ejectedUntil(slot), 500, 2000);
  const last = reader.ejectedUntil(slot);
  assert.equal(reader.eject(slot, generation, last + 2100, 500, 2000), true);
  assert.equal(reader.ejectedUntil(slot), last + 2600);
});

test("results of many threads are counted exactly, and the turn is told once", async () => {
  const { shared, registry, reader } = newTable();
  const slot = registry.claim(key(1));
  const generation = reader.generation(slot);
  const file = fileURLToPath(new URL("health-hammer.ts", import.meta.url));
  const hammer = async (times: number, limit: number): Promise<number> => {
    const workers = Array.from(
      { length: 4 },
      () => new Worker(file, { workerData: { shared, slot, generation, times, limit } }),
    );
    const turns = await Promise.all(workers.map((worker) => once(worker, "message")));
    return turns.reduce((sum, [turn]) => sum + (turn as number), 0);
  };
  assert.equal(await hammer(50, 254), 0);
  assert.equal(countOf(reader.word(slot), TCP_FAILURE), 200);
  assert.equal(await hammer(1000, 254), 1);
  assert.equal(countOf(reader.word(slot), TCP_FAILURE), 254);
  assert.equal(reader.isUp(slot), false);
});
