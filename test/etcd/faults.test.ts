/** What becomes of a store over a real etcd when members die, stop, forget, or come back as they were before. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type StoreChange, StoreUnavailableError } from "../../src/store/contract.ts";
import { EtcdClient } from "../../src/store/etcd/client.ts";
import { Landmark } from "../../src/store/etcd/landmark.ts";
import { EtcdWatch } from "../../src/store/etcd/watch.ts";
import { WatchRecorder } from "../../src/store/testkit.ts";
import { LossyProxy } from "./lossy-proxy.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { Mirror, openStore, storeOptions } from "./stores.ts";
import { freePort } from "../ports/free-port.ts";

const route = (n: number) => ({ type: "put", key: `/routes/${n}`, value: JSON.stringify({ n }) }) as const;

describe("a store over etcd", { skip: WITHOUT_ETCD }, () => {
  test("asks for a load anew where the past was compacted, and goes on where it was not", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const store = openStore(t, storeOptions(cluster.endpoints));
    await store.write([route(1)]);
    const before = (await store.load()).revision;
    for (let i = 2; i < 6; i++) await store.write([route(i)]);
    const { revision } = await store.load();
    await cluster.ctl("compact", String(revision - 1));
    const late = new WatchRecorder(store, before);
    await late.until((seen) => seen.resyncs === 1);
    assert.deepEqual(late.changes, []);
    const timely = new WatchRecorder(store, revision);
    await store.write([route(6)]);
    await timely.until((seen) => seen.changes.length === 1);
    // What was told last is compacted when the connection breaks, and still what the cluster has.
    await cluster.ctl("compact", String((await store.load()).revision));
    await cluster.killAll();
    await cluster.startAll();
    await store.write([route(7)]);
    await timely.until((seen) => seen.changes.length === 2);
    assert.equal(timely.resyncs, 0);
    late.stop();
    timely.stop();
  });

  test("does not load anew for what was compacted while its own keys were quiet", async (t) => {
    const flags = ["--experimental-watch-progress-notify-interval", "100ms"];
    const cluster = await EtcdCluster.start(t, { flags });
    const options = storeOptions(cluster.endpoints);
    const store = openStore(t, options);
    const from = await store.write([route(1)]);
    const client = new EtcdClient(options, options.log);
    t.after(() => client.close());
    const end = new AbortController();
    const changes: number[] = [];
    let resyncs = 0;
    const listener = {
      onChange: ({ revision }: StoreChange) => changes.push(revision),
      onResync: () => resyncs++,
    };
    const landmark = new Landmark(options.prefix);
    const watch = new EtcdWatch(client, landmark, options.prefix, from, listener, end.signal, options.log);
    const over = watch.run();
    await cluster.put("/elsewhere", "1");
    await cluster.put("/elsewhere", "2");
    await watch.reached(from + 2);
    await cluster.ctl("compact", String(from + 2));
    await cluster.killAll();
    await cluster.startAll();
    const next = await store.write([route(2)]);
    await watch.reached(next);
    assert.deepEqual([changes, resyncs], [[next], 0]);
    end.abort();
    await over;
  });

  test("takes over a restored backup, also one whose revision is beyond by then", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const store = openStore(t, storeOptions(cluster.endpoints));
    await store.write([route(1)]);
    const snapshot = join(cluster.folder, "backup");
    await cluster.ctl("snapshot", "save", snapshot);
    for (let i = 2; i < 9; i++) await store.write([route(i)]);
    const mirror = await Mirror.of(t, store);
    assert.equal(mirror.items.size, 8);

    await cluster.restore(snapshot);
    await mirror.until(({ items }) => items.size === 1);
    assert.equal(mirror.resyncs, 1);
    await store.write([route(50)]);
    await mirror.until(({ items }) => items.has("/routes/50"));

    // The same again, but others have written much before this node sees it.
    const port = await freePort();
    const aside = `http://127.0.0.1:${port}`;
    await cluster.restore(snapshot, aside);
    const other = openStore(t, storeOptions([aside]));
    for (let i = 100; i < 140; i++) await other.write([route(i)]);
    await cluster.killAll();
    await cluster.startAll();
    await mirror.until(({ items }) => items.has("/routes/139"));
    assert.equal(mirror.items.size, 41);
    assert.equal(mirror.resyncs, 2);
    assert.notEqual(store.identity, "");
  });

  test("says that it is unavailable while no member answers, and is back by itself", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const told: string[] = [];
    const log = { info: (text: string) => told.push(text), warn: (text: string) => told.push(text) };
    const store = openStore(t, storeOptions(cluster.endpoints, { log }));
    assert.deepEqual(store.contact(), { isReachable: false, lastAt: null });
    const mirror = await Mirror.of(t, store);
    await store.write([route(1)]);
    assert.ok(store.contact().isReachable);
    await cluster.killAll();
    await assert.rejects(store.write([route(2)]), StoreUnavailableError);
    await assert.rejects(store.get("/routes/1"), StoreUnavailableError);
    await assert.rejects(store.load(), StoreUnavailableError);
    assert.ok(!store.contact().isReachable);
    await cluster.startAll();
    const restartedAt = Date.now();
    await cluster.put("/apisix/routes/3", "{}");
    await mirror.until(({ items }) => items.has("/routes/3"));
    assert.ok(store.contact().isReachable);
    // Not the load, a probe: what the watch has told is as new as that.
    while (store.contact().lastAt! < restartedAt) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(Object.keys(mirror.values), ["/routes/1", "/routes/3"]);
    assert.equal(mirror.resyncs, 0);
    assert.deepEqual(told, [
      "the etcd does not answer: the configuration stays as it is",
      "the etcd answers again",
    ]);
  });

  test("does a write once whose answer is lost, and answers it", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const proxy = await LossyProxy.start(t, cluster.endpoints[0]);
    const direct = openStore(t, storeOptions(cluster.endpoints));
    const store = openStore(t, storeOptions([proxy.url]));
    await store.write([route(0)]);
    const recorder = new WatchRecorder(direct, (await direct.load()).revision);
    proxy.isOpen = false;
    const writing = store.write([route(1)], { expect: { "/routes/1": 0 }, author: "ann" });
    await recorder.until((seen) => seen.changes.length === 1);
    proxy.isOpen = true;
    proxy.cut();
    assert.equal(await writing, recorder.revisions[0]);
    assert.equal((await direct.history("/routes/1", 10)).length, 1);
    assert.equal((await direct.get("/routes/1"))!.modRevision, recorder.revisions[0]);
    recorder.stop();
  });

  test("leaves a member that is silent although its connections stand", async (t) => {
    const cluster = await EtcdCluster.start(t, { members: 2 });
    const proxies = await Promise.all(cluster.endpoints.map((endpoint) => LossyProxy.start(t, endpoint)));
    const store = openStore(t, storeOptions(proxies.map(({ url }) => url)));
    const mirror = await Mirror.of(t, store);
    await store.write([route(1)]);
    const silent = proxies.find(({ url }) => url === store.endpoint)!;
    silent.isOpen = false;
    // Nothing is asked of the store: it finds out by itself.
    await cluster.put("/apisix/routes/2", "{}");
    await mirror.until(({ items }) => items.size === 2);
    assert.notEqual(store.endpoint, silent.url);
    await store.write([route(3)]);
    await mirror.until(({ items }) => items.size === 3);
    assert.equal(mirror.resyncs, 0);
  });

  test("loses no write and does none twice while members are killed and stopped", async (t) => {
    const cluster = await EtcdCluster.start(t, { members: 3 });
    const writer = openStore(t, storeOptions(cluster.endpoints, { timeoutMs: 20_000 }));
    const reader = openStore(t, storeOptions(cluster.endpoints.toReversed()));
    const mirror = await Mirror.of(t, reader);
    const own = await Mirror.of(t, writer);
    let written = 0;
    let isOver = false;
    const writing = (async () => {
      while (!isOver) {
        // All on one key: each revision of it counts.
        await writer.write([{ type: "put", key: "/routes/count", value: String(++written) }, route(written)]);
      }
    })();
    const rounds = async (count: number) => {
      const from = written;
      await mirror.until(({ items }) => Number(items.get("/routes/count")?.value ?? 0) >= from + count);
    };
    const used = () => cluster.members.find(({ clientUrl }) => clientUrl === writer.endpoint)!;
    await rounds(20);
    const killed = used();
    await killed.kill();
    await rounds(20);
    await killed.start();
    const leader = await cluster.leader();
    await leader.kill();
    await rounds(20);
    await leader.start();
    const stopped = used();
    stopped.pause();
    await rounds(20);
    stopped.resume();
    await rounds(20);
    isOver = true;
    await writing;
    await Promise.all(
      [mirror, own].map((each) => each.until(({ items }) => items.has(`/routes/${written}`))),
    );
    assert.equal(mirror.items.size, written + 1);
    assert.deepEqual(mirror.values, own.values);
    const versions = await writer.history("/routes/count", 10_000);
    assert.deepEqual(
      versions.map(({ value }) => value),
      Array.from({ length: written }, (_, i) => String(written - i)),
    );
    assert.equal(mirror.resyncs + own.resyncs, 0);
  });
});
