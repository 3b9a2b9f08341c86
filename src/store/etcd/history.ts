/**
 * Earlier versions, kept in the etcd beside the data under a prefix of their own, which APISIX does not read. A
 * record is written in the same transaction as what it tells, so its revision is that of the change, and a change
 * that was not made has none. What others write into the etcd has no record.
 *
 *     /cardea/history/apisix/routes/1//001763732271000-6b1f0c2a9d3e4f50
 *     {"time":1763732271000,"author":"admin"}
 *     {"uri":"/index.html", ...}
 *
 * The first line is JSON; behind it is the value, as it was stored (secret fields encrypted), compressed where the
 * first line says so, absent for a deletion. Bounds: records end with a lease after some days, and beyond a number
 * the oldest are removed.
 */

import { randomBytes } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { HistoryEntry } from "../contract.ts";
import type { EtcdClient } from "./client.ts";
import { afterKey, endOf, textOf } from "./keys.ts";
import { KV, Lease } from "./protocol/rpc_pb.ts";

export interface HistoryBounds {
  historyRevisions: number;
  historyDays: number;
}

const ROOT = "/cardea/history";
const TIME_DIGITS = 15;
/** Values from this size on are compressed. */
const COMPRESS_FROM_BYTES = 1024;
/** No value can be larger: etcd's own limit can be raised, but not to that. */
const LARGEST_VALUE_BYTES = 64 * 1024 * 1024;
/** Of all values that one call gives. */
const CHARACTERS_GIVEN = 32 * 1024 * 1024;
const RECORDS_GIVEN = 10_000;
const PAGE_RECORDS = 16;

const DAY_SECONDS = 86_400;
/** One lease serves the records of a tenth of the time that they live, a day at most. */
const LEASE_PARTS = 10;
/** etcd's own bound. */
const LONGEST_LEASE_SECONDS = 9_000_000_000;

/** Records written between two looks at how many there are. */
const TRIM_EVERY = 500;
const TRIM_PAGE_KEYS = 1000;
const TRIM_DELETES = 100;
const NEWLINE = 0x0a;

export class EtcdHistory {
  readonly #client: EtcdClient;
  /** Keys of records begin with it, and then have that of the resource. */
  readonly prefix: string;
  readonly #bounds: HistoryBounds;
  readonly #now: () => number;
  #lease: { id: Promise<bigint>; until: number } | null = null;
  #written = 0;
  #trimming: Promise<void> | null = null;
  /** False: the user of the connection may not write there. */
  isPermitted = true;

  constructor(client: EtcdClient, prefix: string, bounds: HistoryBounds, now: () => number = Date.now) {
    this.#client = client;
    this.prefix = `${ROOT}${prefix}`;
    this.#bounds = bounds;
    this.#now = now;
  }

  get isKept(): boolean {
    return this.isPermitted && this.#bounds.historyRevisions > 0 && this.#bounds.historyDays > 0;
  }

  /** Of the resource that a record is about. */
  keyOfRecord(key: Uint8Array): string {
    const text = textOf(key).slice(this.prefix.length);
    return text.slice(0, text.lastIndexOf("//"));
  }

  /** A key that no other record has. */
  newKey(key: string, time: number): Buffer {
    const order = String(time).padStart(TIME_DIGITS, "0");
    return Buffer.from(`${this.prefix}${key}//${order}-${randomBytes(8).toString("hex")}`);
  }

  /** `value` null: a deletion. `ttl`: seconds. */
  record(time: number, author: string | null, value: string | null, ttl?: number): Buffer {
    const bytes = value === null ? null : Buffer.from(value);
    const isCompressed = bytes !== null && bytes.length >= COMPRESS_FROM_BYTES;
    const encoding = isCompressed ? "deflate-raw" : undefined;
    const head = Buffer.from(JSON.stringify({ time, author, ttl, encoding }));
    if (bytes === null) return head;
    return Buffer.concat([head, Buffer.from("\n"), isCompressed ? deflateRawSync(bytes) : bytes]);
  }

  /** The lease that ends a record of now. Rejects as calls do. */
  async lease(): Promise<bigint> {
    const now = this.#now();
    if (this.#lease === null || this.#lease.until <= now) {
      const seconds = Math.max(1, Math.ceil(this.#bounds.historyDays * DAY_SECONDS));
      const partMs = Math.min(DAY_SECONDS, seconds / LEASE_PARTS) * 1000;
      const ttl = BigInt(Math.min(seconds + Math.ceil(partMs / 1000), LONGEST_LEASE_SECONDS));
      const id = this.#client
        .call(Lease.method.leaseGrant, { TTL: ttl }, { isRepeatable: true })
        .then(({ ID }) => ID);
      this.#lease = { id, until: now + partMs };
    }
    const lease = this.#lease;
    try {
      return await lease.id;
    } catch (error) {
      if (this.#lease === lease) this.#lease = null;
      throw error;
    }
  }

  /** The lease is gone, as after a restore. */
  forgetLease(): void {
    this.#lease = null;
  }

  /** So many records were written; removes old ones in the background when it is time for it. */
  wrote(count: number): void {
    this.#written += count;
    if (this.#written < TRIM_EVERY || this.#trimming !== null) return;
    this.#written = 0;
    this.#trimming = this.trim()
      .then(() => {})
      // Nothing depends on when the past is forgotten: the next time is near.
      .catch(() => {})
      .finally(() => {
        this.#trimming = null;
      });
  }

  /** Ends when no removal is under way. */
  async settled(): Promise<void> {
    await this.#trimming;
  }

  /** Newest first. */
  async entriesOf(key: string, limit: number): Promise<HistoryEntry[]> {
    const most = Math.min(limit, RECORDS_GIVEN);
    const from = `${this.prefix}${key}//`;
    const start = Buffer.from(from);
    let rangeEnd: Uint8Array = endOf(from);
    const entries: HistoryEntry[] = [];
    let characters = 0;
    while (entries.length < most) {
      const page = BigInt(Math.min(PAGE_RECORDS, most - entries.length));
      const request = { key: start, rangeEnd, limit: page, sortOrder: 2 };
      const { kvs, more } = await this.#client.call(KV.method.range, request, { isRepeatable: true });
      for (const kv of kvs) {
        const entry = entryOf(kv.value, Number(kv.modRevision));
        if (entry === null) continue;
        characters += entry.value?.length ?? 0;
        // The diff of two neighbours is always possible.
        if (characters > CHARACTERS_GIVEN && entries.length >= 2) return inOrder(entries);
        entries.push(entry);
      }
      if (!more || kvs.length === 0) break;
      rangeEnd = kvs.at(-1)!.key;
    }
    return inOrder(entries);
  }

  /** Removes the oldest records beyond the bound; gives how many. Public for tests. */
  async trim(): Promise<number> {
    const from = `${this.prefix}/`;
    const rangeEnd = endOf(from);
    const all = { key: Buffer.from(from), rangeEnd };
    const isRepeatable = true;
    const { count } = await this.#client.call(KV.method.range, { ...all, countOnly: true }, { isRepeatable });
    const excess = Number(count) - this.#bounds.historyRevisions;
    if (excess <= 0) return 0;
    const records: { key: Uint8Array; revision: bigint }[] = [];
    for (let key: Uint8Array = all.key; ;) {
      const request = { key, rangeEnd, keysOnly: true, limit: BigInt(TRIM_PAGE_KEYS) };
      const { kvs, more } = await this.#client.call(KV.method.range, request, { isRepeatable });
      for (const kv of kvs) records.push({ key: kv.key, revision: kv.modRevision });
      if (!more || kvs.length === 0) break;
      key = afterKey(kvs.at(-1)!.key);
    }
    records.sort((a, b) => Number(a.revision - b.revision));
    const old = records.slice(0, excess);
    for (let i = 0; i < old.length; i += TRIM_DELETES) {
      const success = old.slice(i, i + TRIM_DELETES).map(({ key }) => ({
        request: { case: "requestDeleteRange" as const, value: { key } },
      }));
      await this.#client.call(KV.method.txn, { success }, { isRepeatable });
    }
    return old.length;
  }
}

/** Null: it was not written by us. */
function entryOf(record: Uint8Array, revision: number): HistoryEntry | null {
  const newline = record.indexOf(NEWLINE);
  try {
    const head = JSON.parse(textOf(newline === -1 ? record : record.subarray(0, newline))) as {
      time: unknown;
      author: unknown;
      encoding?: unknown;
      ttl?: unknown;
    };
    const author = typeof head.author === "string" ? head.author : null;
    const time = Number(head.time);
    if (newline === -1) return { revision, time, author, value: null };
    const body = record.subarray(newline + 1);
    const bytes =
      head.encoding === "deflate-raw" ? inflateRawSync(body, { maxOutputLength: LARGEST_VALUE_BYTES }) : body;
    const { ttl } = head;
    return { revision, time, author, value: textOf(bytes), ...(typeof ttl === "number" && { ttl }) };
  } catch {
    return null;
  }
}

/** Their keys are in the order of the clocks of several nodes. */
function inOrder(entries: HistoryEntry[]): HistoryEntry[] {
  return entries.sort((a, b) => b.revision - a.revision);
}
