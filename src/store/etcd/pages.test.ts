import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { StoreUnavailableError } from "../contract.ts";
import type { EtcdClient } from "./client.ts";
import { EtcdFault } from "./faults.ts";
import { loadPages } from "./pages.ts";
import {
  type KeyValue,
  KeyValueSchema,
  type RangeRequest,
  type RangeResponse,
  RangeResponseSchema,
} from "./protocol/rpc_pb.ts";

const KEYS = 500;

/** Keeps every revision that is not compacted, and changes between two questions, as an etcd in use does. */
class ChangingEtcd {
  readonly #revisions: Map<string, KeyValue>[] = [new Map()];
  /** Revisions below it are gone. */
  compacted = 0;
  /** More keys in an answer are too many. */
  mostKeys = Infinity;
  asked: RangeRequest[] = [];
  between: () => void = () => {};

  get newest(): number {
    return this.#revisions.length - 1;
  }

  change(write: (keys: Map<string, KeyValue>, revision: bigint) => void): void {
    const keys = new Map(this.#revisions.at(-1));
    write(keys, BigInt(this.#revisions.length));
    this.#revisions.push(keys);
  }

  put(name: string, value: string): void {
    this.change((keys, modRevision) => {
      const createRevision = keys.get(name)?.createRevision ?? modRevision;
      const texts = { key: Buffer.from(name), value: Buffer.from(value) };
      keys.set(name, create(KeyValueSchema, { ...texts, createRevision, modRevision }));
    });
  }

  delete(name: string): void {
    this.change((keys) => keys.delete(name));
  }

  /** As `items` of a load. */
  contentAt(revision: number): [string, string][] {
    return [...this.#revisions[revision].values()]
      .map(({ key, value }): [string, string] => [String(key).slice("/apisix".length), String(value)])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }

  async call(_method: unknown, request: RangeRequest): Promise<RangeResponse> {
    this.asked.push(request);
    const header = { revision: BigInt(this.newest) };
    const at = request.revision === 0n ? this.newest : Number(request.revision);
    if (at < this.compacted) throw new EtcdFault("revision", "required revision has been compacted");
    const limit = Number(request.limit);
    if (limit > this.mostKeys) throw new EtcdFault("large-answer", "the answer is too large");
    const found = [...this.#revisions[at].values()]
      .filter(({ key }) => Buffer.compare(key, request.key) >= 0 && Buffer.compare(key, request.rangeEnd) < 0)
      .sort((a, b) => Buffer.compare(a.key, b.key));
    const answer = { header, kvs: found.slice(0, limit), more: found.length > limit };
    this.between();
    return create(RangeResponseSchema, answer);
  }

  asClient(): EtcdClient {
    return this as unknown as EtcdClient;
  }
}

function filled(): ChangingEtcd {
  const etcd = new ChangingEtcd();
  for (let i = 0; i < KEYS; i++) etcd.put(`/apisix/routes/${String(i).padStart(4, "0")}`, `${i}`);
  etcd.put("/other/routes/1", "of others");
  return etcd;
}

function contentOf(items: readonly { key: string; value: string }[]): [string, string][] {
  return items.map(({ key, value }) => [key, value]);
}

test("all pages are of one revision, whatever is written meanwhile", async () => {
  const etcd = filled();
  etcd.delete("/other/routes/1");
  const before = etcd.newest;
  etcd.between = () => {
    etcd.delete("/apisix/routes/0490");
    etcd.put("/apisix/routes/0495", "changed");
    etcd.put("/apisix/routes/0495a", "new");
  };
  const { revision, items } = await loadPages(etcd.asClient(), "/apisix");
  assert.ok(etcd.asked.length > 1);
  assert.equal(revision, before);
  assert.deepEqual(contentOf(items), etcd.contentAt(before));
});

test("a load whose revision is compacted meanwhile begins anew, and ends with the newest", async () => {
  const etcd = filled();
  etcd.delete("/other/routes/1");
  let isCompacted = false;
  etcd.between = () => {
    if (isCompacted) return;
    isCompacted = true;
    etcd.put("/apisix/routes/0495", "changed");
    etcd.compacted = etcd.newest;
  };
  const { revision, items } = await loadPages(etcd.asClient(), "/apisix");
  assert.equal(revision, etcd.newest);
  assert.deepEqual(contentOf(items), etcd.contentAt(etcd.newest));
});

test("an etcd that forgets each revision at once is given up, and said to be out of reach", async () => {
  const etcd = filled();
  etcd.between = () => {
    etcd.put("/apisix/routes/0495", "changed");
    etcd.compacted = etcd.newest;
  };
  await assert.rejects(loadPages(etcd.asClient(), "/apisix"), StoreUnavailableError);
  assert.ok(etcd.asked.length < 100);
});

test("answers that are too large are asked for in smaller parts, and only keys of the prefix are taken", async () => {
  const etcd = filled();
  etcd.mostKeys = 7;
  const { items } = await loadPages(etcd.asClient(), "/apisix");
  assert.equal(items.length, KEYS);
  assert.ok(items.every(({ key }) => key.startsWith("/routes/")));
});
