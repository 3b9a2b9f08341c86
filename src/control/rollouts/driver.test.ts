import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import { TestNode } from "../../../test/admin/node.ts";
import type { PublishedProgress } from "../../model/rollout.ts";
import { StoreUnavailableError } from "../../store/contract.ts";
import { BEAT_MS, type DriverParts, LEASE_MS, RolloutDriver } from "./driver.ts";
import { noTotals, type RolloutTotals } from "./measurement.ts";
import { RolloutReport } from "./report.ts";

const STEPS = [
  { weight: 10, duration: 60 },
  { weight: 50, duration: 30, requests: 100 },
];

/** One store, any number of drivers on it, and a clock that the test moves. */
class Stage {
  readonly node = new TestNode();
  nowMs = 1000;
  /** Of the canary, as each node counts them. */
  readonly counts = new Map<string, RolloutTotals>();

  static async open(t: TestContext, rollout: object = {}): Promise<Stage> {
    const stage = new Stage();
    await stage.node.start();
    t.after(() => stage.node.dispose());
    await stage.call("PUT", "/upstreams/old", { nodes: { "127.0.0.1:1": 1 } });
    await stage.call("PUT", "/upstreams/new", { nodes: { "127.0.0.1:2": 1 } });
    await stage.call("PUT", "/routes/1", { uri: "/*", upstream_id: "old" });
    await stage.put(rollout);
    return stage;
  }

  async call(method: string, path: string, body?: unknown): Promise<void> {
    const reply = await this.node.call(method, path, body);
    assert.ok(reply.status < 300, `${method} ${path}: ${reply.text}`);
  }

  async put(rollout: object = {}): Promise<void> {
    const value = { route_id: "1", canary: { upstream_id: "new" }, steps: STEPS, ...rollout };
    await this.call("PUT", "/rollouts/r", value);
  }

  driver(holder = "a", parts: Partial<DriverParts> = {}): RolloutDriver {
    const { rollouts: items, state, store, feed } = this.node.control;
    const read = () => Promise.resolve(new Map([["r", this.countsOf(holder)]]));
    const now = () => this.nowMs;
    return new RolloutDriver({ items, state, store, feed, read, holder, log: silent, now, ...parts });
  }

  countsOf(holder: string): RolloutTotals {
    let totals = this.counts.get(holder);
    if (totals === undefined) this.counts.set(holder, (totals = { canary: noTotals(), stable: noTotals() }));
    return totals;
  }

  served(ok: number, errors = 0, holder = "a"): void {
    const { canary, stable } = this.countsOf(holder);
    const next = { ...canary, ok: canary.ok + ok, errors: canary.errors + errors };
    this.counts.set(holder, { canary: next, stable });
  }

  /** Looks every second for so long. */
  async pass(driver: RolloutDriver, seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      this.nowMs += 1000;
      await driver.look();
    }
  }

  get progress(): PublishedProgress | null {
    return this.node.control.rollouts.progressOf("r");
  }

  /** What each worker has of the route. */
  async weight(): Promise<number | undefined> {
    await this.node.settle();
    const [first, second] = this.node.workers.map(({ items }) => {
      const route = items.get("route/1") as { plugins?: { rollout?: { weight: number } } };
      return route.plugins?.rollout?.weight;
    });
    assert.equal(first, second);
    return first;
  }
}

test("steps follow each other by time and by requests, and at the end all requests are the canary's", async (t) => {
  const stage = await Stage.open(t);
  assert.equal(await stage.weight(), 0, "nothing happens before it is driven");
  const driver = stage.driver();
  await driver.look();
  assert.equal(await stage.weight(), 10);
  await stage.pass(driver, 59);
  assert.equal(await stage.weight(), 10);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 50);
  await stage.pass(driver, 60);
  assert.equal(await stage.weight(), 50, "requests are missing");
  stage.served(99);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 50);
  stage.served(1);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 100);
  assert.equal(stage.progress!.phase, "promoted");
  await stage.pass(driver, 100);
  assert.equal(await stage.weight(), 100);
});

test("a pause stops the clock and keeps the share; promote and abort end it at once", async (t) => {
  const stage = await Stage.open(t);
  const driver = stage.driver();
  await driver.look();
  await stage.pass(driver, 40);
  await stage.call("PATCH", "/rollouts/r", { action: "pause" });
  await stage.pass(driver, 1000);
  assert.equal(await stage.weight(), 10);
  await stage.call("PATCH", "/rollouts/r", { action: "run" });
  await stage.pass(driver, 19);
  assert.equal(await stage.weight(), 10);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 50);
  // Without anybody who drives.
  await stage.call("PATCH", "/rollouts/r", { action: "promote" });
  assert.equal(await stage.weight(), 100);
  await stage.pass(driver, 1);
  assert.equal(stage.progress!.phase, "promoted");
  await stage.call("PATCH", "/rollouts/r", { action: "abort" });
  assert.equal(await stage.weight(), 0);
  await stage.pass(driver, 1);
  assert.equal(stage.progress!.phase, "aborted");
  await stage.call("PATCH", "/rollouts/r", { action: "run" });
  await stage.pass(driver, 5);
  assert.equal(await stage.weight(), 0, "it is over");
  await stage.call("PATCH", "/rollouts/r", { attempt: 2 });
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 10, "another attempt begins with the first step");
});

test("errors roll back, and the reason is kept", async (t) => {
  const stage = await Stage.open(t, { rollback: { error_percent: 5, min_requests: 50 } });
  const driver = stage.driver();
  await driver.look();
  stage.served(20, 29);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 10, "too few to judge");
  stage.served(1);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 0);
  assert.equal(stage.progress!.phase, "rolled_back");
  assert.match(stage.progress!.reason!, /^58 per cent of 50 requests failed, more than 5$/);
  await stage.pass(driver, 200);
  assert.equal(await stage.weight(), 0);
});

test("a paused rollout is judged, too", async (t) => {
  const stage = await Stage.open(t, { rollback: { error_percent: 5 } });
  const driver = stage.driver();
  await driver.look();
  await stage.call("PATCH", "/rollouts/r", { action: "pause" });
  stage.served(0, 100);
  await stage.pass(driver, 1);
  assert.equal(stage.progress!.phase, "rolled_back");
});

test("without the store the share stays, and a failing canary loses it on this node at once", async (t) => {
  const stage = await Stage.open(t, { rollback: { error_percent: 5 } });
  const { store } = stage.node.control;
  let isDown = false;
  const write: typeof store.write = (...given) =>
    isDown ? Promise.reject(new StoreUnavailableError("down")) : store.write(...given);
  const driver = stage.driver("a", { store: { write } });
  await driver.look();
  isDown = true;
  await stage.pass(driver, 100);
  assert.equal(await stage.weight(), 10);
  stage.served(0, 100);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 0);
  assert.equal(stage.progress!.phase, "running");
  isDown = false;
  await stage.pass(driver, 1);
  assert.equal(stage.progress!.phase, "rolled_back");
});

test("a driver that is started again goes on where the rollout is", async (t) => {
  const stage = await Stage.open(t);
  await stage.pass(stage.driver(), 51);
  const { elapsed } = stage.progress!;
  assert.ok(elapsed >= 50 - BEAT_MS / 1000 && elapsed <= 50, String(elapsed));
  const successor = stage.driver();
  await successor.look();
  await stage.pass(successor, Math.ceil(60 - elapsed));
  assert.equal(await stage.weight(), 50);
});

test("one node of several drives, and another takes over when it is gone", async (t) => {
  const stage = await Stage.open(t);
  const [a, b] = [stage.driver("a"), stage.driver("b")];
  let writes = 0;
  const both = async (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      stage.nowMs += 1000;
      const before = stage.node.control.feed.revision;
      await Promise.all([a.look(), b.look()]);
      writes += stage.node.control.feed.revision - before;
    }
  };
  await both(50);
  const { holder } = stage.progress!;
  assert.equal(stage.progress!.step, 0, "two nodes do not make the time pass twice as fast");
  assert.ok(writes <= 2 + 50_000 / BEAT_MS, `${writes} writes`);
  const other = holder === "a" ? b : a;
  await stage.pass(other, (LEASE_MS - BEAT_MS) / 1000 - 1);
  assert.equal(stage.progress!.holder, holder);
  await stage.pass(other, BEAT_MS / 1000 + 3);
  assert.notEqual(stage.progress!.holder, holder);
  await stage.pass(other, 30);
  assert.equal(stage.progress!.step, 1);
});

test("a canary is judged while the store lets a write wait", async (t) => {
  const stage = await Stage.open(t, { rollback: { error_percent: 5 } });
  const driver = stage.driver();
  await driver.look();
  assert.equal(await stage.weight(), 10);
  let begun = 0;
  const write = () => {
    begun++;
    return new Promise<number>(() => {});
  };
  const slow = stage.driver("a", { store: { write } });
  await slow.look();
  stage.nowMs += BEAT_MS;
  void slow.look();
  while (begun === 0) await new Promise((resolve) => setImmediate(resolve));
  stage.served(0, 100);
  await stage.pass(slow, 1);
  assert.equal(await stage.weight(), 0);
  assert.equal(begun, 1);
});

test("what passed while a step was being written is no part of it", async (t) => {
  const stage = await Stage.open(t, {
    steps: [
      { weight: 10, duration: 60 },
      { weight: 50, duration: 30 },
    ],
  });
  const { store } = stage.node.control;
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  let isSlow = false;
  const write: typeof store.write = async (...given) => {
    if (isSlow) {
      begun.resolve();
      await gate.promise;
    }
    return await store.write(...given);
  };
  const driver = stage.driver("a", { store: { write } });
  await driver.look();
  await stage.pass(driver, 59);
  isSlow = true;
  stage.nowMs += 1000;
  const stepping = driver.look();
  await begun.promise;
  await stage.pass(driver, 40);
  assert.equal(await stage.weight(), 10);
  isSlow = false;
  gate.resolve();
  await stepping;
  await stage.pass(driver, 29);
  assert.equal(await stage.weight(), 50);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 100);
});

test("what fails on one node while another promotes it is rolled back for all", async (t) => {
  const steps = [{ weight: 50, duration: 10 }];
  const stage = await Stage.open(t, { steps, rollback: { error_percent: 5 } });
  const { store } = stage.node.control;
  const a = stage.driver("a");
  await a.look();
  let isFirst = true;
  const write: typeof store.write = async (...given) => {
    if (isFirst) {
      isFirst = false;
      await stage.pass(a, 10);
      assert.equal(stage.progress!.phase, "promoted");
    }
    return await store.write(...given);
  };
  const b = stage.driver("b", { store: { write } });
  await b.look();
  stage.served(0, 100, "b");
  await stage.pass(b, 2);
  assert.equal(stage.progress!.phase, "rolled_back");
  await stage.pass(a, 2);
  assert.equal(await stage.weight(), 0);
});

test("a canary that could fail unseen waits while counts are lost", async (t) => {
  const stage = await Stage.open(t, {
    rollback: { error_percent: 5 },
    steps: [{ weight: 10, duration: 60 }],
  });
  let lost = 0;
  let isLosing = true;
  const read = () => {
    if (isLosing) lost++;
    return Promise.resolve(Object.assign(new Map<string, RolloutTotals>(), { lost }));
  };
  const driver = stage.driver("a", { read });
  await driver.look();
  await stage.pass(driver, 300);
  assert.equal(await stage.weight(), 10);
  isLosing = false;
  await stage.pass(driver, 59);
  assert.equal(await stage.weight(), 10);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 100);
});

test("a node without traffic drives by time alone", async (t) => {
  const stage = await Stage.open(t);
  const idle = stage.driver("a", { hasTraffic: false });
  await stage.pass(idle, 5);
  assert.equal(stage.progress, null);
  await stage.put({ steps: [{ weight: 30, duration: 60 }] });
  await stage.pass(idle, 1);
  assert.equal(await stage.weight(), 30);
});

test("any node may roll back by what it sees itself", async (t) => {
  const stage = await Stage.open(t, { rollback: { error_percent: 5 } });
  const [a, b] = [stage.driver("a"), stage.driver("b")];
  await a.look();
  await b.look();
  stage.served(0, 50, "b");
  await stage.pass(a, 1);
  assert.equal(stage.progress!.phase, "running");
  await stage.pass(b, 1);
  assert.equal(stage.progress!.phase, "rolled_back");
  assert.equal(await stage.weight(), 0);
});

test("with adopt the canary becomes the route's own upstream, in the same write", async (t) => {
  const stage = await Stage.open(t, { adopt: true, steps: [{ weight: 50, duration: 10 }] });
  const driver = stage.driver();
  await driver.look();
  await stage.pass(driver, 10);
  assert.equal(stage.progress!.phase, "promoted");
  const route = (await stage.node.call("GET", "/routes/1")).body.value;
  assert.equal(route.upstream_id, "new");
  assert.equal(route.uri, "/*");
  await stage.call("DELETE", "/rollouts/r");
  assert.equal(await stage.weight(), undefined);
});

test("a rollout that is deleted leaves its route as it was, and made again it begins anew", async (t) => {
  const stage = await Stage.open(t);
  const driver = stage.driver();
  await driver.look();
  await stage.pass(driver, 60);
  assert.equal(await stage.weight(), 50);
  await stage.call("DELETE", "/rollouts/r");
  assert.equal(await stage.weight(), undefined);
  assert.equal(stage.progress, null);
  await stage.pass(driver, 1);
  await stage.put();
  assert.equal(await stage.weight(), 0);
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), 10);
});

test("an edit of the route keeps the share, and a rollout may be on a service", async (t) => {
  const stage = await Stage.open(t);
  const driver = stage.driver();
  await driver.look();
  await stage.call("PATCH", "/routes/1", { plugins: { mocking: { response_example: "x" } } });
  assert.equal(await stage.weight(), 10);
  await stage.call("PUT", "/services/s", { upstream_id: "old" });
  await stage.call("PUT", "/rollouts/r", {
    service_id: "s",
    canary: { upstream_id: "new" },
    steps: [{ weight: 7, duration: 60 }],
  });
  await stage.pass(driver, 1);
  assert.equal(await stage.weight(), undefined, "the route is as it was");
  const service = stage.node.workers[0].items.get("service/s") as {
    plugins: { rollout: { weight: number } };
  };
  assert.equal(service.plugins.rollout.weight, 7);
});

test("what is told of a rollout names its state, its share and what was measured", async (t) => {
  const stage = await Stage.open(t);
  const driver = stage.driver();
  const report = new RolloutReport(stage.node.control.rollouts, driver, "a");
  assert.partialDeepStrictEqual(report.get("r"), { state: "waiting", weight: 0, step: 0, steps: 2 });
  await driver.look();
  stage.served(30, 10);
  await stage.pass(driver, 5);
  assert.partialDeepStrictEqual(report.get("r"), {
    id: "r",
    route_id: "1",
    state: "running",
    weight: 10,
    step: 1,
    elapsed: 5,
    requests: 40,
    holder: "a",
    drives: true,
    canary: { upstream_id: "new", requests: 40, error_percent: 25 },
  });
  const families = new Map(report.families().map(({ name, samples }) => [name, samples]));
  assert.equal(families.get("rollout_weight")![0].value, 10);
  const state = families.get("rollout_state")!.find(({ value }) => value === 1);
  assert.deepEqual(state?.labels, { rollout: "r", state: "running" });
  assert.equal(report.get("none"), null);
});
