/**
 * What every store must do, as tests: each implementation hands in a way to open itself and passes all.
 *
 * Nothing here knows how a store keeps its data. Waiting is for events of the store, never for time.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Store,
  type StoreChange,
  StoreConflictError,
  type StoreListener,
  StoreUnavailableError,
} from "./contract.ts";

export interface StoreUnderTest {
  store: Store;
  /** Closes the store and opens the same content again. */
  reopen(): Promise<Store>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** Registers the tests of the contract for the stores that `open` makes, each new and empty. */
export function testStoreContract(name: string, open: () => Promise<StoreUnderTest>): void {
  for (const [sentence, run] of Object.entries(CASES)) {
    test(`${name}: ${sentence}`, async () => {
      const subject = await open();
      try {
        await run(subject);
      } finally {
        await subject.dispose();
      }
    });
  }
}

/** Collects what a watch delivers and lets a test wait for it. */
export class WatchRecorder implements StoreListener {
  readonly changes: StoreChange[] = [];
  resyncs = 0;
  readonly #abort = new AbortController();
  #wake: (() => void) | null = null;

  constructor(store: Store, from: number) {
    store.watch(from, this, this.#abort.signal);
  }

  onChange(change: StoreChange): void {
    this.changes.push(change);
    this.#wake?.();
  }

  onResync(): void {
    this.resyncs++;
    this.#wake?.();
  }

  stop(): void {
    this.#abort.abort();
  }

  async until(holds: (recorder: WatchRecorder) => boolean): Promise<void> {
    while (!holds(this)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  get revisions(): number[] {
    return this.changes.map((change) => change.revision);
  }
}

const CASES: Record<string, (subject: StoreUnderTest) => Promise<void>> = {
  "a new store is empty and has an identity": async ({ store }) => {
    assert.notEqual(store.identity, "");
    assert.deepEqual((await store.load()).items, []);
    assert.equal(await store.get("/routes/1"), null);
  },

  "a store that answers says so, and since when nothing newer is known": async ({ store }) => {
    const before = Date.now();
    await store.load();
    await store.write([{ type: "put", key: "/a", value: "1" }]);
    const { isReachable, lastAt } = store.contact();
    assert.equal(isReachable, true);
    assert.ok(lastAt !== null && lastAt >= before);
  },

  "a store that is closed is unavailable": async ({ store }) => {
    await store.close();
    assert.equal(store.contact().isReachable, false);
    await assert.rejects(store.load(), StoreUnavailableError);
    await assert.rejects(store.get("/a"), StoreUnavailableError);
    await assert.rejects(store.write([{ type: "put", key: "/a", value: "1" }]), StoreUnavailableError);
  },

  "what was written is read, with its revisions": async ({ store }) => {
    const first = await store.write([{ type: "put", key: "/routes/1", value: "{}" }]);
    const second = await store.write([{ type: "put", key: "/routes/1", value: '{"a":1}' }]);
    assert.ok(second > first);
    const expected = { key: "/routes/1", value: '{"a":1}', createRevision: first, modRevision: second };
    assert.deepEqual(await store.get("/routes/1"), expected);
    assert.deepEqual(await store.load(), { revision: second, items: [expected] });
  },

  "content, revision and identity outlive a reopening": async ({ store, reopen }) => {
    const revision = await store.write([{ type: "put", key: "/routes/é", value: '{"name":"ü€𝄞"}' }]);
    const before = await store.load();
    const { identity } = store;
    const again = await reopen();
    assert.equal(again.identity, identity);
    assert.deepEqual(await again.load(), before);
    assert.ok((await again.write([{ type: "delete", key: "/routes/é" }])) > revision);
  },

  "a batch is one revision and one change": async ({ store }) => {
    const before = (await store.load()).revision;
    const recorder = new WatchRecorder(store, before);
    const revision = await store.write([
      { type: "put", key: "/a", value: "1" },
      { type: "put", key: "/b", value: "2" },
    ]);
    await recorder.until((seen) => seen.changes.length > 0);
    assert.deepEqual(recorder.revisions, [revision]);
    assert.deepEqual(
      recorder.changes[0].events.map((event) => event.type),
      ["put", "put"],
    );
    recorder.stop();
  },

  "a conflict leaves the whole batch undone": async ({ store }) => {
    const revision = await store.write([{ type: "put", key: "/a", value: "1" }]);
    const batch = [
      { type: "put", key: "/b", value: "2" } as const,
      { type: "put", key: "/a", value: "3" } as const,
    ];
    await assert.rejects(store.write(batch, { expect: { "/a": revision + 7 } }), (error: unknown) => {
      assert.ok(error instanceof StoreConflictError);
      assert.deepEqual([error.key, error.expected, error.actual], ["/a", revision + 7, revision]);
      return true;
    });
    const state = await store.load();
    assert.deepEqual([state.revision, state.items.length, state.items[0].value], [revision, 1, "1"]);
    await store.write(batch, { expect: { "/a": revision, "/b": 0 } });
    assert.equal((await store.get("/b"))!.value, "2");
  },

  "of concurrent compare-and-swaps exactly one wins": async ({ store }) => {
    const attempts = Array.from({ length: 20 }, (_, i) =>
      store.write([{ type: "put", key: "/counter", value: String(i) }], { expect: { "/counter": 0 } }),
    );
    const outcomes = await Promise.allSettled(attempts);
    assert.equal(outcomes.filter((outcome) => outcome.status === "fulfilled").length, 1);
    const refused = outcomes.filter((outcome) => outcome.status === "rejected");
    assert.ok(refused.every((outcome) => outcome.reason instanceof StoreConflictError));
  },

  "deleting what is not there changes nothing": async ({ store }) => {
    const revision = await store.write([{ type: "put", key: "/a", value: "1" }]);
    assert.equal(await store.write([{ type: "delete", key: "/nothing" }]), revision);
    assert.equal((await store.load()).revision, revision);
  },

  "something deleted and written again is new": async ({ store }) => {
    await store.write([{ type: "put", key: "/a", value: "1" }]);
    await store.write([{ type: "delete", key: "/a" }]);
    assert.equal(await store.get("/a"), null);
    const revision = await store.write([{ type: "put", key: "/a", value: "2" }]);
    assert.equal((await store.get("/a"))!.createRevision, revision);
  },

  "a watch delivers past and present in order without a gap": async ({ store }) => {
    const from = await store.write([{ type: "put", key: "/k", value: "0" }]);
    for (let i = 1; i <= 30; i++) await store.write([{ type: "put", key: "/k", value: String(i) }]);
    const recorder = new WatchRecorder(store, from);
    const live = Array.from({ length: 30 }, (_, i) =>
      store.write([{ type: "put", key: "/k", value: String(31 + i) }]),
    );
    await Promise.all(live);
    await recorder.until((seen) => seen.changes.length >= 60);
    const values = recorder.changes.map(({ events: [event] }) =>
      event.type === "put" ? event.item.value : "",
    );
    assert.deepEqual(
      values,
      Array.from({ length: 60 }, (_, i) => String(i + 1)),
    );
    assert.equal(recorder.resyncs, 0);
    recorder.stop();
  },

  "a watch has delivered a write before the write is answered": async ({ store }) => {
    const recorder = new WatchRecorder(store, (await store.load()).revision);
    const first = await store.write([{ type: "put", key: "/a", value: "1" }]);
    await recorder.until((seen) => seen.changes.length === 1);
    const second = await store.write([{ type: "put", key: "/a", value: "2" }]);
    assert.deepEqual(recorder.revisions, [first, second]);
    recorder.stop();
  },

  "an ended watch hears nothing more": async ({ store }) => {
    const ended = new WatchRecorder(store, 0);
    const other = new WatchRecorder(store, 0);
    ended.stop();
    await store.write([{ type: "put", key: "/a", value: "1" }]);
    await other.until((seen) => seen.changes.length === 1);
    assert.deepEqual(ended.changes, []);
    other.stop();
  },

  "a watch from the future asks for a resync": async ({ store }) => {
    const recorder = new WatchRecorder(store, 1_000_000);
    await recorder.until((seen) => seen.resyncs === 1);
    assert.deepEqual(recorder.changes, []);
    recorder.stop();
  },

  "an entry with a time to live ends as an ordinary deletion": async ({ store }) => {
    const recorder = new WatchRecorder(store, (await store.load()).revision);
    const revision = await store.write([{ type: "put", key: "/a", value: "1", ttl: 1 }]);
    await recorder.until((seen) => seen.changes.length === 2);
    const [event] = recorder.changes[1].events;
    assert.equal(event.type, "delete");
    assert.ok(recorder.changes[1].revision > revision);
    assert.equal(await store.get("/a"), null);
    recorder.stop();
  },

  "any positive time to live is taken, a fraction as well as one without an end": async ({
    store,
    reopen,
  }) => {
    const writes = [2.3456, 1e-4, 2 ** 53, 1e300, Number.MAX_VALUE].map((ttl, i) =>
      store.write([{ type: "put", key: `/${i}`, value: "1", ttl }]),
    );
    // What is written beside them does not suffer.
    writes.push(store.write([{ type: "put", key: "/other", value: "1" }]));
    await Promise.all(writes);
    const again = await reopen();
    const keys = new Set((await again.load()).items.map((item) => item.key));
    for (const key of ["/2", "/3", "/4", "/other"]) assert.ok(keys.has(key), key);
    await again.write([{ type: "put", key: "/after", value: "1" }]);
  },

  "a write without a time to live takes an earlier one away": async ({ store }) => {
    const recorder = new WatchRecorder(store, (await store.load()).revision);
    await store.write([{ type: "put", key: "/a", value: "1", ttl: 1 }]);
    await store.write([{ type: "put", key: "/a", value: "2" }]);
    await store.write([{ type: "put", key: "/b", value: "1", ttl: 1 }]);
    await recorder.until((seen) => seen.changes.length === 4);
    const [event] = recorder.changes[3].events;
    assert.equal(event.type === "delete" && event.key, "/b");
    assert.equal((await store.get("/a"))!.value, "2");
    recorder.stop();
  },

  "the history names every version, newest first, with its author": async ({ store }) => {
    const first = await store.write([{ type: "put", key: "/a", value: "1" }], { author: "ann" });
    const second = await store.write([{ type: "delete", key: "/a" }], { author: "bob" });
    await store.write([{ type: "put", key: "/other", value: "1" }]);
    const entries = await store.history("/a", 10);
    assert.deepEqual(
      entries.map(({ revision, author, value }) => [revision, author, value]),
      [
        [second, "bob", null],
        [first, "ann", "1"],
      ],
    );
    assert.ok(entries.every((entry) => entry.time > 0));
    assert.equal((await store.history("/a", 1)).length, 1);
  },

  "the history tells how long a version was to live": async ({ store }) => {
    await store.write([{ type: "put", key: "/a", value: "1", ttl: 3600 }]);
    await store.write([{ type: "put", key: "/a", value: "2" }]);
    const entries = await store.history("/a", 10);
    assert.deepEqual(
      entries.map(({ value, ttl }) => [value, ttl]),
      [
        ["2", undefined],
        ["1", 3600],
      ],
    );
  },

  "a write that wants everything as it was is refused after any other": async ({ store }) => {
    const changes = [
      { type: "put", key: "/other", value: "1" },
      { type: "delete", key: "/other" },
    ] as const;
    const since = await store.write([{ type: "put", key: "/a", value: "1" }]);
    assert.ok(
      (await store.write([{ type: "put", key: "/a", value: "2" }], { unchangedSince: since })) > since,
    );
    for (const [i, change] of changes.entries()) {
      const unchangedSince = (await store.get("/a"))!.modRevision;
      const revision = await store.write([change]);
      const put = { type: "put", key: "/a", value: `${i}` } as const;
      await assert.rejects(
        store.write([put], { unchangedSince, expect: { "/a": unchangedSince } }),
        (error: unknown) => error instanceof StoreConflictError && error.actual === revision,
      );
      await store.write([put], { unchangedSince: revision });
    }
  },

  "a batch without changes or with a key twice is refused": async ({ store }) => {
    await assert.rejects(store.write([]), TypeError);
    const twice = { type: "put", key: "/a", value: "1" } as const;
    await assert.rejects(store.write([twice, twice]), TypeError);
  },

  "thousands of items load whole": async ({ store }) => {
    const writes = Array.from({ length: 2500 }, (_, i) =>
      store.write([{ type: "put", key: `/r/${i}`, value: "{}" }]),
    );
    await Promise.all(writes);
    const { items } = await store.load();
    assert.equal(items.length, 2500);
    assert.equal(new Set(items.map((item) => item.key)).size, 2500);
  },
};
