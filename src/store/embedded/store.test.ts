import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { testStoreContract, WatchRecorder } from "../testkit.ts";
import { StoreConflictError } from "../contract.ts";
import { openDatabase, StoreFileError } from "./database.ts";
import { EmbeddedStore } from "./store.ts";

const bounds = { historyRevisions: 10_000, historyDays: 30 };

function newFolder(): { file: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "cardea-store-"));
  return { file: join(folder, "store.db"), remove: () => rmSync(folder, { recursive: true }) };
}

testStoreContract("embedded store", async () => {
  const { file, remove } = newFolder();
  let store = new EmbeddedStore({ file, ...bounds });
  return {
    store,
    reopen: async () => {
      await store.close();
      store = new EmbeddedStore({ file, ...bounds });
      return store;
    },
    dispose: async () => {
      await store.close();
      remove();
    },
  };
});

describe("embedded store", () => {
  test("P2: has the disk flush its log at every commit", () => {
    const { file, remove } = newFolder();
    const database = openDatabase(file);
    // A kill of the process does not show it: only a loss of power takes what was not flushed.
    const FULL = 2;
    assert.equal(database.prepare("PRAGMA synchronous").get()!.synchronous, FULL);
    assert.equal(database.prepare("PRAGMA journal_mode").get()!.journal_mode, "wal");
    database.close();
    remove();
  });

  test("fills a large write in slices; nobody sees a part of it", async () => {
    const { file, remove } = newFolder();
    const store = new EmbeddedStore({ file, ...bounds });
    const first = await store.write([{ type: "put", key: "/r/0", value: "old" }]);
    const recorder = new WatchRecorder(store, first);
    const batch = Array.from(
      { length: 20_000 },
      (_, i) => ({ type: "put", key: `/r/${i}`, value: "new" }) as const,
    );
    let turns = 0;
    let isWriting = true;
    const count = (): void => {
      turns++;
      if (isWriting) setImmediate(count);
    };
    setImmediate(count);
    const large = store.write(batch, { expect: { "/r/0": first } }).finally(() => {
      isWriting = false;
    });
    const conflicting = store.write([{ type: "put", key: "/r/1", value: "other" }], {
      expect: { "/r/1": 0 },
    });
    while (turns < 3) await nextTurn();
    assert.equal(isWriting, true);
    assert.equal(recorder.changes.length, 0);
    const late = new WatchRecorder(store, first);
    const [{ items }, read] = [await store.load(), store.get("/r/0")];
    assert.equal(isWriting, true);
    assert.equal(late.changes.length, 0, "who begins to watch meanwhile sees none of it, either");
    assert.deepEqual(
      items.map(({ value }) => value),
      ["old"],
    );
    await assert.rejects(conflicting, StoreConflictError);
    assert.equal((await read)!.value, "new");
    assert.equal(await large, first + 1);
    assert.equal(recorder.changes[0].events.length, batch.length);
    await late.until(({ changes }) => changes.length === 1);
    assert.equal(late.changes[0].events.length, batch.length);
    late.stop();
    const stale = store.write([...batch, { type: "delete", key: "/none" }], { expect: { "/r/9": first } });
    await assert.rejects(stale, StoreConflictError);
    assert.equal(await store.write([{ type: "put", key: "/r/0", value: "newest" }]), first + 2);
    recorder.stop();
    await store.close();
    remove();
  });

  test("P2: writes that share a transaction which fails are refused, leave nothing, and cost no later one", async () => {
    const { file, remove } = newFolder();
    const store = new EmbeddedStore({ file, ...bounds });
    const first = await store.write([{ type: "put", key: "/a", value: "1" }]);
    const recorder = new WatchRecorder(store, first);
    // What SQLite cannot bind fails in the midst of the transaction, as a full disk does.
    const broken = { type: "put", key: "/b", value: {} as string } as const;
    const results = await Promise.allSettled([
      store.write([{ type: "put", key: "/a", value: "2" }]),
      store.write([broken]),
      store.write([{ type: "delete", key: "/a" }]),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["rejected", "rejected", "rejected"],
    );
    assert.equal((await store.get("/a"))!.value, "1");
    assert.equal((await store.load()).revision, first);
    assert.equal(await store.write([{ type: "put", key: "/a", value: "3" }]), first + 1);
    await recorder.until(({ changes }) => changes.length === 1);
    assert.deepEqual(recorder.revisions, [first + 1]);
    recorder.stop();
    await store.close();
    remove();
  });

  test("takes over a file from before versions knew how long they were to live", async () => {
    const { file, remove } = newFolder();
    let store = new EmbeddedStore({ file, ...bounds });
    await store.write([{ type: "put", key: "/a", value: "1", ttl: 3600 }]);
    await store.close();
    const old = new DatabaseSync(file);
    old.exec("ALTER TABLE history DROP COLUMN ttl");
    old.close();
    store = new EmbeddedStore({ file, ...bounds });
    await store.write([{ type: "put", key: "/a", value: "2", ttl: 60 }]);
    const entries = await store.history("/a", 10);
    assert.deepEqual(
      entries.map(({ value, ttl }) => [value, ttl]),
      [
        ["2", 60],
        ["1", undefined],
      ],
    );
    await store.close();
    remove();
  });

  test("forgets the past beyond its bound and tells late watchers to load anew", async () => {
    const { file, remove } = newFolder();
    const store = new EmbeddedStore({ file, historyRevisions: 50, historyDays: 30 });
    await store.write([{ type: "put", key: "/kept", value: "1" }]);
    const writes: Promise<number>[] = [];
    for (let i = 0; i < 500; i++) writes.push(store.write([{ type: "put", key: "/k", value: String(i) }]));
    await Promise.all(writes);
    // The compaction works in later turns; each round of a write gives it the chance to.
    while ((await store.history("/k", 1000)).length > 200) await nextTurn();
    assert.equal((await store.history("/kept", 10)).length, 1, "the newest version of what exists stays");
    const late = new WatchRecorder(store, 1);
    await late.until((seen) => seen.resyncs === 1);
    const timely = new WatchRecorder(store, store.revision - 10);
    await timely.until((seen) => seen.changes.length === 10);
    assert.equal(timely.resyncs, 0);
    await store.close();
    remove();
  });

  test("forgets by age too", async () => {
    const { file, remove } = newFolder();
    const day = 86_400_000;
    let now = Date.now();
    const clock = () => now;
    const first = new EmbeddedStore({ file, historyRevisions: 1_000_000, historyDays: 7, now: clock });
    const writes: Promise<number>[] = [];
    for (let i = 0; i < 300; i++) writes.push(first.write([{ type: "put", key: "/k", value: String(i) }]));
    await Promise.all(writes);
    await first.close();
    now += 8 * day;
    const second = new EmbeddedStore({ file, historyRevisions: 1_000_000, historyDays: 7, now: clock });
    while ((await second.history("/k", 1000)).length > 1) await nextTurn();
    assert.equal((await second.get("/k"))!.value, "299");
    await second.close();
    remove();
  });

  test("forgets the oldest versions when all past ones have more bytes than allowed", async () => {
    const { file, remove } = newFolder();
    const limits = { historyRevisions: 1_000_000, historyDays: 30, historyBytes: 100_000 };
    const first = new EmbeddedStore({ file, ...limits });
    const value = (i: number): string => `${i}${"\u00e4".repeat(5000)}`;
    // What exists is not counted, however large it is.
    await first.write([{ type: "put", key: "/large", value: "x".repeat(500_000) }]);
    for (let i = 0; i < 8; i++) await first.write([{ type: "put", key: "/k", value: value(i) }]);
    assert.equal((await first.history("/k", 100)).length, 8, "they have fewer bytes");
    for (let i = 8; i < 40; i++) await first.write([{ type: "put", key: "/k", value: value(i) }]);
    while ((await first.history("/k", 100)).length > 10) await nextTurn();
    assert.equal((await first.history("/k", 100)).length, 10, "nine past ones and the newest");
    await first.write([{ type: "delete", key: "/large" }]);
    while ((await first.history("/large", 100)).length > 1) await nextTurn();
    await first.close();
    // What the file holds is counted anew at the next start.
    const second = new EmbeddedStore({ file, ...limits, historyBytes: 10_000 });
    while ((await second.history("/k", 100)).length > 1) await nextTurn();
    assert.equal((await second.get("/k"))!.value, value(39));
    await second.close();
    remove();
  });

  test("gives the newest versions of a large item, as many as fit into memory", async () => {
    const { file, remove } = newFolder();
    const store = new EmbeddedStore({ file, ...bounds });
    const filling = "x".repeat(1024 * 1024);
    for (let i = 0; i < 40; i++) await store.write([{ type: "put", key: "/k", value: `${i}${filling}` }]);
    const entries = await store.history("/k", 100);
    assert.equal(entries.length, 31);
    assert.equal(entries[0].revision, 40);
    assert.equal((await store.history("/k", 3)).length, 3);
    await store.close();
    remove();
  });

  test("two processes on one file see each other's writes in order", async () => {
    const { file, remove } = newFolder();
    const one = new EmbeddedStore({ file, ...bounds });
    const two = new EmbeddedStore({ file, ...bounds });
    const recorder = new WatchRecorder(one, 0);
    const writes: Promise<number>[] = [];
    for (let i = 0; i < 20; i++) {
      writes.push(one.write([{ type: "put", key: "/k", value: `one ${i}` }]));
      writes.push(two.write([{ type: "put", key: "/k", value: `two ${i}` }]));
    }
    const revisions = await Promise.all(writes);
    assert.equal(new Set(revisions).size, 40);
    await recorder.until((seen) => seen.changes.length === 40);
    assert.deepEqual(
      recorder.revisions,
      Array.from({ length: 40 }, (_, i) => i + 1),
    );
    await one.close();
    await two.close();
    remove();
  });

  test("prints no warning of an experimental module", async () => {
    const { spawn } = await import("node:child_process");
    const child = spawn(process.execPath, [
      "-e",
      `await import(${JSON.stringify(new URL("store.ts", import.meta.url).href)})`,
    ]);
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(child, "close");
    assert.equal(text, "");
  });
});

describe("a file that cannot be used is refused and left as it is:", () => {
  const damages: Record<string, (file: string) => void> = {
    "truncated to half": (file) => truncateSync(file, statSync(file).size / 2),
    "truncated to nothing": (file) => truncateSync(file, 0),
    "overwritten in the middle": (file) => {
      const bytes = readFileSync(file);
      bytes.fill(0xff, 4096, bytes.length - 100);
      writeFileSync(file, bytes);
    },
    "no database at all": (file) => writeFileSync(file, "this is a text\n".repeat(1000)),
    "a database of another program": (file) => {
      rmSync(file);
      const other = new DatabaseSync(file);
      other.exec("CREATE TABLE t (a)");
      other.close();
    },
    "of a newer version": (file) => {
      const database = new DatabaseSync(file);
      database.exec("PRAGMA user_version = 99");
      database.close();
    },
  };
  for (const [name, damage] of Object.entries(damages)) {
    test(name, async () => {
      const { file, remove } = newFolder();
      const store = new EmbeddedStore({ file, ...bounds });
      const writes: Promise<number>[] = [];
      for (let i = 0; i < 500; i++)
        writes.push(store.write([{ type: "put", key: `/r/${i}`, value: "x".repeat(300) }]));
      await Promise.all(writes);
      await store.close();
      damage(file);
      const before = readFileSync(file);
      assert.throws(
        () => new EmbeddedStore({ file, ...bounds }),
        (error: unknown) => error instanceof StoreFileError && error.message.includes(file),
      );
      assert.deepEqual(readFileSync(file), before);
      remove();
    });
  }

  test("missing while its log is there", () => {
    const { file, remove } = newFolder();
    writeFileSync(`${file}-wal`, "x");
    assert.throws(() => new EmbeddedStore({ file, ...bounds }), StoreFileError);
    assert.equal(readFileSync(`${file}-wal`, "utf8"), "x");
    remove();
  });
});
