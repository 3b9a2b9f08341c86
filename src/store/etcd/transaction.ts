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
import type { CompareSchema, RequestOpSchema, TxnRequestSchema, TxnResponse } from "./protocol/rpc_pb.ts";

type Compare = MessageInitShape<typeof CompareSchema>;
type Operation = MessageInitShape<typeof RequestOpSchema>;
type TransactionRequest = MessageInitShape<typeof TxnRequestSchema>;

/** Of a transaction and those within it, along each way down (`--max-txn-ops` of etcd). */
const MOST_OPERATIONS = 128;
/** Writes that go without a further level. */
const FLAT_WRITES = 60;
const GROUP_WRITES = 16;
const EQUAL = 0;
const GREATER = 1;
const CREATE = 1;
const MODIFIED = 2;

export interface Transaction {
  request: TransactionRequest;
  /** It may be sent twice. */
  isRepeatable: boolean;
  expected: readonly (readonly [key: string, revision: number])[];
  hasMark: boolean;
  isDeletionOnly: boolean;
}

export interface TransactionParts {
  prefix: string;
  batch: readonly StoreWrite[];
  expect: Record<string, number>;
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
  const expected = Object.entries(parts.expect);
  const compare = expected.map(([key, revision]) => modifiedAt(prefix + key, revision));
  const failure = expected.map(([key]) => keyAlone(Buffer.from(prefix + key)));
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
    throw new EtcdFault(
      "refused",
      `one write of ${batch.length} changes on ${expected.length} conditions is more than an etcd takes at once`,
    );
  }
  const isDeletionOnly = batch.every((write) => write.type === "delete");
  return {
    request: { compare, success, failure },
    isRepeatable: mark !== null || (isDeletionOnly && expected.length === 0),
    expected,
    hasMark: mark !== null,
    isDeletionOnly,
  };
  function recordOf({ time, author }: TransactionParts, write: StoreWrite, lease: bigint) {
    const value = history.record(time, author, write.type === "put" ? write.value : null);
    return { key: history.newKey(write.key, time), value, lease };
  }
}

/**
 * Revision of the change. Throws `StoreConflictError` when a condition did not hold. Null: nothing was there to be
 * deleted, so nothing changed.
 */
export function revisionOf(transaction: Transaction, answer: TxnResponse): number | null {
  const { expected, hasMark, isDeletionOnly } = transaction;
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

function keyAlone(key: Buffer): Operation {
  return { request: { case: "requestRange", value: { key, keysOnly: true } } };
}
