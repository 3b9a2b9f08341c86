import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { DictionaryTable } from "./dictionary-table.ts";
import { Dictionary } from "./dictionary.ts";
import { SUPERVISOR_SLOT } from "./lanes.ts";
import { LimitCounters } from "./limit-counters.ts";
import { LimitTable } from "./limit-table.ts";

const STEPS = 40;

/**
 * Runs `work` like a thread that dies at its atomic store number `step`: that store and all later ones do
 * not happen, so entries stay half-made and locks held. False: the work has fewer stores.
 */
function dieAtStore(step: number, work: () => void): boolean {
  const store = Atomics.store.bind(Atomics);
  let seen = 0;
  const dying = mock.method(Atomics, "store", (words: Int32Array, word: number, value: number) => {
    if (++seen >= step) throw new Error("dead");
    return store(words, word, value);
  });
  try {
    work();
    return false;
  } catch (error) {
    assert.equal((error as Error).message, "dead");
    return true;
  } finally {
    dying.mock.restore();
  }
}

test("a death at any store of the limit table loses no room and no count", () => {
  let deaths = 0;
  for (let step = 1; step <= STEPS; step++) {
    const shared = LimitTable.create(64, 2);
    const dying = new LimitCounters(new LimitTable(shared, 0, 1));
    const living = new LimitCounters(new LimitTable(shared, 1, 1));
    // 30 keys that have expired, 30 that have not; the work adds eight, so some expired ones must go.
    for (let i = 0; i < 60; i++) living.increment(`k${i}`, 1, 5, i < 30 ? 10 : 1000, 1000);
    const died = dieAtStore(step, () => {
      for (let i = 0; i < 8; i++) dying.increment(`new ${i}`, 1, 5, 1000, 1500);
      dying.reset("new 1");
    });
    if (!died) break;
    deaths++;
    assert.equal(new LimitTable(shared, SUPERVISOR_SLOT, 0).repairAfterDeath(0, 1), 1);
    for (let i = 30; i < 60; i++) {
      living.increment(`k${i}`, 0, 5, 1000, 1500);
      assert.equal(living.remaining, 4, `step ${step}: k${i}`);
    }
    if (step % 4 === 1) {
      const { used } = living.stats();
      assert.equal(living.reset(), used, `step ${step}`);
    }
    // All the room can be had: once nothing has to stay, exactly 64 keys fit.
    let fitting = 0;
    for (let i = 0; i < 100; i++) if (living.increment(`later ${i}`, 1, 5, 1000, 9000)) fitting++;
    assert.deepEqual([fitting, living.stats().used], [64, 64], `step ${step}`);
  }
  assert.ok(deaths >= 16, `${deaths} deaths tried`);
});

test("a unit that a dead thread's lock kept from being released is released after the repair", () => {
  const shared = LimitTable.create(64, 2);
  const dying = new LimitCounters(new LimitTable(shared, 0, 1));
  const living = new LimitCounters(new LimitTable(shared, 1, 1));
  living.hold("k", 10, 1000);
  assert.ok(dieAtStore(1, () => dying.hold("k", 10, 1000)));
  assert.equal(living.release("k"), false);
  assert.equal(living.stats().lockTimeouts, 1);
  new LimitTable(shared, SUPERVISOR_SLOT, 0).repairAfterDeath(0, 1);
  living.hold("other", 10, 1000);
  living.hold("k", 10, 1000);
  assert.equal(living.held, 1);
});

test("a death at any store of the dictionary leaves the old or the new value, and all the room", () => {
  let deaths = 0;
  for (let step = 1; step <= STEPS; step++) {
    const shared = DictionaryTable.create(65_536);
    const dying = new Dictionary(new DictionaryTable(shared, 0, 1));
    const living = new Dictionary(new DictionaryTable(shared, 1, 1));
    for (let i = 0; i < 30; i++) living.set(`k${i}`, `old ${"x".repeat(i * 30)}`);
    const died = dieAtStore(step, () => {
      for (let i = 0; i < 4; i++) dying.set(`k${i}`, `new ${"y".repeat(900)}`);
      dying.delete("k4");
      dying.rpush("list", "a");
      dying.rpush("list", "b");
      // Larger than what is free, so that others must go.
      for (let i = 5; i < 8; i++) dying.set(`k${i}`, `new ${"z".repeat(dying.maxValueBytes - 10)}`);
    });
    if (!died) break;
    deaths++;
    assert.equal(new DictionaryTable(shared, SUPERVISOR_SLOT, 0).repairAfterDeath(0, 1), 1);
    let found = 0;
    for (let i = 0; i < 30; i++) {
      const value = living.get(`k${i}`);
      if (value === undefined) continue;
      found++;
      assert.match(String(value), /^(?:old x*|new (?:y{900}|z+))$/, `step ${step}: k${i}`);
    }
    const list = living.llen("list");
    if (list > 0) found++;
    assert.equal(living.stats().entries, found, `step ${step}`);
    // The room that nothing uses is free, and all of it can be used.
    for (let i = 0; i < 30; i++) living.delete(`k${i}`);
    living.delete("list");
    assert.equal(living.stats().freeBytes, 65_536, `step ${step}`);
    const { evictions } = living.stats();
    for (let i = 0; i < 65_536 / 128; i++) living.set(`n${i}`, "");
    assert.equal(living.stats().evictions, evictions, `step ${step}`);
    assert.equal(living.get("n0"), "", `step ${step}`);
  }
  assert.ok(deaths >= 16, `${deaths} deaths tried`);
});
