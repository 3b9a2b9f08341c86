/** The versions of a resource: list, differences, the way back. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { AdminKey } from "../../src/config/static-config.ts";
import { TestNode, VIEWER_KEY } from "./node.ts";

const upstream = { nodes: { "127.0.0.1:1": 1 } };
const team: AdminKey = {
  name: "team",
  key: "key-of-a-team-0123456789",
  role: "admin",
  scope: { resources: null, labels: { team: "a" }, hosts: null, uriPrefixes: null },
};
let node: TestNode;

before(async () => {
  node = await new TestNode({ keys: [team] }).start();
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

test("a version that was to live for a time and was deleted comes back for that time", async () => {
  await node.call("PUT", "/routes/5?ttl=600", { uri: "/five", upstream });
  await node.call("DELETE", "/routes/5");
  const [, made] = await revisions("/routes/5");
  assert.equal((await node.call("POST", `/history/rollback?key=/routes/5&revision=${made}`)).status, 201);
  assert.equal((await node.call("GET", "/history?key=/routes/5")).body.list[0].ttl, 600);
});

test("what cannot be written by hand is not restored, and what cannot be deleted is not rolled away", async () => {
  const { store, feed } = node.control;
  const put = async (key: string, value: object) => {
    await feed.whenTaken(await store.write([{ type: "put", key, value: JSON.stringify(value) }]));
  };
  const remove = async (key: string) => await feed.whenTaken(await store.write([{ type: "delete", key }]));
  const drain = { upstream_id: "1", host: "127.0.0.1", port: 1, mark: "m" };
  const progress = { run: "r", phase: "running", step: 0, elapsed: 0, requests: 0, holder: "h", since: 0 };
  for (const [key, value, removal] of [
    ["/drains/d", { id: "d", ...drain }, 200],
    ["/rollouts/r/progress/p", { id: "p", ...progress }, 405],
  ] as const) {
    await put(key, value);
    await remove(key);
    await put(key, value);
    const [, gone, made] = await revisions(key);
    const before = await store.get(key);
    const restored = await node.call("POST", `/history/rollback?key=${key}&revision=${made}`);
    assert.equal(restored.status, 405, restored.text);
    assert.match(restored.body.error_msg, /^not supported `PUT` method for /);
    assert.deepEqual(await store.get(key), before);
    assert.equal(node.audited.at(-1)?.["status"], 405);
    const removed = await node.call("POST", `/history/rollback?key=${key}&revision=${gone}`);
    assert.equal(removed.status, removal, removed.text);
    assert.equal((await store.get(key)) === null, removal === 200);
  }
});

test("viewers roll nothing back, and limited keys nothing that they may not write", async () => {
  const own = { uri: "/own", upstream, labels: { team: "a" } };
  await node.call("PUT", "/routes/6", own);
  await node.call("PUT", "/routes/6", { ...own, labels: { team: "b" } });
  await node.call("PUT", "/routes/7", { ...own, labels: { team: "b" } });
  await node.call("PUT", "/routes/7", own);
  const [toForeign, fromForeign] = await Promise.all(["/routes/7", "/routes/6"].map(revisions));
  const asTeam = { "x-api-key": team.key };
  for (const [key, revision, headers, status] of [
    ["/routes/7", toForeign[1], { "x-api-key": VIEWER_KEY }, 401],
    ["/routes/7", toForeign[1], asTeam, 403],
    ["/routes/7", toForeign[0], asTeam, 200],
    ["/routes/6", fromForeign[1], asTeam, 403],
    ["/routes/1", 1, asTeam, 403],
  ] as const) {
    const before = await node.control.store.get(key);
    const path = `/history/rollback?key=${key}&revision=${revision}`;
    const reply = await node.call("POST", path, undefined, headers);
    assert.equal(reply.status, status, `${key} ${revision}: ${reply.text}`);
    if (status !== 200) assert.deepEqual(await node.control.store.get(key), before);
  }
});

test("without streams nothing is told of stream routes, and none is restored", async () => {
  const plain = await new TestNode({ streamRoutes: false }).start();
  try {
    const value = JSON.stringify({ id: "1", upstream });
    const revision = await plain.control.store.write([{ type: "put", key: "/stream_routes/1", value }]);
    const query = `key=/stream_routes/1&revision=${revision}`;
    for (const [method, path] of [
      ["GET", "/history?key=/stream_routes/1"],
      ["POST", `/history/rollback?${query}`],
    ]) {
      const reply = await plain.call(method, path);
      assert.equal(reply.status, 400);
      assert.match(reply.body.error_msg, /^stream mode is disabled/);
    }
  } finally {
    await plain.dispose();
  }
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
