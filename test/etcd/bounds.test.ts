/** Large items, large batches and a long history in an etcd with the limits that it has by default. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { StoreConflictError, StoreRefusedError, type StoreWrite } from "../../src/store/contract.ts";
import { EtcdClient } from "../../src/store/etcd/client.ts";
import { EtcdHistory } from "../../src/store/etcd/history.ts";
import { WatchRecorder } from "../../src/store/testkit.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { openStore, storeOptions } from "./stores.ts";

const MEBIBYTE = 1024 * 1024;

const puts = (count: number, value = "{}"): StoreWrite[] =>
  Array.from({ length: count }, (_, i) => ({ type: "put", key: `/routes/${i}`, value }));

describe("a store over etcd", { skip: WITHOUT_ETCD }, async () => {
  const cluster = WITHOUT_ETCD === false ? await EtcdCluster.start({ after }) : null;
  let number = 0;
  const newOptions = (change = {}) =>
    storeOptions(cluster!.endpoints, { prefix: `/bounds${number++}`, ...change });

  test("loads items that fill more than one answer, and watches them", async (t) => {
    const store = openStore(t, newOptions());
    const value = "x".repeat(1.2 * MEBIBYTE);
    const recorder = new WatchRecorder(store, (await store.load()).revision);
    for (let i = 0; i < 40; i++) await store.write([{ type: "put", key: `/routes/${i}`, value }]);
    const { items } = await store.load();
    assert.equal(items.length, 40);
    assert.ok(items.every((item) => item.value === value));
    await recorder.until((seen) => seen.changes.length === 40);
    recorder.stop();
    // All of it as one answer to a late watch.
    const late = new WatchRecorder(store, 0);
    await late.until((seen) => seen.changes.length >= 40 || seen.resyncs > 0);
    assert.equal(late.resyncs, 0);
    late.stop();
    assert.equal((await store.history("/routes/0", 10))[0].value, value);
  });

  test("writes as one what etcd takes as one", async (t) => {
    const store = openStore(t, newOptions());
    const recorder = new WatchRecorder(store, (await store.load()).revision);
    for (const count of [60, 61, 1400]) {
      const revision = await store.write(puts(count, String(count)), { expect: { "/other": 0 } });
      const change = recorder.changes.at(-1)!;
      assert.deepEqual([change.revision, change.events.length], [revision, count]);
    }
    const deletions = puts(1400).map(({ key }) => ({ type: "delete", key }) as const);
    await store.write(deletions);
    assert.deepEqual((await store.load()).items, []);
    assert.equal((await store.history("/routes/1399", 10)).length, 2);
    recorder.stop();
  });

  test("holds a thousand conditions by their revision", async (t) => {
    const store = openStore(t, newOptions());
    const recorder = new WatchRecorder(store, (await store.load()).revision);
    const expect = Object.fromEntries(puts(1000).map(({ key }) => [key, 0]));
    const expectedAt = await store.write(puts(1));
    const other = await store.write([{ type: "put", key: "/upstreams/1", value: "{}" }]);
    await assert.rejects(store.write(puts(1000), { expect, expectedAt }), (error: unknown) => {
      assert.ok(error instanceof StoreConflictError);
      assert.deepEqual([error.key, error.actual], ["/upstreams/1", other]);
      return true;
    });
    const revision = await store.write(puts(1000), { expect, expectedAt: other, author: "a" });
    assert.deepEqual([recorder.changes.at(-1)!.revision, recorder.changes.length], [revision, 3]);
    recorder.stop();
  });

  test("refuses what etcd does not take, and says why", async (t) => {
    const store = openStore(t, newOptions());
    const refused = (text: RegExp) => (error: unknown) =>
      error instanceof StoreRefusedError && text.test(error.message);
    await assert.rejects(
      store.write(puts(5000)),
      refused(/does not take so much at once: given 5000 changes, expected at most 1504/),
    );
    const large = puts(1, "x".repeat(3 * MEBIBYTE));
    await assert.rejects(store.write(large), refused(/does not take so much at once: .*large/));
    assert.deepEqual((await store.load()).items, []);
    await store.write(puts(1));
  });

  test("keeps a history within its bound, the newest of all keys", async (t) => {
    const options = newOptions({ historyRevisions: 20 });
    const store = openStore(t, options);
    for (let i = 0; i < 30; i++) await store.write(puts(2, String(i)));
    const client = new EtcdClient(options, options.log);
    t.after(() => client.close());
    const history = new EtcdHistory(client, options.prefix, options);
    assert.equal(await history.trim(), 40);
    assert.equal(await history.trim(), 0);
    const versions = await store.history("/routes/1", 100);
    assert.deepEqual(
      versions.map(({ value }) => value),
      Array.from({ length: 10 }, (_, i) => String(29 - i)),
    );
  });

  test("forgets by age, and keeps no history when that is set", async (t) => {
    const brief = openStore(t, newOptions({ historyDays: 1 / 86_400 }));
    await brief.write(puts(1, "1"), { author: "ann" });
    while ((await brief.history("/routes/0", 10))[0].author === "ann") {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const none = openStore(t, newOptions({ historyRevisions: 0 }));
    await none.write(puts(1, "1"), { author: "ann" });
    assert.deepEqual(
      (await none.history("/routes/0", 10)).map(({ author }) => author),
      [null],
    );
  });
});
