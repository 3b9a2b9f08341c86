/**
 * A node whose store does not answer: it serves on, starts from what it had, refuses writes, says how old its
 * configuration is, and goes over to the store's content when that is back. The store is a real one behind a line that
 * is cut; workers are stand-ins that check that the published revision grows.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { metricsFacts } from "../../src/control/metrics-facts.ts";
import type { Log } from "../../src/lib/log.ts";
import type { Store } from "../../src/store/contract.ts";
import { CutStore } from "../../src/store/cut-store.ts";
import { EmbeddedStore } from "../../src/store/embedded/store.ts";
import { SealedFile } from "../../src/store/snapshot/sealed-file.ts";
import { silent } from "../../src/lib/silent-log.ts";
import { TestNode } from "../admin/node.ts";

const secret = randomBytes(32);

interface Place {
  folder: string;
  /** Opens the store of all nodes of a test. */
  open(): CutStore;
  said: string[];
  node(store: Store): TestNode;
}

function place(t: TestContext): Place {
  const folder = mkdtempSync(join(tmpdir(), "cardea-survival-"));
  const nodes: TestNode[] = [];
  t.after(async () => {
    // First the nodes, which write there.
    for (const node of nodes) await node.stopControl();
    rmSync(folder, { recursive: true, force: true });
  });
  const said: string[] = [];
  const tell = (message: string) => void said.push(message);
  const log: Log = { ...silent, warn: tell, error: tell };
  const open = () =>
    new CutStore(
      new EmbeddedStore({ file: join(folder, "elsewhere.db"), historyRevisions: 1000, historyDays: 30 }),
    );
  const node = (store: Store) => {
    const made = new TestNode({}, folder);
    nodes.push(made);
    const file = new SealedFile(join(folder, "snapshot"), secret, "snapshot");
    Object.assign(made, { store, log, snapshot: { file, source: "test", intervalMs: 100 } });
    return made;
  };
  return { folder, open, said, node };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

const route = (uri: string) => ({ uri, upstream: { type: "roundrobin", nodes: { "127.0.0.1:80": 1 } } });

/** A node that had two routes and ended. */
async function filled(t: TestContext): Promise<Place> {
  const here = place(t);
  const node = await here.node(here.open()).start();
  for (const id of ["1", "2"]) {
    const { status } = await node.call("PUT", `/routes/${id}?wait=live`, route(`/${id}`));
    assert.equal(status, 201);
  }
  await node.stopControl();
  return here;
}

function fact(node: TestNode, name: string): number | undefined {
  return metricsFacts(node.control, "").families?.find((family) => family.name === name)?.samples[0].value;
}

test("a node starts from its snapshot when the store does not answer, and then follows the store", async (t) => {
  const here = await filled(t);
  const store = here.open();
  store.isDown = true;
  const node = await here.node(store).start();
  const [worker] = node.workers;
  await until(() => worker.items.size === 2);
  assert.equal(node.control.feed.origin, "snapshot");
  assert.ok(here.said.includes("serving the configuration that this node had before"), String(here.said));
  assert.equal((await node.call("GET", "/routes/1")).body.value.uri, "/1");

  // Somebody else writes, as another node can.
  await store.inner.write([
    { type: "put", key: "/routes/3", value: JSON.stringify(route("/3")) },
    { type: "delete", key: "/routes/2" },
  ]);
  const before = worker.messages.length;
  store.isDown = false;
  await until(() => worker.items.has("route/3"));
  assert.equal(node.control.feed.origin, "store");
  assert.deepEqual([...worker.items.keys()].sort(), ["route/1", "route/3"]);
  const types = worker.messages.slice(before).map((message) => message.type);
  assert.deepEqual(new Set(types), new Set(["delta"]), "a diff and no reset");
});

test("without a snapshot, or with one that is of no use, a node waits for the store and says so", async (t) => {
  const file = (here: Place) => join(here.folder, "snapshot");
  const cases: [string, (here: Place) => void, RegExp][] = [
    ["none", (here) => rmSync(file(here)), /there is no snapshot/],
    ["empty", (here) => writeFileSync(file(here), ""), /of no use/],
    ["cut off", (here) => writeFileSync(file(here), readFileSync(file(here)).subarray(0, -9)), /of no use/],
    ["damaged", (here) => writeFileSync(file(here), readFileSync(file(here)).fill(7, 60, 70)), /of no use/],
  ];
  for (const [name, spoil, told] of cases) {
    await t.test(name, async (t) => {
      const here = await filled(t);
      spoil(here);
      const store = here.open();
      store.isDown = true;
      const node = here.node(store);
      const starting = node.start();
      await until(() => here.said.some((line) => told.test(line)));
      assert.equal(node.control.feed.origin, "nothing");
      assert.equal(node.control.ageMs(), null);
      assert.equal(fact(node, "config_age_seconds"), undefined);
      store.isDown = false;
      await starting;
      await until(() => node.workers[0].items.size === 2);
    });
  }
});

test("while the store is down, writes answer 503 and change nothing; reads and traffic go on", async (t) => {
  const here = place(t);
  const store = here.open();
  const node = await here.node(store).start();
  await node.call("PUT", "/routes/1?wait=live", route("/1"));
  const before = await store.inner.load();
  store.isDown = true;
  const writes = [
    await node.call("PUT", "/routes/1", route("/other")),
    await node.call("PUT", "/routes/2", route("/2")),
    await node.call("POST", "/routes", route("/3")),
    await node.call("PATCH", "/routes/1", { desc: "x" }),
    await node.call("DELETE", "/routes/1"),
  ];
  assert.deepEqual(
    writes.map(({ status }) => status),
    [503, 503, 503, 503, 503],
  );
  assert.deepEqual(writes[0].body, { error_msg: "the configuration store does not answer" });
  assert.equal((await node.call("GET", "/routes/1")).body.value.uri, "/1");
  assert.equal((await node.call("GET", "/routes/2")).status, 404);
  store.isDown = false;
  await until(() => node.control.feed.isSettled);
  assert.deepEqual(await store.inner.load(), before);
  assert.equal((await node.call("PUT", "/routes/2", route("/2"))).status, 201);
});

test("the age of the configuration and the reach of the store are told", async (t) => {
  const here = await filled(t);
  const store = here.open();
  const node = await here.node(store).start();
  assert.equal(fact(node, "store_reachable"), 1);
  assert.equal(fact(node, "etcd_reachable"), 1);
  await until(() => fact(node, "config_applied_revision") === fact(node, "published_revision"));
  store.isDown = true;
  const { lastAt } = store.contact();
  assert.equal(fact(node, "store_reachable"), 0);
  assert.equal(node.control.ageMs(lastAt! + 90_000), 90_000);
  await node.stopControl();

  const back = here.open();
  back.isDown = true;
  const again = await here.node(back).start();
  assert.equal(again.control.feed.origin, "snapshot");
  assert.ok(again.control.ageMs(lastAt! + 90_000)! >= 90_000, "a start does not make it younger");
  back.isDown = false;
  await until(() => again.control.feed.origin === "store");
  assert.equal(again.control.ageMs(Date.now()), 0);
});

test("a control thread that comes back takes nothing newer away from the workers", async (t) => {
  const here = await filled(t);
  const snapshot = readFileSync(join(here.folder, "snapshot"));
  const store = here.open();
  const node = await here.node(store).start();
  await node.call("PUT", "/routes/3?wait=live", route("/3"));
  await node.stopControl();
  // As if it had died before the snapshot was written anew.
  writeFileSync(join(here.folder, "snapshot"), snapshot);
  const back = here.open();
  back.isDown = true;
  node.store = back;
  await node.start();
  assert.equal(node.control.feed.origin, "snapshot");
  assert.ok(here.said.some((line) => /newer configuration than the snapshot/.test(line)));
  assert.ok(node.workers[0].items.has("route/3"));
  back.isDown = false;
  await until(() => node.control.feed.origin === "store");
  const { revision } = node.workers[0];
  await until(() => node.workers[0].revision > revision);
  assert.ok(node.workers[0].items.has("route/3"));
});
