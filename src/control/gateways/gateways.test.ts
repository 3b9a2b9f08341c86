/** What gateways of one store tell each other, and what becomes of drains that nobody takes back. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { test, type TestContext } from "node:test";
import type { NodeReports, StoreWrite } from "../../store/contract.ts";
import type { DrainState, SharedDrain } from "../health/drains.ts";
import type { ConfigurationState } from "../state.ts";
import { FORGET_AFTER_MS, ForgottenDrains } from "./forgotten-drains.ts";
import { gatewayId, hasEnded, isSibling } from "./gateway-id.ts";
import { readReport } from "./report.ts";
import { GatewayReporter } from "./reporter.ts";

const drain: SharedDrain = { id: "d", mark: "a", upstream: "1", host: "10.0.0.1", port: 80, since: 0 };

const BROKEN = '{"id":"a","drains":{"d":{"mark":"a","isDrained":false,"inFlight":0,"workers":[null]}}}';

/** Reports in memory; the next puts fail as often as the test says. */
class StandInReports implements NodeReports {
  readonly texts = new Map<string, string>();
  failures = 0;
  #wake: (() => void) | null = null;

  put(id: string, text: string): Promise<void> {
    const isFailing = this.failures > 0;
    if (isFailing) this.failures--;
    else this.texts.set(id, text);
    this.#wake?.();
    return isFailing ? Promise.reject(new Error("permission denied")) : Promise.resolve();
  }

  list(): Promise<Map<string, string>> {
    return Promise.resolve(this.texts);
  }

  remove(id: string): Promise<boolean> {
    return Promise.resolve(this.texts.delete(id));
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }
}

function bench(t: TestContext, id = "self.1-1") {
  const reports = new StandInReports();
  const warnings: string[] = [];
  const state: DrainState = { isDrained: false, inFlight: 1, workers: [{ worker: 0, inFlight: 1 }] };
  const list: SharedDrain[] = [];
  const drains = {
    listShared: () => list.values(),
    state: () => Promise.resolve({ ...state }),
    onShared: null,
  };
  const log = { warn: (message: string) => void warnings.push(message), info: () => {} };
  const revisions = () => ({ publishedRevision: 7, appliedRevision: 6 });
  const reporter = new GatewayReporter({ id, reports, drains, revisions, log });
  t.after(() => reporter.close());
  const own = () => readReport(reports.texts.get(id) ?? "");
  return {
    reports,
    warnings,
    state,
    list,
    drains: drains as { onShared: (() => void) | null },
    reporter,
    own,
  };
}

test("a gateway tells of a drain at once, and again until nothing runs there", async (t) => {
  const { reports, state, list, drains, reporter, own } = bench(t);
  reporter.start();
  await reports.until(() => own() !== null);
  assert.deepEqual([own()!.publishedRevision, own()!.appliedRevision, own()!.drains], [7, 6, {}]);
  list.push(drain);
  drains.onShared!();
  await reports.until(() => own()!.drains["d"]?.inFlight === 1);
  Object.assign(state, { isDrained: true, inFlight: 0, workers: [] });
  await reports.until(() => own()!.drains["d"].isDrained);
  // The same node taken out once more is another drain.
  list[0] = { ...drain, mark: "b" };
  Object.assign(state, { isDrained: false });
  drains.onShared!();
  await reports.until(() => own()!.drains["d"].mark === "b");
  assert.equal(own()!.drains["d"].isDrained, false);
  await reporter.close();
  assert.equal(reports.texts.size, 0);
});

test("counts that change all the time are not told all the time", async (t) => {
  const { reports, state, list } = bench(t);
  let nowMs = 0;
  let looks = 0;
  let puts = 0;
  const put = reports.put.bind(reports);
  reports.put = (id, text) => {
    puts++;
    return put(id, text);
  };
  const { promise: lookedOften, resolve } = Promise.withResolvers<void>();
  const counted = {
    listShared: () => list.values(),
    state: () => {
      state.inFlight = ++looks;
      if (looks === 5) resolve();
      return Promise.resolve({ ...state });
    },
    onShared: null,
  };
  list.push(drain);
  const reporter = new GatewayReporter({
    id: "other.1-1",
    reports,
    drains: counted,
    revisions: () => ({ publishedRevision: 1, appliedRevision: 1 }),
    log: { warn: () => {}, info: () => {} },
    now: () => nowMs,
  });
  t.after(() => reporter.close());
  reporter.start();
  await lookedOften;
  assert.equal(puts, 1);
  nowMs = 1000;
  await reports.until(() => puts === 2);
});

test("a report that is on its way when the gateway ends does not stay", async (t) => {
  const { reports, reporter, own } = bench(t);
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const put = reports.put.bind(reports);
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>();
  reports.put = async (id, text) => {
    isAsked();
    await gate;
    await put(id, text);
  };
  reporter.start();
  await asked;
  const closed = reporter.close();
  open();
  await closed;
  assert.equal(own(), null);
});

test("a report that the store does not take is told once and tried again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { reports, warnings, reporter, own } = bench(t);
  reports.failures = 2;
  reporter.start();
  await reports.until(() => reports.failures === 1);
  while (own() === null) {
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(60_000);
  }
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /does not take the report/);
});

test("what an earlier process of the same folder told is removed, and nobody else's", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "cardea-gateway-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const id = gatewayId(folder);
  assert.equal(gatewayId(folder), id);
  const { reports, reporter } = bench(t, id);
  const [self, here] = id.split(".");
  const alive = `${self}.1-${statOf(1)[19]}`;
  for (const each of [`${self}.1-1`, alive, `other.${here}`]) reports.texts.set(each, "{}");
  reporter.start();
  await reports.until(() => reports.texts.has(id));
  while (reports.texts.has(`${self}.1-1`)) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...reports.texts.keys()].sort(), [alive, id, `other.${here}`].sort());
  assert.ok(!isSibling(id, id));
});

test("a process that ended is gone also before its parent has heard of it", () => {
  const { pid } = spawn("true", { stdio: "ignore" });
  const start = statOf(pid!)[19];
  // Within one turn of the event loop nobody asks how it ended.
  while (statOf(pid!)[0] !== "Z");
  assert.ok(hasEnded(`folder.${pid}-${start}`));
  assert.ok(!hasEnded(`folder.${process.pid}-${statOf(process.pid)[19]}`));
});

/** Of /proc/<pid>/stat, from the state on. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

test("reports that are none, or of another form, are no acknowledgement", () => {
  for (const text of ["", "no", "[]", "{}", '{"id":"a"}', '{"id":"a","drains":{"d":null}}', BROKEN]) {
    assert.equal(readReport(text), null, text);
  }
  const drains = { d: { mark: "a", isDrained: true, inFlight: 0, workers: [] } };
  assert.deepEqual(readReport(JSON.stringify({ id: "a", drains, more: 1 }))?.drains, drains);
});

test("a drain is forgotten when its node has been gone from the upstream for long", async () => {
  let now = 0;
  let isListed = true;
  const writes: unknown[] = [];
  const forgotten = new ForgottenDrains({
    store: {
      write: (batch: StoreWrite[], options) => {
        writes.push(batch, options);
        return Promise.resolve(1);
      },
    },
    state: { get: () => ({ modRevision: 5 }) } as unknown as ConfigurationState,
    drains: { listShared: () => [drain] },
    isListed: () => isListed,
    log: { info: () => {}, warn: () => {} },
    now: () => now,
  });
  const look = async (at: number, listed: boolean) => {
    now = at;
    isListed = listed;
    await forgotten.look();
  };
  await look(0, false);
  await look(FORGET_AFTER_MS - 1, false);
  await look(FORGET_AFTER_MS, true);
  await look(FORGET_AFTER_MS + 1, false);
  await look(2 * FORGET_AFTER_MS, false);
  assert.deepEqual(writes, []);
  await look(2 * FORGET_AFTER_MS + 1, false);
  assert.deepEqual(writes, [[{ type: "delete", key: "/drains/d" }], { expect: { "/drains/d": 5 } }]);
});
