import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { EtcdFault, type FaultKind, faultOf, faultOfReason } from "./faults.ts";

test("errors are sorted by what is to be done about them", () => {
  const cases: [code: status, details: string, kind: FaultKind, isUnsent?: true][] = [
    [status.UNAVAILABLE, "No connection established. Last error: connect ECONNREFUSED", "down", true],
    [status.UNAVAILABLE, "Connection dropped", "down"],
    [status.UNAVAILABLE, "etcdserver: no leader", "later"],
    [status.UNAVAILABLE, "etcdserver: request timed out", "later"],
    [status.DEADLINE_EXCEEDED, "Deadline exceeded after 4.000s", "down"],
    [status.UNAUTHENTICATED, "etcdserver: invalid auth token", "token"],
    [status.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", "token"],
    [status.INVALID_ARGUMENT, "etcdserver: user name is empty", "forbidden"],
    [status.INVALID_ARGUMENT, "etcdserver: request is too large", "too-much"],
    [status.INVALID_ARGUMENT, "etcdserver: too many operations in txn request", "too-much"],
    [status.RESOURCE_EXHAUSTED, "grpc: received message larger than max (3145786 vs. 2097152)", "too-much"],
    [status.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password", "refused"],
    [status.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", "no-users"],
    [status.PERMISSION_DENIED, "etcdserver: permission denied", "forbidden"],
    [status.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", "revision"],
    [status.RESOURCE_EXHAUSTED, "Received message larger than max (70000000 vs. 67108864)", "large-answer"],
    [status.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", "refused"],
    [status.RESOURCE_EXHAUSTED, "etcdserver: too many requests", "later"],
  ];
  for (const [code, details, kind, isUnsent = false] of cases) {
    const fault = faultOf(Object.assign(new Error(`${code} ${details}`), { code, details }));
    assert.deepEqual([fault.kind, fault.isUnsent], [kind, isUnsent]);
    assert.equal(faultOf(fault), fault);
  }
});

test("what operators read is free of what gRPC adds", () => {
  const refused = "connect ECONNREFUSED 127.0.0.1:2379";
  const cases: [details: string, message: string][] = [
    [`No connection established. Last error: Error: ${refused}`, refused],
    [`No connection established. Last error: ${refused}. Resolution note: none`, `${refused}.`],
    [
      "Deadline exceeded after 4.001s,name resolution: 0.001s,remote_addr=127.0.0.1:2379",
      "no answer in time",
    ],
    ["etcdserver: mvcc: database space exceeded", "mvcc: database space exceeded"],
    ["rpc error: code = Unknown desc = etcdserver: no leader", "no leader"],
    ["grpc: received message larger than max (3 vs. 2)", "received message larger than max (3 vs. 2)"],
    ["Connection dropped", "Connection dropped"],
  ];
  for (const [details, message] of cases) {
    const error = Object.assign(new Error(details), { code: status.UNAVAILABLE, details });
    assert.equal(faultOf(error).message, message);
    assert.equal(faultOf(error).cause, error);
  }
});

test("a cancelled watch says why as text", () => {
  assert.equal(
    faultOfReason("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token").kind,
    "token",
  );
  assert.equal(
    faultOfReason("rpc error: code = PermissionDenied desc = etcdserver: permission denied").kind,
    "forbidden",
  );
  assert.ok(faultOfReason("etcdserver: no leader") instanceof EtcdFault);
  assert.equal(faultOfReason("etcdserver: no leader").kind, "later");
});
