import assert from "node:assert/strict";
import { test } from "node:test";
import type { Log } from "../../lib/log.ts";
import { silent } from "../../lib/silent-log.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import {
  type StoredItem,
  StoreConflictError,
  type StoreWrite,
  type WriteOptions,
} from "../../store/contract.ts";
import { Keyring } from "../keyring.ts";
import { TicketKey } from "./ticket-key.ts";

/** One item, by compare and swap. */
class OneItemStore {
  item: StoredItem | null = null;
  isDown = false;
  writes = 0;

  get(): Promise<StoredItem | null> {
    return this.isDown ? Promise.reject(new Error("down")) : Promise.resolve(this.item);
  }

  write([write]: StoreWrite[], { expect = {}, isForgotten }: WriteOptions = {}): Promise<number> {
    if (this.isDown) return Promise.reject(new Error("down"));
    assert.ok(write.type === "put" && isForgotten === true);
    const { key, value } = write;
    const revision = this.item?.modRevision ?? 0;
    if (expect[key] !== revision) return Promise.reject(new StoreConflictError(key, expect[key], revision));
    this.writes++;
    this.item = { key, value, createRevision: 1, modRevision: revision + 1 };
    return Promise.resolve(revision + 1);
  }
}

test("nodes on one store have one key of session tickets, and one of them replaces it in time", async (t) => {
  const store = new OneItemStore();
  const warned: string[] = [];
  const warn = (message: string, fields?: object): void =>
    void warned.push(`${message} ${JSON.stringify(fields)}`);
  const log: Log = { ...silent, warn, error: warn };
  let nowMs = 1_000_000;
  const seen: string[][] = [[], [], []];
  const nodes = seen.map((keys, i) => {
    const cipher = new Keyring([i === 2 ? "another-key-here" : "key-of-the-tests"]);
    const node = new TicketKey({ store, cipher, log, now: () => nowMs, random: () => 0.5 });
    t.after(() => node.close());
    return { node, take: ({ value }: ConfigurationItem) => void keys.push(value!) };
  });
  const [first, second, stranger] = nodes;
  await Promise.all([first.node.start(first.take), second.node.start(second.take)]);
  assert.equal(store.writes, 1);
  assert.equal(seen[0].length, 1);
  assert.deepEqual(seen[0], seen[1]);
  const { key } = JSON.parse(seen[0][0]) as { key: string };
  assert.equal(Buffer.from(key, "base64").length, 48);
  assert.ok(!store.item!.value.includes(key));
  assert.equal(first.node.item!.value, seen[0][0]);

  nowMs += 86_399_000;
  await Promise.all([first.node.look(), second.node.look()]);
  assert.equal(store.writes, 1);
  nowMs += 2000;
  store.isDown = true;
  await first.node.look();
  assert.match(warned.pop()!, /not shared; the one before serves on .*down/);
  assert.equal(first.node.item!.value, seen[0][0]);
  store.isDown = false;
  await Promise.all([first.node.look(), second.node.look()]);
  assert.equal(store.writes, 2);
  assert.equal(seen[0].length, 2);
  assert.deepEqual(seen[0], seen[1]);
  assert.notEqual(seen[0][1], seen[0][0]);
  assert.deepEqual(warned, []);

  // By a clock that is a year ahead, or by somebody who wants to keep it.
  const ahead = JSON.parse(store.item!.value) as object;
  store.item!.value = JSON.stringify({ ...ahead, rotate_at: nowMs + 365 * 86_400_000 });
  await first.node.look();
  await second.node.look();
  assert.equal(store.writes, 3);
  assert.deepEqual(seen[0], seen[1]);
  assert.notEqual(seen[0][2], seen[0][1]);

  // One that may only read takes what there is, even if its time is over.
  nowMs += 2 * 86_400_000;
  const taken: string[] = [];
  const cipher = new Keyring(["key-of-the-tests"]);
  const readOnly = { get: () => store.get(), write: () => Promise.reject(new Error("forbidden")) };
  const reader = new TicketKey({ store: readOnly, cipher, log, now: () => nowMs });
  t.after(() => reader.close());
  await reader.start(({ value }) => void taken.push(value!));
  assert.deepEqual(taken, [seen[0][2]]);
  assert.match(warned.pop()!, /forbidden/);
  nowMs -= 2 * 86_400_000;

  // With another keyring it cannot be read, and stays as it is.
  await stranger.node.start(stranger.take);
  await stranger.node.look();
  assert.equal(warned.length, 1);
  assert.match(warned[0], /a key that the keyring does not have/);
  assert.equal(stranger.node.item, null);
  assert.equal(store.writes, 3);
});
