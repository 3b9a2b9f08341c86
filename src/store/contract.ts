/**
 * Where configuration lives: the contract that embedded/, etcd/ and file/ fulfil, and one test kit proves.
 *
 * A key is a path below the prefix ("/routes/1"), a value is JSON text exactly as clients wrote it (after
 * the server-set times), so that the bytes in an etcd are APISIX's own. Revisions are the store's: they
 * grow within one identity; after a restore the identity or the revision may be another, which is why the
 * node publishes revisions of its own.
 */

export interface StoredItem {
  key: string;
  /** JSON text. */
  value: string;
  createRevision: number;
  modRevision: number;
}

export interface StoreState {
  revision: number;
  items: StoredItem[];
}

export type StoreEvent =
  | { type: "put"; item: StoredItem }
  | { type: "delete"; key: string; modRevision: number };

export interface StoreChange {
  /** Revision of the store after this change; a batch written at once arrives at once. */
  revision: number;
  events: StoreEvent[];
}

export type StoreWrite =
  | { type: "put"; key: string; value: string; /** seconds; the entry vanishes afterwards */ ttl?: number }
  | { type: "delete"; key: string };

export interface WriteOptions {
  /** Refuse with `StoreConflictError` unless each key has this modRevision (0: must not exist). */
  expect?: Record<string, number>;
  /**
   * Revision of the store at which `expect` was read. A store that cannot check so many keys at once refuses when any key
   * was written after it; what was deleted since is then not noticed.
   */
  expectedAt?: number;
  /**
   * Refuse with `StoreConflictError` when anything was written or deleted after this revision. A remote store does not
   * notice what ended by itself or was deleted by other programs.
   */
  unchangedSince?: number;
  /** Name of the admin key that writes; kept in the history. */
  author?: string;
  /** A store that others share keeps no history of it: for what must not outlive its use. */
  isForgotten?: boolean;
}

export interface HistoryEntry {
  revision: number;
  /** Milliseconds since 1970. */
  time: number;
  author: string | null;
  /** Null: deleted at this revision. */
  value: string | null;
  /** Seconds that it was written to live; absent: without an end, or not known. */
  ttl?: number;
}

/** How a store and what it is made of get on, as the last exchange showed; nothing is sent to learn it. */
export interface StoreContact {
  /** Whether it answers: reads, writes and the watch are expected to work. */
  isReachable: boolean;
  /** Milliseconds since 1970 of the last moment of which the watch is known to have delivered everything; null: never. */
  lastAt: number | null;
}

/** What nodes that share a store tell each other about themselves, beside the configuration. */
export interface NodeReports {
  /**
   * Puts the report of one node in the place of its former one; it ends `lifeSeconds` after the last time. Rejects with
   * `StoreUnavailableError`, also where the store does not permit it.
   */
  put(id: string, text: string, lifeSeconds: number): Promise<void>;
  /** By id. Rejects with `StoreUnavailableError`. */
  list(): Promise<Map<string, string>>;
  /** False: there was none. Rejects with `StoreUnavailableError`. */
  remove(id: string): Promise<boolean>;
}

export interface Store {
  /**
   * Differs between two stores that do not share a history (a random id made with the embedded file). Of a remote store
   * it is known after the first `load`; "" before.
   */
  readonly identity: string;
  /** Absent: the store is that of one node. */
  readonly reports?: NodeReports;
  /** Cheap, and never throws. */
  contact(): StoreContact;
  /** Whole content at one revision. Rejects with `StoreUnavailableError` when it does not answer in time. */
  load(): Promise<StoreState>;
  /**
   * Calls `onChange` for every change after `from`, in order and without a gap, or `onResync` when that
   * cannot be had any more: the listener then loads anew and diffs. Ends with `signal`.
   */
  watch(from: number, listener: StoreListener, signal: AbortSignal): void;
  get(key: string): Promise<StoredItem | null>;
  /**
   * All or nothing, durable before it resolves; gives the new revision. Rejects with `StoreUnavailableError` when the
   * store does not answer in time, and with `StoreRefusedError` when it is more than the store takes at once.
   */
  write(batch: StoreWrite[], options?: WriteOptions): Promise<number>;
  /** Newest first, at most `limit`; fewer where values are so large that they would not fit into memory. */
  history(key: string, limit: number): Promise<HistoryEntry[]>;
  close(): Promise<void>;
}

export interface StoreListener {
  onChange(change: StoreChange): void;
  onResync(): void;
}

export class StoreConflictError extends Error {
  readonly key: string;
  readonly expected: number;
  readonly actual: number;

  constructor(key: string, expected: number, actual: number) {
    super(`${key} has revision ${actual}, expected ${expected}`);
    this.name = "StoreConflictError";
    this.key = key;
    this.expected = expected;
    this.actual = actual;
  }
}

/** More than the store takes at once, however often it is asked: the message names the limit. Whoever wrote hears 413. */
export class StoreRefusedError extends Error {
  override name = "StoreRefusedError";
}

/** The store cannot take or give anything now. Whoever wrote hears 503. */
export class StoreUnavailableError extends Error {
  override name = "StoreUnavailableError";
}
