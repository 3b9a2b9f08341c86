/**
 * A batch of the store as one transaction of etcd: conditions, changes, and for each change its record in the
 * history. etcd takes 128 operations by default; larger batches are transactions within the transaction, which is
 * still all or nothing.
 *
 * The first record is the mark of the batch as well: the transaction is done only where the mark is not there yet,
 * so it may be sent again after an answer was lost.
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { StoreConflictError, type StoreWrite } from "../contract.ts";
import { EtcdFault } from "./faults.ts";
import type { EtcdHistory } from "./history.ts";
import { endOf, storeKeyOf } from "./keys.ts";
import type { CompareSchema, RequestOpSchema, TxnRequestSchema, TxnResponse } from "./protocol/rpc_pb.ts";

type Compare = MessageInitShape<typeof CompareSchema>;
type Operation = MessageInitShape<typeof RequestOpSchema>;
type TransactionRequest = MessageInitShape<typeof TxnRequestSchema>;

/** Of a transaction and those within it, along each way down (`--max-txn-ops` of etcd). */
const MOST_OPERATIONS = 128;
/** Writes that go without a further level. */
const FLAT_WRITES = 60;
/** More become one, on all keys, where the revision is known. */
const MOST_CONDITIONS = 64;
const GROUP_WRITES = 16;
/** What a transaction of groups holds. */
const MOST_CHANGES = (MOST_OPERATIONS - 2 * GROUP_WRITES - 2) * GROUP_WRITES;
const EQUAL = 0;
const GREATER = 1;
const LESS = 2;
const CREATE = 1;
const MODIFIED = 2;

export interface Transaction {
  request: TransactionRequest;
  /** It may be sent twice. */
  isRepeatable: boolean;
  expected: readonly (readonly [key: string, revision: number])[];
  /** Nothing in these ranges may be newer than this revision; null: that is no condition. */
  since: number | null;
  ranges: readonly WatchedRange[];
  hasMark: boolean;
  isDeletionOnly: boolean;
}

/** Keys in which a newer one stands in the way. */
interface WatchedRange {
  /** All keys begin with it. */
  prefix: string;
  /** Key of the store that the key stands for. */
  nameOf(key: Uint8Array): string;
}

export interface TransactionParts {
  prefix: string;
  batch: readonly StoreWrite[];
  expect: Record<string, number>;
  /** Revision at which `expect` was read; null: not known. */
  expectedAt: number | null;
  /** Nothing may have changed after it; null: that is no condition. */
  unchangedSince: number | null;
  author: string | null;
  time: number;
  /** By seconds to live. */
  leases: ReadonlyMap<number, bigint>;
  history: EtcdHistory;
  /** Null: no records are kept. */
  historyLease: bigint | null;
}

/** Throws `EtcdFault` for a batch that etcd cannot take at once. */
export function transactionOf(parts: TransactionParts): Transaction {
  const { batch, prefix, historyLease, history } = parts;
  const named = Object.entries(parts.expect);
  const isMany = named.length > MOST_CONDITIONS;
  const since = parts.unchangedSince ?? (isMany ? parts.expectedAt : null);
  const expected = isMany && since !== null ? [] : named;
  const ranges: WatchedRange[] = [];
  if (since !== null) {
    ranges.push({ prefix: `${prefix}/`, nameOf: (key) => storeKeyOf(key, prefix) });
    // Deletions leave nothing but their record.
    if (historyLease !== null) {
      ranges.push({ prefix: `${history.prefix}/`, nameOf: (key) => history.keyOfRecord(key) });
    }
  }
  const compare = expected.map(([key, revision]) => modifiedAt(prefix + key, revision));
  const failure = expected.map(([key]) => keyAlone(Buffer.from(prefix + key)));
  for (const range of ranges) {
    compare.push(nothingAfter(range.prefix, since!));
    failure.push(keyAfter(range.prefix, since!));
  }
  const changes: Operation[][] = [];
  let mark: Buffer | null = null;
  for (const write of batch) {
    const record = historyLease === null ? null : recordOf(parts, write, historyLease);
    changes.push(changeOf(parts, write, record));
    // A deletion may find nothing and then leaves no record.
    if (write.type === "put" && record !== null) mark ??= record.key;
  }
  if (mark !== null) {
    compare.push({
      result: EQUAL,
      target: CREATE,
      key: mark,
      targetUnion: { case: "createRevision", value: 0n },
    });
    failure.push(keyAlone(mark));
  }
  const success = changes.length <= FLAT_WRITES ? changes.flat() : grouped(changes);
  // Flat: a deletion has one level with two below it.
  const deepest = changes.length <= FLAT_WRITES ? 2 : 2 * GROUP_WRITES + 2;
  const widest = Math.max(compare.length, success.length);
  if (widest + deepest > MOST_OPERATIONS) {
    const conditions = expected.length > MOST_CONDITIONS ? ` on ${expected.length} conditions` : "";
    throw new EtcdFault(
      "too-much",
      `given ${batch.length} changes${conditions}, expected at most ${MOST_CHANGES}`,
    );
  }
  const isDeletionOnly = batch.every((write) => write.type === "delete");
  return {
    request: { compare, success, failure },
    isRepeatable: mark !== null || (isDeletionOnly && named.length === 0),
    expected,
    since,
    ranges,
    hasMark: mark !== null,
    isDeletionOnly,
  };
  function recordOf({ time, author }: TransactionParts, write: StoreWrite, lease: bigint) {
    const value =
      write.type === "put"
        ? history.record(time, author, write.value, write.ttl)
        : history.record(time, author, null);
    return { key: history.newKey(write.key, time), value, lease };
  }
}

/**
 * Revision of the change. Throws `StoreConflictError` when a condition did not hold. Null: nothing was there to be
 * deleted, so nothing changed.
 */
export function revisionOf(transaction: Transaction, answer: TxnResponse): number | null {
  const { expected, since, ranges, hasMark, isDeletionOnly } = transaction;
  if (answer.succeeded) {
    if (isDeletionOnly && !hasDeleted(answer)) return null;
    return Number(answer.header!.revision);
  }
  const found = answer.responses.map(({ response }) =>
    response.case === "responseRange" ? Number(response.value.kvs[0]?.modRevision ?? 0n) : 0,
  );
  const mark = hasMark ? found.at(-1)! : 0;
  // The answer to an earlier attempt was lost.
  if (mark !== 0) return mark;
  for (const [i, [key, revision]] of expected.entries()) {
    if (found[i] !== revision) throw new StoreConflictError(key, revision, found[i]);
  }
  for (const [i, range] of ranges.entries()) {
    const { response } = answer.responses[expected.length + i];
    const newer = response.case === "responseRange" ? response.value.kvs[0] : undefined;
    if (newer === undefined) continue;
    throw new StoreConflictError(range.nameOf(newer.key), since!, Number(newer.modRevision));
  }
  throw new EtcdFault("refused", "a transaction failed although its conditions hold");
}

function changeOf(
  { prefix, leases }: TransactionParts,
  write: StoreWrite,
  record: { key: Buffer; value: Buffer; lease: bigint } | null,
): Operation[] {
  const key = Buffer.from(prefix + write.key);
  const kept: Operation[] = record === null ? [] : [{ request: { case: "requestPut", value: record } }];
  if (write.type === "put") {
    const lease = write.ttl === undefined ? 0n : leases.get(write.ttl)!;
    const value = Buffer.from(write.value);
    return [{ request: { case: "requestPut", value: { key, value, lease } } }, ...kept];
  }
  const remove: Operation = { request: { case: "requestDeleteRange", value: { key } } };
  if (record === null) return [remove];
  const exists: Compare = {
    result: GREATER,
    target: CREATE,
    key,
    targetUnion: { case: "createRevision", value: 0n },
  };
  return [{ request: { case: "requestTxn", value: { compare: [exists], success: [remove, ...kept] } } }];
}

function grouped(changes: readonly Operation[][]): Operation[] {
  const groups: Operation[] = [];
  for (let i = 0; i < changes.length; i += GROUP_WRITES) {
    const success = changes.slice(i, i + GROUP_WRITES).flat();
    groups.push({ request: { case: "requestTxn", value: { success } } });
  }
  return groups;
}

function hasDeleted({ responses }: TxnResponse): boolean {
  return responses.some(({ response }) => {
    if (response.case === "responseDeleteRange") return response.value.deleted > 0n;
    return response.case === "responseTxn" && response.value.succeeded && hasDeleted(response.value);
  });
}

function modifiedAt(key: string, revision: number): Compare {
  const value = BigInt(revision);
  return {
    result: EQUAL,
    target: MODIFIED,
    key: Buffer.from(key),
    targetUnion: { case: "modRevision", value },
  };
}

/** A range without keys fits anything. */
function nothingAfter(prefix: string, revision: number): Compare {
  return {
    result: LESS,
    target: MODIFIED,
    key: Buffer.from(prefix),
    rangeEnd: endOf(prefix),
    targetUnion: { case: "modRevision", value: BigInt(revision) + 1n },
  };
}

function keyAfter(prefix: string, revision: number): Operation {
  const range = { key: Buffer.from(prefix), rangeEnd: endOf(prefix) };
  const value = { ...range, minModRevision: BigInt(revision) + 1n, keysOnly: true, limit: 1n };
  return { request: { case: "requestRange", value } };
}

function keyAlone(key: Buffer): Operation {
  return { request: { case: "requestRange", value: { key, keysOnly: true } } };
}
