import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import { drainKey, HEALTH_SLOTS, type HealthTable } from "../../shared/health-table.ts";
import type { InFlightQuestion } from "../../shared/messages.ts";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import { Drains, type WorkersLine } from "./drains.ts";

const HOST = "10.0.0.1";
const PORT = 80;

/** Workers that answer, and apply what is published, when the test says so. */
class StandInLine implements WorkersLine {
  onInFlight: WorkersLine["onInFlight"] = null;
  /** Slots of those that serve; none: nothing can be in flight. */
  workers: number[] = [];
  readonly asked: InFlightQuestion[] = [];
  readonly #applied = Promise.withResolvers<number[]>();

  askAll(question: InFlightQuestion): number[] {
    this.asked.push(question);
    return this.workers;
  }

  answer(slot: number, count: number): void {
    const { question } = this.asked.at(-1)!;
    this.onInFlight!(slot, { type: "in-flight", question, count });
  }

  flush(): number {
    return 1;
  }

  whenApplied(): Promise<number[]> {
    return this.#applied.promise;
  }

  apply(): void {
    this.#applied.resolve([]);
  }
}

function bench(t: TestContext): {
  drains: Drains;
  line: StandInLine;
  registry: HealthRegistry;
  isDrained: () => boolean;
} {
  const folder = mkdtempSync(join(tmpdir(), "cardea-drains-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const memory = { limitCounters: 1024, dictionaryBytes: 65_536, metricBytesPerWorker: 65_536 };
  const table: HealthTable = openSharedMemory(createSharedMemory(memory, 1), -1, 1).health;
  const registry = new HealthRegistry(table);
  const drains = new Drains(registry, join(folder, "drains.json"), silent);
  const line = new StandInLine();
  drains.connect(line);
  drains.take(upstream(HOST, "10.0.0.2"));
  const isDrained = () => table.find(drainKey("/upstreams/1", HOST, PORT)) !== -1;
  return { drains, line, registry, isDrained };
}

function upstream(...hosts: string[]): ConfigurationItem {
  const nodes = hosts.map((host) => ({ host, port: PORT, weight: 1 }));
  return { kind: "upstream", id: "1", value: JSON.stringify({ nodes }) };
}

function shared(mark: string): ConfigurationItem {
  const value = JSON.stringify({ id: "d", upstream_id: "1", host: HOST, port: PORT, mark });
  return { kind: "drain", id: "d", value };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a node that leaves its upstream is drained until every worker knows that it left", async (t) => {
  const { drains, line, isDrained } = bench(t);
  assert.ok(drains.begin("1", HOST, PORT));
  drains.take(upstream("10.0.0.2"));
  assert.deepEqual(drains.list(), []);
  await turn();
  await turn();
  // A worker with the former nodes would send requests to what is stopped by now.
  assert.ok(isDrained());
  line.apply();
  await turn();
  assert.ok(!isDrained());
});

test("a node that comes back while workers have not heard that it left is not drained", async (t) => {
  const { drains, line, isDrained } = bench(t);
  drains.begin("1", HOST, PORT);
  drains.take(upstream("10.0.0.2"));
  drains.take(upstream(HOST, "10.0.0.2"));
  assert.ok(!isDrained());
  assert.ok(drains.begin("1", HOST, PORT));
  line.apply();
  await turn();
  assert.ok(isDrained());
});

test("what all gateways drain is drained as long as the store says so, listed or not", (t) => {
  const { drains, isDrained } = bench(t);
  let heard = 0;
  drains.onShared = () => heard++;
  drains.take(shared("a"));
  drains.take(upstream("10.0.0.2"));
  assert.ok(isDrained());
  drains.take(shared("b"));
  assert.deepEqual(
    Array.from(drains.listShared(), ({ id, mark }) => [id, mark]),
    [["d", "b"]],
  );
  drains.take({ kind: "drain", id: "d", value: null });
  assert.ok(!isDrained());
  assert.equal(heard, 3);
});

test("a node that is drained here and on all gateways is taken up when both are undone", (t) => {
  const { drains, isDrained } = bench(t);
  drains.begin("1", HOST, PORT);
  drains.take(shared("a"));
  assert.ok(drains.undo("1", HOST, PORT));
  assert.ok(!drains.undo("1", HOST, PORT));
  assert.ok(isDrained());
  drains.begin("1", HOST, PORT);
  drains.take({ kind: "drain", id: "d", value: null });
  assert.ok(isDrained());
  drains.undo("1", HOST, PORT);
  assert.ok(!isDrained());
});

test("two drains of all machines on one node, as nobody here writes them, come and go in any order", (t) => {
  const { drains, isDrained } = bench(t);
  const drain = (id: string, isThere: boolean): ConfigurationItem => {
    const published = { id, upstream_id: "1", host: HOST, port: PORT, mark: id };
    return { kind: "drain", id, value: isThere ? JSON.stringify(published) : null };
  };
  for (const [id, isThere, expected] of [
    ["a", true, true],
    ["b", true, true],
    ["a", false, true],
    ["b", false, false],
    ["a", true, true],
    ["b", true, true],
    ["b", false, false],
    ["a", false, false],
  ] as const) {
    drains.take(drain(id, isThere));
    assert.equal(isDrained(), expected, `${id} ${isThere}`);
  }
});

test("a node is confirmed when every worker has said that nothing runs there, and not before", async (t) => {
  const { drains, line } = bench(t);
  line.workers = [0, 1];
  drains.begin("1", HOST, PORT);
  let isAnswered = false;
  const state = drains.state("1", HOST, PORT).finally(() => {
    isAnswered = true;
  });
  line.answer(0, 0);
  // Nor by the same worker again.
  line.answer(0, 0);
  await turn();
  assert.equal(isAnswered, false);
  line.answer(1, 0);
  assert.deepEqual(await state, { isDrained: true, inFlight: 0, workers: [] });
});

test("what runs on a single worker keeps a node from being confirmed, and who waits is told when it has ended", async (t) => {
  const { drains, line } = bench(t);
  line.workers = [0, 1, 2];
  drains.begin("1", HOST, PORT);
  const now = drains.state("1", HOST, PORT);
  for (const [slot, count] of [
    [2, 3],
    [0, 0],
    [1, 1],
  ])
    line.answer(slot, count);
  assert.deepEqual(await now, {
    isDrained: false,
    inFlight: 4,
    workers: [
      { worker: 1, inFlight: 1 },
      { worker: 2, inFlight: 3 },
    ],
  });
  const later = drains.state("1", HOST, PORT, 60_000);
  for (const running of [1, 1, 0]) {
    const rounds = line.asked.length;
    line.answer(0, 0);
    line.answer(1, running);
    line.answer(2, 0);
    while (running > 0 && line.asked.length === rounds) await turn();
  }
  assert.deepEqual(await later, { isDrained: true, inFlight: 0, workers: [] });
});

test("a worker that does not answer is one that may use the node", async (t) => {
  const { drains, line } = bench(t);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  line.workers = [0, 1];
  drains.begin("1", HOST, PORT);
  const state = drains.state("1", HOST, PORT);
  line.answer(1, 0);
  t.mock.timers.tick(1000);
  assert.deepEqual(await state, {
    isDrained: false,
    inFlight: 0,
    workers: [{ worker: 0, inFlight: null }],
  });
});

test("a node that workers cannot be told of, since the table is full, is never confirmed", async (t) => {
  const { drains, line, registry, isDrained } = bench(t);
  for (let i = 0; i < HEALTH_SLOTS; i++) registry.claimDrain(drainKey("/upstreams/other", HOST, i));
  assert.equal(drains.begin("1", HOST, PORT), false);
  drains.take(shared("a"));
  assert.ok(drains.has("1", HOST, PORT));
  assert.equal(isDrained(), false);
  line.workers = [0];
  const state = drains.state("1", HOST, PORT);
  line.answer(0, 0);
  assert.equal((await state).isDrained, false);
});
