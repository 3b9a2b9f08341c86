/**
 * An etcd v3 as the store, laid out as APISIX does: `/apisix/routes/1` holds JSON. Any number of nodes, and APISIX
 * beside them, may share one.
 *
 * A node has one connection to one member at a time (`client.ts`), one watch on it (`watch.ts`), and loads in pages
 * (`pages.ts`). The watch goes on over lost connections; where it cannot, the listener loads anew and diffs: nothing
 * is ever reset. Writes are transactions with their conditions, and are sent again after a lost answer without being
 * done twice (`transaction.ts`). Earlier versions stand beside the data (`history.ts`).
 */

import {
  type HistoryEntry,
  type Store,
  StoreConflictError,
  type StoreContact,
  type StoredItem,
  type StoreListener,
  StoreRefusedError,
  type StoreState,
  StoreUnavailableError,
  type StoreWrite,
  type WriteOptions,
} from "../contract.ts";
import type { Log } from "../../lib/log.ts";
import { EtcdClient, type EtcdClientConfig } from "./client.ts";
import { EtcdFault } from "./faults.ts";
import { EtcdHistory, type HistoryBounds } from "./history.ts";
import { KeyOrder } from "./key-order.ts";
import { itemOf } from "./keys.ts";
import { Landmark } from "./landmark.ts";
import { loadPages } from "./pages.ts";
import { EtcdReports } from "./reports.ts";
import { KV, Lease, type ResponseHeader } from "./protocol/rpc_pb.ts";
import { Slots } from "./slots.ts";
import { revisionOf, transactionOf } from "./transaction.ts";
import { EtcdWatch } from "./watch.ts";

export type EtcdStoreOptions = EtcdClientConfig & HistoryBounds & { log: Pick<Log, "info" | "warn"> };

/** Writes that wait for an answer; beyond it they are refused. */
const WRITES_WAITING = 10_000;
/** Of these, so many are sent: an etcd that has thousands to do at once answers none of them in time. */
const WRITES_SENT = 64;
/** How long an answer to a write waits for the watch to tell of it: then the watch is late, and the write stands. */
const TELL_TIMEOUT_MS = 2000;
/** etcd's own bound for leases. */
const LONGEST_TTL_SECONDS = 9_000_000_000;

export class EtcdStore implements Store {
  readonly reports: EtcdReports;
  readonly #options: EtcdStoreOptions;
  readonly #client: EtcdClient;
  readonly #landmark: Landmark;
  readonly #history: EtcdHistory;
  readonly #order = new KeyOrder();
  readonly #slots = new Slots(WRITES_SENT);
  readonly #watches = new Set<EtcdWatch>();
  #lastAt: number | null = null;
  #previousProbeAt: number | null = null;
  #writesWaiting = 0;

  constructor(options: EtcdStoreOptions) {
    this.#options = options;
    this.#client = new EtcdClient(options, options.log);
    this.#landmark = new Landmark(options.prefix);
    this.#history = new EtcdHistory(this.#client, options.prefix, options);
    this.reports = new EtcdReports(this.#client, options.prefix);
    this.#client.onProbe = (sentAt, header) => this.#onProbe(sentAt, header);
  }

  get identity(): string {
    const { clusterId } = this.#landmark;
    return clusterId === "" ? "" : `${clusterId}${this.#options.prefix}`;
  }

  /** URL of the member that is asked now; null: none stands. */
  get endpoint(): string | null {
    return this.#client.endpoint;
  }

  contact(): StoreContact {
    return { isReachable: this.#client.isReachable, lastAt: this.#lastAt };
  }

  async load(): Promise<StoreState> {
    this.#assertOpen();
    const beganAt = Date.now();
    const { header, revision, items } = await loadPages(this.#client, this.#options.prefix);
    this.#landmark.reset(header, items);
    this.#lastAt = Math.max(this.#lastAt ?? 0, beganAt);
    return { revision, items };
  }

  watch(from: number, listener: StoreListener, signal: AbortSignal): void {
    this.#assertOpen();
    if (signal.aborted) return;
    const { prefix, log } = this.#options;
    const watch = new EtcdWatch(this.#client, this.#landmark, prefix, from, listener, signal, log);
    this.#watches.add(watch);
    void watch.run().finally(() => this.#watches.delete(watch));
  }

  async get(key: string): Promise<StoredItem | null> {
    this.#assertOpen();
    return await this.#reading(async () => {
      const request = { key: Buffer.from(this.#options.prefix + key) };
      const { kvs } = await this.#client.call(KV.method.range, request, { isRepeatable: true });
      return kvs.length === 0 ? null : itemOf(kvs[0], this.#options.prefix);
    });
  }

  async write(batch: StoreWrite[], options: WriteOptions = {}): Promise<number> {
    this.#assertOpen();
    checkBatch(batch);
    if (this.#writesWaiting >= WRITES_WAITING) {
      throw new StoreUnavailableError(`${WRITES_WAITING} writes are waiting for the etcd already`);
    }
    this.#writesWaiting++;
    try {
      const keys = batch.map((write) => write.key);
      const revision = await this.#order.run(keys, () => this.#slots.run(() => this.#write(batch, options)));
      await this.#told(revision);
      return revision;
    } catch (error) {
      if (error instanceof StoreConflictError) {
        // Whoever decides anew should see what was in the way.
        await this.#told(error.actual);
        throw error;
      }
      throw unavailable(error);
    } finally {
      this.#writesWaiting--;
    }
  }

  async history(key: string, limit: number): Promise<HistoryEntry[]> {
    this.#assertOpen();
    return await this.#reading(async () => {
      const entries = await this.#history.entriesOf(key, limit);
      const present = await this.get(key);
      if (present === null || entries.some((entry) => entry.revision === present.modRevision)) return entries;
      // Written by others, or before the history began.
      const { modRevision: revision, value } = present;
      entries.push({ revision, time: updateTimeOf(value), author: null, value });
      return entries.sort((a, b) => b.revision - a.revision).slice(0, limit);
    });
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.end();
    this.#client.close();
    await this.#history.settled();
  }

  async #write(batch: StoreWrite[], options: WriteOptions): Promise<number> {
    const history = this.#history;
    if (!history.isKept || options.isForgotten === true) return await this.#commit(batch, options, null);
    try {
      const revision = await this.#commit(batch, options, await history.lease());
      history.wrote(batch.length);
      return revision;
    } catch (error) {
      if (!(error instanceof EtcdFault)) throw error;
      if (error.message.includes("requested lease not found")) {
        history.forgetLease();
        return await this.#commit(batch, options, await history.lease());
      }
      if (error.kind !== "forbidden") throw error;
      // The user may write the resources, perhaps, but not the history beside them.
      const revision = await this.#commit(batch, options, null);
      history.isPermitted = false;
      this.#options.log.warn("no history is kept: the user of the etcd may not write below /cardea/history");
      return revision;
    }
  }

  async #commit(
    batch: StoreWrite[],
    { expect = {}, expectedAt, unchangedSince, author }: WriteOptions,
    historyLease: bigint | null,
  ): Promise<number> {
    const { prefix } = this.#options;
    const leases = await this.#leasesFor(batch);
    const history = this.#history;
    const asked = {
      expect,
      expectedAt: expectedAt ?? null,
      unchangedSince: unchangedSince ?? null,
      author: author ?? null,
    };
    const parts = { prefix, batch, ...asked, time: Date.now(), leases, history, historyLease };
    const transaction = transactionOf(parts);
    const { request, isRepeatable } = transaction;
    const answer = await this.#client.call(KV.method.txn, request, { isRepeatable, isChange: true });
    return revisionOf(transaction, answer) ?? (await this.#presentRevision(batch));
  }

  /** Nothing was deleted, nothing has changed: the revision that stands for what there is. */
  async #presentRevision(batch: readonly StoreWrite[]): Promise<number> {
    let heard = 0;
    for (const watch of this.#watches) heard = Math.max(heard, watch.heard);
    if (heard > 0) return heard;
    const request = { key: Buffer.from(this.#options.prefix + batch[0].key), countOnly: true };
    const { header } = await this.#client.call(KV.method.range, request, { isRepeatable: true });
    return Number(header!.revision);
  }

  async #leasesFor(batch: readonly StoreWrite[]): Promise<Map<number, bigint>> {
    const leases = new Map<number, bigint>();
    for (const write of batch) {
      if (write.type !== "put" || write.ttl === undefined || leases.has(write.ttl)) continue;
      const TTL = BigInt(Math.min(Math.max(1, Math.ceil(write.ttl)), LONGEST_TTL_SECONDS));
      const { ID } = await this.#client.call(Lease.method.leaseGrant, { TTL }, { isRepeatable: true });
      leases.set(write.ttl, ID);
    }
    return leases;
  }

  /** Ends when every watch has told of this revision, or is late. */
  async #told(revision: number): Promise<void> {
    if (this.#watches.size === 0) return;
    const told = Promise.all(Array.from(this.#watches, (watch) => watch.reached(revision)));
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, TELL_TIMEOUT_MS);
    await Promise.race([told, late]);
    clearTimeout(timer);
  }

  /**
   * What was committed before the probe before this one has been told by now: the stream stood since, on the same
   * connection as both.
   */
  #onProbe(sentAt: number, header: ResponseHeader): void {
    const previous = this.#previousProbeAt;
    this.#previousProbeAt = sentAt;
    for (const watch of this.#watches) {
      if (watch.isOver) continue;
      const { standsSince } = watch;
      if (standsSince !== null && previous !== null && standsSince <= previous) {
        this.#lastAt = Math.max(this.#lastAt ?? 0, previous);
      }
      // The watch may be ahead of what the probe saw, not of what the cluster has: what counts is when it was sent.
      if (standsSince !== null && standsSince <= sentAt && !this.#landmark.agrees(header, 0))
        watch.distrust();
    }
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      throw unavailable(error);
    }
  }

  #assertOpen(): void {
    if (this.#client.isClosed) throw new StoreUnavailableError("the store is closed");
  }
}

function checkBatch(batch: readonly StoreWrite[]): void {
  if (batch.length === 0) throw new TypeError("a write needs at least one change");
  const keys = new Set(batch.map((write) => write.key));
  if (keys.size !== batch.length) throw new TypeError("a write names each key at most once");
}

function unavailable(error: unknown): unknown {
  if (!(error instanceof EtcdFault)) return error;
  if (error.kind === "too-much") {
    return new StoreRefusedError(`the etcd does not take so much at once: ${error.message}`, {
      cause: error,
    });
  }
  return new StoreUnavailableError(`the etcd refuses it: ${error.message}`, { cause: error });
}

/** Milliseconds since 1970 that a resource tells of itself, else now. */
function updateTimeOf(text: string): number {
  try {
    const { update_time: seconds } = JSON.parse(text) as { update_time?: unknown };
    if (typeof seconds === "number" && seconds > 0) return seconds * 1000;
  } catch {
    // Others may write anything.
  }
  return Date.now();
}
