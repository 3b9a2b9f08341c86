/** The versions of a resource: list, differences, the way back. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestNode } from "./node.ts";

const upstream = { nodes: { "127.0.0.1:1": 1 } };
let node: TestNode;

before(async () => {
  node = await new TestNode().start();
  await node.call("PUT", "/routes/1", { uri: "/one", upstream });
  await node.call("PUT", "/routes/1", { uri: "/two", name: "two", upstream });
  await node.call("PATCH", "/routes/1", { upstream: { nodes: { "127.0.0.1:2": 1 } } });
});
after(() => node.dispose());

async function revisions(key: string): Promise<number[]> {
  const { list } = (await node.call("GET", `/history?key=${key}`)).body;
  return list.map((entry: { revision: number }) => entry.revision);
}

test("the history lists every version with its author, newest first, by both spellings", async () => {
  const { body } = await node.call("GET", "/history?key=/routes/1");
  assert.equal(body.key, "/apisix/routes/1");
  assert.deepEqual(
    body.list.map(({ author, value }: { author: string; value: { uri: string } }) => [author, value.uri]),
    [
      ["admin", "/two"],
      ["admin", "/two"],
      ["admin", "/one"],
    ],
  );
  assert.deepEqual((await node.call("GET", "/history/routes/1")).body, body);
  assert.deepEqual((await node.call("GET", "/history?key=/apisix/routes/1")).body, body);
  assert.equal((await node.call("GET", "/history?key=/routes")).status, 400);
  assert.equal((await node.call("GET", "/history?key=/nothing/1")).status, 400);
});

test("the difference of two versions names each change", async () => {
  const [third, second, first] = await revisions("/routes/1");
  const { body } = await node.call("GET", `/history/diff?key=/routes/1&from=${first}&to=${second}`);
  assert.deepEqual([body.from.revision, body.to.revision], [first, second]);
  const changes = body.changes.filter(({ path }: { path: string }) => path !== "/update_time");
  assert.deepEqual(changes, [
    { op: "replace", path: "/uri", from: "/one", to: "/two" },
    { op: "add", path: "/name", to: "two" },
  ]);
  const newest = (await node.call("GET", "/history/diff?key=/routes/1")).body;
  assert.deepEqual([newest.from.revision, newest.to.revision], [second, third]);
  assert.equal((await node.call("GET", "/history/diff?key=/routes/1&from=999999")).status, 404);
  assert.equal((await node.call("GET", "/history/diff?key=/routes/1&from=x")).status, 400);
});

test("a rollback makes an earlier version the newest, live, and keeps what came between", async () => {
  const before = await revisions("/routes/1");
  const made = (await node.call("GET", "/routes/1")).body.value.create_time;
  const reply = await node.call("POST", `/history/rollback?key=/routes/1&revision=${before[2]}&wait=live`);
  assert.equal(reply.status, 200, reply.text);
  assert.deepEqual([reply.body.value.uri, reply.body.value.create_time], ["/one", made]);
  assert.equal((await node.call("GET", "/routes/1")).body.value.name, undefined);
  assert.equal((node.workers[0].items.get("route/1") as { uris: string[] }).uris[0], "/one");
  assert.deepEqual((await revisions("/routes/1")).slice(1), before);
  assert.equal((await node.call("POST", "/history/rollback?key=/routes/1")).status, 400);
  assert.equal((await node.call("POST", "/history/rollback?key=/routes/1&revision=1000000")).status, 404);
});

test("a deleted resource comes back, and a rollback to its absence deletes it", async () => {
  await node.call("PUT", "/routes/2", { uri: "/gone", upstream });
  await node.call("DELETE", "/routes/2");
  const [deleted, made] = await revisions("/routes/2");
  assert.equal((await node.call("POST", `/history/rollback?key=/routes/2&revision=${made}`)).status, 201);
  assert.equal((await node.call("GET", "/routes/2")).body.value.uri, "/gone");
  assert.equal((await node.call("POST", `/history/rollback?key=/routes/2&revision=${deleted}`)).status, 200);
  assert.equal((await node.call("GET", "/routes/2")).status, 404);
});

test("a version that is not valid any more is refused", async () => {
  await node.call("PUT", "/upstreams/u", upstream);
  await node.call("PUT", "/routes/3", { uri: "/three", upstream_id: "u" });
  await node.call("PUT", "/routes/3", { uri: "/three", upstream });
  await node.call("DELETE", "/upstreams/u");
  const [, old] = await revisions("/routes/3");
  const reply = await node.call("POST", `/history/rollback?key=/routes/3&revision=${old}`);
  assert.equal(reply.status, 400);
  assert.match(reply.body.error_msg, /^failed to fetch upstream info by upstream id \[u\]/);
});

test("secrets come back plain for workers and encrypted in the store", async () => {
  const jack = (key: string) => ({ username: "jack", plugins: { "key-auth": { key } } });
  await node.call("PUT", "/consumers/jack", jack("first-canary"));
  await node.call("PUT", "/consumers/jack", jack("second"));
  const [, first] = await revisions("/consumers/jack");
  await node.call("POST", `/history/rollback?key=/consumers/jack&revision=${first}&wait=live`);
  const consumer = node.workers[0].items.get("consumer/jack") as { plugins: { "key-auth": { key: string } } };
  assert.equal(consumer.plugins["key-auth"].key, "first-canary");
  assert.ok(!(await node.control.store.get("/consumers/jack"))!.value.includes("canary"));
});

test("a version that was to live for a time does so again, or as long as is asked for", async () => {
  await node.call("PUT", "/routes/4?ttl=600", { uri: "/four", upstream });
  await node.call("PUT", "/routes/4", { uri: "/four", name: "for good", upstream });
  const { list } = (await node.call("GET", "/history?key=/routes/4")).body;
  assert.deepEqual(
    list.map(({ ttl }: { ttl?: number }) => ttl),
    [undefined, 600],
  );
  const path = `/history/rollback?key=/routes/4&revision=${list[1].revision}`;
  const newest = async () => (await node.call("GET", "/history?key=/routes/4")).body.list[0].ttl;
  assert.equal((await node.call("POST", path)).status, 200);
  assert.equal(await newest(), 600);
  assert.equal((await node.call("POST", `${path}&ttl=60`)).status, 200);
  assert.equal(await newest(), 60);
});

test("the audit log names what was rolled back, and to which revision", async () => {
  const [, before] = await revisions("/routes/4");
  await node.call("POST", `/history/rollback?key=/apisix/routes/4&revision=${before}`);
  assert.partialDeepStrictEqual(node.audited.at(-1), {
    path: "/history/rollback",
    resources: ["/routes/4"],
    to_revision: before,
    status: 200,
  });
  await node.call("POST", "/history/rollback?key=/routes/4&revision=1");
  assert.partialDeepStrictEqual(node.audited.at(-1), { resources: ["/routes/4"], status: 404 });
});
