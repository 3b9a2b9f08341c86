import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { HealthRegistry } from "../../shared/health-registry.ts";
import { drainKey, type HealthTable } from "../../shared/health-table.ts";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import { Drains, type WorkersLine } from "./drains.ts";

const HOST = "10.0.0.1";
const PORT = 80;

/** Workers with nothing in flight, which apply what is published when the test says so. */
class StandInLine implements WorkersLine {
  onInFlight: WorkersLine["onInFlight"] = null;
  readonly #applied = Promise.withResolvers<number[]>();

  askAll(): number[] {
    return [];
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
  isDrained: () => boolean;
} {
  const folder = mkdtempSync(join(tmpdir(), "cardea-drains-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const memory = { limitCounters: 1024, dictionaryBytes: 65_536, metricBytesPerWorker: 65_536 };
  const table: HealthTable = openSharedMemory(createSharedMemory(memory, 1), -1, 1).health;
  const drains = new Drains(new HealthRegistry(table), join(folder, "drains.json"), silent);
  const line = new StandInLine();
  drains.connect(line);
  drains.take(upstream(HOST, "10.0.0.2"));
  return { drains, line, isDrained: () => table.find(drainKey("/upstreams/1", HOST, PORT)) !== -1 };
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
