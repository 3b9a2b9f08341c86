import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import type { StoreWrite } from "../contract.ts";
import { EtcdFault } from "./faults.ts";
import { EtcdHistory } from "./history.ts";
import { type RequestOp, type TxnRequest, TxnRequestSchema } from "./protocol/rpc_pb.ts";
import { transactionOf } from "./transaction.ts";

const history = new EtcdHistory(null as never, "/apisix", { historyRevisions: 1, historyDays: 1 });

function request(
  batch: StoreWrite[],
  expect: Record<string, number> = {},
  hasHistory = true,
  expectedAt: number | null = null,
  unchangedSince: number | null = null,
): TxnRequest {
  const parts = {
    prefix: "/apisix",
    batch,
    expect,
    expectedAt,
    unchangedSince,
    author: null,
    time: 1,
    leases: new Map(),
    history,
  };
  const made = transactionOf({ ...parts, historyLease: hasHistory ? 1n : null });
  return create(TxnRequestSchema, made.request);
}

/** As etcd counts: the most of the three lists, and what is below in what that leaves. */
function operations({ compare, success, failure }: TxnRequest): number {
  const below = [...success, ...failure].map(({ request }: RequestOp) =>
    request.case === "requestTxn" ? operations(request.value) : 0,
  );
  return Math.max(compare.length, success.length, failure.length) + Math.max(0, ...below);
}

test("a transaction stays within what etcd takes, or is refused", () => {
  for (const type of ["put", "delete"] as const) {
    for (const count of [1, 2, 59, 60, 61, 100, 500, 1000, 1400]) {
      for (const conditions of [0, 1, 60, 90]) {
        const batch = Array.from({ length: count }, (_, i) => ({ type, key: `/r/${i}`, value: "{}" }));
        const expect = Object.fromEntries(Array.from({ length: conditions }, (_, i) => [`/e/${i}`, 0]));
        assert.ok(operations(request(batch, expect)) <= 128, `${count} ${type} on ${conditions}`);
        assert.ok(operations(request(batch, expect, false)) <= 128);
        assert.ok(operations(request(batch, expect, true, 7, 7)) <= 128);
      }
    }
  }
  const many = Array.from({ length: 3000 }, (_, i) => ({ type: "put", key: `/r/${i}`, value: "" }) as const);
  assert.ok(operations(request(many.slice(0, 1504))) <= 128);
  assert.throws(
    () => request(many.slice(0, 1505)),
    (error: unknown) =>
      error instanceof EtcdFault &&
      error.kind === "too-much" &&
      error.message === "given 1505 changes, expected at most 1504",
  );
});

test("more conditions than etcd takes are one on everything, where their revision is known", () => {
  const expect = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`/r/${i}`, 0]));
  const batch = [{ type: "put", key: "/r/1", value: "{}" } as const];
  const { compare } = request(batch, expect, false, 7);
  assert.deepEqual(
    compare.map(({ key, rangeEnd, targetUnion }) => [
      Buffer.from(key).toString(),
      Buffer.from(rangeEnd).toString(),
      targetUnion.value,
    ]),
    [["/apisix/", "/apisix0", 8n]],
  );
  assert.throws(() => request(batch, expect), EtcdFault);
});

test("the first record is the mark of the batch, and a deletion has its record only where it deletes", () => {
  const { compare, success } = request([
    { type: "delete", key: "/a" },
    { type: "put", key: "/b", value: "{}" },
  ]);
  assert.equal(compare.length, 1);
  assert.match(
    Buffer.from(compare[0].key).toString(),
    /^\/cardea\/history\/apisix\/b\/\/0{14}1-[0-9a-f]{16}$/,
  );
  assert.deepEqual(
    success.map(({ request }) => request.case),
    ["requestTxn", "requestPut", "requestPut"],
  );
});
