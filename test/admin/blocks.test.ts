/** The one-click block through the Admin API: live before it is answered, listed, audited, undone, and over in time. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestNode } from "./node.ts";

let node: TestNode;

before(async () => {
  node = await new TestNode().start();
  await node.call("PUT", "/routes/1", { uri: "/a", upstream: { nodes: { "127.0.0.1:80": 1 } } });
  await node.settle();
});

after(() => node.dispose());

function heldBy(worker: number): string[] {
  return [...node.workers[worker].items.keys()].filter((key) => key.startsWith("block/"));
}

function secondsFromNow(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

test("a block is on every worker when it is answered, listed and audited, and undone exactly", async () => {
  const before = [...node.workers[0].items];
  const made = await node.call("POST", "/block", { route_id: "1", reason: "an incident" });
  assert.equal(made.status, 201);
  const { id } = made.body.value as { id: string };
  for (const worker of [0, 1]) assert.deepEqual(heldBy(worker), [`block/${id}`]);
  assert.deepEqual(node.workers[0].items.get(`block/${id}`), {
    id,
    status: 403,
    close_connections: false,
    route_id: "1",
  });
  assert.equal(made.body.key, `/apisix/blocks/${id}`);
  const listed = await node.call("GET", "/blocks");
  assert.equal(listed.body.total, 1);
  assert.equal(listed.body.list[0].value.reason, "an incident");
  assert.equal((await node.call("GET", `/block/${id}`)).body.value.route_id, "1");
  assert.partialDeepStrictEqual(node.audited.at(-1), {
    author: "admin",
    method: "POST",
    path: "/block",
    status: 201,
  });

  assert.equal((await node.call("DELETE", `/block/${id}`)).status, 200);
  for (const worker of [0, 1]) assert.deepEqual(heldBy(worker), []);
  assert.deepEqual([...node.workers[0].items], before);
  assert.partialDeepStrictEqual(node.audited.at(-1), { method: "DELETE", path: `/block/${id}`, status: 200 });
});

test("a worker that does not apply it is named in the answer", async () => {
  node.workers[1].isHolding = true;
  try {
    const late = await node.call("POST", "/block?wait=live&wait_timeout=0.1", { addresses: ["10.0.0.1"] });
    assert.equal(late.status, 504);
    assert.deepEqual(late.body.workers, [1]);
  } finally {
    node.workers[1].isHolding = false;
    for (const { value } of (await node.call("GET", "/block")).body.list)
      await node.call("DELETE", `/block/${value.id}`);
  }
});

test("a block leaves workers and store at its expiry, which a time to live sets", async () => {
  const made = await node.call("PUT", "/block/short?ttl=1", { addresses: ["10.0.0.1"] });
  assert.equal(made.status, 201);
  const { expiry } = made.body.value as { expiry: number };
  assert.ok(expiry - secondsFromNow(0) <= 2 && expiry >= secondsFromNow(0), String(expiry));
  assert.deepEqual(heldBy(0), ["block/short"]);
  const { threads } = node.shared;
  while (heldBy(0).length > 0) await threads.whenChanged(threads.changes, 5000);
  assert.equal((await node.call("GET", "/block/short")).status, 404);
});

for (const [block, reason] of [
  [{}, /^invalid configuration: /],
  [{ status: 403 }, /^invalid configuration: /],
  [{ route_id: "none" }, /^route_id: there is no route \[none\]$/],
  [{ service_id: "none" }, /^service_id: there is no service \[none\]$/],
  [{ consumer: "none" }, /^consumer: there is no consumer \[none\]$/],
  [{ addresses: ["10.0.0.300"] }, /addresses/],
  [{ addresses: [] }, /addresses/],
  [{ route_id: "1", status: 99 }, /expected 99 to be at least 200/],
  [{ route_id: "1", expiry: 1 }, /^expiry: given 1, expected a time to come/],
  [{ route_id: "1", rule: 1 }, /additional properties forbidden, found rule/],
] as const) {
  test(`refused: ${JSON.stringify(block)}`, async () => {
    const reply = await node.call("POST", "/block", block);
    assert.equal(reply.status, 400);
    assert.match(reply.body.error_msg, reason);
    assert.deepEqual(heldBy(0), []);
  });
}

test("what a block names may be deleted, and the block stays until it is deleted", async () => {
  await node.call("PUT", "/services/s", {});
  await node.call("PUT", "/block/s", { service_id: "s" });
  assert.equal((await node.call("DELETE", "/services/s")).status, 200);
  assert.deepEqual(heldBy(1), ["block/s"]);
  await node.call("DELETE", "/block/s");
});
