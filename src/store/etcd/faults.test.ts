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
    [status.INVALID_ARGUMENT, "etcdserver: request is too large", "refused"],
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
    assert.deepEqual([fault.kind, fault.isUnsent, fault.message], [kind, isUnsent, details]);
    assert.equal(faultOf(fault), fault);
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
