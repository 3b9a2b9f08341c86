import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Log } from "../lib/log.ts";
import { silent } from "../lib/silent-log.ts";
import { RESOURCE_TYPES } from "../model/resources.ts";
import { PluginCatalog } from "../plugins/catalog.ts";
import { CutStore } from "../store/cut-store.ts";
import { EmbeddedStore } from "../store/embedded/store.ts";
import { StoreFeed } from "./feed.ts";
import { EncryptedFields } from "../model/encrypted-fields.ts";
import { Keyring } from "./keyring.ts";
import { ConfigurationState } from "./state.ts";

const folder = mkdtempSync(join(tmpdir(), "cardea-feed-"));
after(() => rmSync(folder, { recursive: true }));

const errors: string[] = [];
const log: Log = { ...silent, error: (message) => void errors.push(message) };

function parts(name: string) {
  const store = new CutStore(
    new EmbeddedStore({ file: join(folder, `${name}.db`), historyRevisions: 1000, historyDays: 1 }),
  );
  const published: string[] = [];
  const types = new Map(RESOURCE_TYPES.map((type) => [type.plural, type]));
  const plugins = new PluginCatalog(null);
  const fields = new EncryptedFields(plugins, new Keyring(["0123456789abcdef"]), true, () => {});
  const state = new ConfigurationState(types, plugins, fields, ({ kind, id, value }) =>
    published.push(`${value === null ? "-" : "+"}${kind}/${id}`),
  );
  let onSlice: () => void = () => {};
  const batch = {
    begin: () => void published.push("begin"),
    end: async () => void published.push("end"),
  };
  const feed = new StoreFeed(store, state, { onLoaded: () => {}, onSlice: () => onSlice(), batch }, log);
  const nextSlice = async () =>
    await new Promise<void>((resolve) => {
      onSlice = resolve;
    });
  return { store, state, feed, published, nextSlice };
}

const route = (uri: string) => JSON.stringify({ uri, upstream: { nodes: { "127.0.0.1:80": 1 } } });

test("a resync publishes what is different and nothing else", async () => {
  const { store, feed, published, nextSlice } = parts("resync");
  for (const id of ["same", "changed", "gone"]) {
    await store.write([{ type: "put", key: `/routes/${id}`, value: route(`/${id}`) }]);
  }
  await feed.start();
  assert.deepEqual(published.splice(0).sort(), ["+route/changed", "+route/gone", "+route/same"]);
  store.isDown = true;
  // The watch is told of none of it: only the load that follows can show it.
  await store.inner.write([
    { type: "put", key: "/routes/changed", value: route("/other") },
    { type: "delete", key: "/routes/gone" },
    { type: "put", key: "/routes/new", value: route("/new") },
  ]);
  assert.equal(published.length, 0);
  const slice = nextSlice();
  store.isDown = false;
  await slice;
  await feed.whenTaken(4);
  assert.deepEqual(published.sort(), ["+route/changed", "+route/new", "-route/gone"]);
  await store.write([{ type: "put", key: "/routes/later", value: route("/later") }]);
  await feed.whenTaken(5);
  assert.ok(published.includes("+route/later"), "it watches again");
  feed.stop();
  await store.close();
});

test("nobody is left waiting for a revision that a restored store does not have", async () => {
  const { store, feed } = parts("restored");
  await store.write([{ type: "put", key: "/routes/1", value: route("/1") }]);
  await feed.start();
  const taken = feed.whenTaken(1000);
  store.listener!.onResync();
  await taken;
  assert.equal(feed.revision, 1);
  feed.stop();
  await store.close();
});

test("a store that cannot be read is tried again and takes nothing away", async () => {
  const { store, state, feed, nextSlice } = parts("down");
  await store.write([{ type: "put", key: "/routes/1", value: route("/1") }]);
  await feed.start();
  store.isDown = true;
  const { listener } = store;
  listener!.onResync();
  await store.whenLoaded(2);
  assert.equal(state.count("routes"), 1);
  store.listener = null;
  store.isDown = false;
  await nextSlice();
  assert.equal(store.loads, 3);
  assert.equal(errors.length, 1);
  assert.equal(state.count("routes"), 1);
  feed.stop();
  await store.close();
});

test("a bulk of changes is taken in slices, whole and in order", async () => {
  const { store, state, feed } = parts("bulk");
  await feed.start();
  const writes: Promise<number>[] = [];
  for (let i = 0; i < 3000; i++) {
    writes.push(store.write([{ type: "put", key: `/routes/${i % 1000}`, value: route(`/${i}`) }]));
  }
  const revisions = await Promise.all(writes);
  await feed.whenTaken(Math.max(...revisions));
  assert.equal(state.count("routes"), 1000);
  for (const id of ["0", "999"])
    assert.match(state.get("routes", id)!.published!, new RegExp(`"/${2000 + Number(id)}"`));
  feed.stop();
  await store.close();
});

test("a change of many is taken in slices, as one; what comes after it waits", async () => {
  const { store, state, feed, published } = parts("large");
  await feed.start();
  const { listener } = store;
  const count = 3000;
  const events = Array.from({ length: count }, (_, i) => {
    const item = { key: `/routes/${i}`, value: route(`/r${i}`), createRevision: 1, modRevision: 1 };
    return { type: "put", item } as const;
  });
  listener!.onChange({ revision: 1, events });
  listener!.onChange({ revision: 2, events: [{ type: "delete", key: "/routes/0", modRevision: 2 }] });
  assert.ok(state.count("routes") < count);
  assert.equal(feed.isSettled, false);
  await feed.whenTaken(2);
  assert.equal(state.count("routes"), count - 1);
  assert.deepEqual([published[0], published[count + 1], published.at(-1)], ["begin", "end", "-route/0"]);
  feed.stop();
});

test("a load anew ends a change that is only half taken", async () => {
  const { store, state, feed } = parts("half");
  await store.write([{ type: "put", key: "/routes/kept", value: route("/kept") }]);
  await feed.start();
  const { listener } = store;
  const events = Array.from({ length: 3000 }, (_, i) => {
    const item = { key: `/routes/${i}`, value: route(`/r${i}`), createRevision: 1, modRevision: 1 };
    return { type: "put", item } as const;
  });
  listener!.onChange({ revision: 2, events });
  listener!.onResync();
  await store.whenLoaded(2);
  while (!feed.isSettled) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(state.keys(), ["/routes/kept"]);
  feed.stop();
});
