/** `POST /batch`: many writes as one, checked as they will stand together, all or nothing. */

import assert from "node:assert/strict";
import { after, beforeEach, before, test } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "../../src/model/certificate-kit.ts";
import { StoreRefusedError } from "../../src/store/contract.ts";
import { KEY, TestNode, VIEWER_KEY } from "./node.ts";

const upstream = { nodes: { "127.0.0.1:81": 1 } };
const teamKey = "team-a-key-of-20-chars";

let node: TestNode;
before(async () => {
  const scope = { resources: null, labels: { team: "a" }, hosts: null, uriPrefixes: null };
  const keys = [{ name: "team", key: teamKey, role: "admin" as const, scope }];
  node = await new TestNode({ keys }).start();
});
after(() => node.dispose());
beforeEach(async () => {
  const types = [...node.control.state.types.values()].filter(({ parent }) => parent === undefined);
  const prune = { types: types.map(({ plural }) => plural) };
  assert.equal((await node.call("POST", "/batch", { prune })).status, 200);
});

type Writes = Record<string, object | null>;

function batch(writes: Writes, more: object = {}, query = "", headers: Record<string, string> = {}) {
  const list = Object.entries(writes).map(([key, value]) => ({ key, value }));
  return node.call("POST", `/batch${query}`, { writes: list, ...more }, headers);
}

async function keys(): Promise<string[]> {
  return node.control.state.keys().sort();
}

const actions = (body: { changes: { key: string; action: string }[] }) =>
  body.changes.map(({ key, action }) => `${action} ${key}`);

test("writes may refer to each other in any order, and reach the workers as one", async () => {
  const before = node.control.publisher.revision;
  const reply = await batch(
    {
      "/consumers/jack/credentials/one": { plugins: { "key-auth": { key: "k1" } } },
      "/routes/1": { uri: "/a", service_id: "s", plugin_config_id: "p" },
      "/consumers/jack": { username: "jack", group_id: "g" },
      "/services/s": { upstream_id: "u" },
      "/upstreams/u": { ...upstream, type: "roundrobin" },
      "/plugin_configs/p": { plugins: {} },
      "/consumer_groups/g": { plugins: {} },
    },
    {},
    "?wait=live",
  );
  assert.equal(reply.status, 200, reply.text);
  assert.equal(reply.body.changes.length, 7);
  assert.equal(reply.headers.get("etag"), `"${reply.body.revision}"`);
  assert.equal(node.control.publisher.revision, before + 1);
  const { value } = (await node.call("GET", "/routes/1")).body;
  assert.deepEqual([value.id, typeof value.create_time], ["1", "number"]);
});

test("one wrong write refuses all of them, and every wrong one is named", async () => {
  const reply = await batch({
    "/routes/1": { uri: "/a", upstream },
    "/routes/2": { uri: "/a", upstream_id: "none" },
    "/routes/3": { uri: 1, upstream },
    "/consumers/nobody/credentials/x": { plugins: { "key-auth": { key: "k" } } },
  });
  assert.equal(reply.status, 400);
  assert.match(reply.body.error_msg, /^3 of 4 writes are refused; nothing was changed/);
  const errors = reply.body.errors as { key: string; pointer?: string; error_msg: string }[];
  assert.deepEqual(
    errors.map(({ key, pointer }) => [key, pointer]),
    [
      ["/apisix/routes/2", "/upstream_id"],
      ["/apisix/routes/3", "/uri"],
      ["/apisix/consumers/nobody/credentials/x", undefined],
    ],
  );
  assert.match(errors[2].error_msg, /consumer not found/);
  assert.deepEqual(await keys(), []);
});

test("what is the same already is left alone, with its revision", async () => {
  await batch({ "/routes/1": { uri: "/a", upstream, plugins: { "key-auth": {} } } });
  const { modifiedIndex } = (await node.call("GET", "/routes/1")).body;
  const same = await batch({ "/routes/1": { plugins: { "key-auth": {} }, upstream, uri: "/a", id: "1" } });
  assert.deepEqual([same.body.changes, same.body.unchanged], [[], 1]);
  assert.equal((await node.call("GET", "/routes/1")).body.modifiedIndex, modifiedIndex);
  const other = await batch({ "/routes/1": { uri: "/b", upstream } });
  assert.deepEqual(other.body.changes, [
    {
      key: "/apisix/routes/1",
      action: "update",
      changes: [
        { op: "replace", path: "/uri", from: "/a", to: "/b" },
        { op: "remove", path: "/plugins", from: { "key-auth": {} } },
      ],
    },
  ]);
});

test("a delete of what others refer to needs them to go or to change in the same batch", async () => {
  await batch({ "/upstreams/u": upstream, "/routes/1": { uri: "/a", upstream_id: "u" } });
  const alone = await batch({ "/upstreams/u": null });
  assert.deepEqual([alone.status, alone.body.errors[0].key], [400, "/apisix/upstreams/u"]);
  const moved = await batch({ "/upstreams/u": null, "/routes/1": { uri: "/a", upstream } });
  assert.deepEqual(actions(moved.body), ["update /apisix/routes/1", "delete /apisix/upstreams/u"]);
  const both = await batch({ "/upstreams/u": upstream, "/routes/1": { uri: "/a", upstream_id: "u" } });
  assert.equal(both.status, 200);
  assert.equal((await batch({ "/upstreams/u": null, "/routes/1": null })).status, 200);
  const dangling = await batch({ "/upstreams/u": null, "/routes/1": { uri: "/a", upstream_id: "u" } });
  assert.equal(dangling.status, 400);
  assert.deepEqual(await keys(), []);
});

test("a key may move from one consumer to another, and not belong to two", async () => {
  const withKey = (username: string, key: string) => ({ username, plugins: { "key-auth": { key } } });
  await batch({ "/consumers/a": withKey("a", "one"), "/consumers/b": withKey("b", "two") });
  const swapped = { "/consumers/a": withKey("a", "two"), "/consumers/b": withKey("b", "one") };
  assert.equal((await batch(swapped)).status, 200);
  const twice = { "/consumers/c": withKey("c", "new"), "/consumers/d": withKey("d", "new") };
  assert.match((await batch(twice)).body.errors[0].error_msg, /duplicate key of plugin key-auth/);
  assert.match((await batch({ "/consumers/c": withKey("c", "one") })).body.errors[0].error_msg, /duplicate/);
  assert.equal((await batch({ "/consumers/b": null, "/consumers/c": withKey("c", "one") })).status, 200);
});

test("conditions hold for the whole configuration or for one resource, or nothing is written", async () => {
  const { body } = await batch({ "/routes/1": { uri: "/a", upstream } });
  const write = { "/routes/1": { uri: "/b", upstream } };
  const stale = await batch(write, {}, "", { "if-match": `"${body.revision - 1}"` });
  assert.equal(stale.status, 412);
  assert.equal((await batch(write, {}, "", { "if-match": `"${body.revision}"` })).status, 200);
  const one = (ifMatch: number) =>
    node.call("POST", "/batch", { writes: [{ key: "/routes/1", value: null, if_match: ifMatch }] });
  assert.equal((await one(body.revision)).status, 412);
  assert.equal((await one(0)).status, 412);
  assert.equal((await one(body.revision + 1)).status, 200);
});

test("a condition on the whole configuration holds until the batch is written", async (t) => {
  const { body } = await batch({ "/routes/1": { uri: "/a", upstream } });
  const { store } = node.control;
  const write = store.write.bind(store);
  // As another node would, after this one has decided.
  const raced = t.mock.method(store, "write", async (...args: Parameters<typeof write>) => {
    raced.mock.restore();
    await write([
      { type: "put", key: "/upstreams/of-others", value: JSON.stringify({ ...upstream, id: "u" }) },
    ]);
    return await write(...args);
  });
  const reply = await batch({ "/routes/1": { uri: "/b", upstream } }, {}, "", {
    "if-match": `"${body.revision}"`,
  });
  assert.equal(reply.status, 412, reply.text);
  assert.equal((await node.call("GET", "/routes/1")).body.value.uri, "/a");
});

test("more than the store takes at once is refused with its limit", async (t) => {
  t.mock.method(node.control.store, "write", () => {
    throw new StoreRefusedError("given 3 changes, expected at most 2");
  });
  const reply = await batch({ "/routes/1": { uri: "/a", upstream } });
  assert.deepEqual([reply.status, reply.body], [413, { error_msg: "given 3 changes, expected at most 2" }]);
});

test("prune deletes what its types and labels choose and no write names", async () => {
  const labels = { team: "a" };
  await batch({
    "/upstreams/kept": { ...upstream, labels },
    "/upstreams/gone": { ...upstream, labels },
    "/upstreams/other": { ...upstream, labels: { team: "b" } },
    "/routes/gone": { uri: "/a", upstream_id: "gone", labels },
    "/global_rules/1": { plugins: {} },
  });
  const writes = { "/upstreams/kept": { ...upstream, labels } };
  const reply = await batch(writes, { prune: { labels } });
  assert.deepEqual(actions(reply.body), ["delete /apisix/routes/gone", "delete /apisix/upstreams/gone"]);
  await batch(writes, { prune: { types: ["upstreams"] } });
  assert.deepEqual(await keys(), ["/global_rules/1", "/upstreams/kept"]);
  const credentials = { "/consumers/jack": { username: "jack" } };
  await batch({ ...credentials, "/consumers/jack/credentials/a": { plugins: { "key-auth": { key: "k" } } } });
  const pruned = await batch(credentials, { prune: { types: ["credentials"] } });
  assert.deepEqual(actions(pruned.body), ["delete /apisix/consumers/jack/credentials/a"]);
});

const malformed: [body: unknown, message: RegExp][] = [
  [[], /expected an object/],
  [{ write: [] }, /unknown field write/],
  [{ writes: {} }, /writes: expected a list/],
  [{ writes: [{ key: "/routes", value: {} }] }, /writes\[0\]\.key/],
  [{ writes: [{ key: "/routes/1/uri", value: {} }] }, /writes\[0\]\.key/],
  [{ writes: [{ key: "/routes/1", value: 1 }] }, /writes\[0\]\.value/],
  [{ writes: [{ key: "/routes/1", value: {}, if_match: "1" }] }, /writes\[0\]\.if_match/],
  [{ writes: ["/routes/1", "/apisix/routes/1"].map((key) => ({ key, value: null })) }, /given twice/],
  [{ prune: {} }, /nothing is deleted unless it is chosen/],
  [{ prune: { types: ["route"] } }, /prune\.types/],
  [{ prune: { labels: {} } }, /prune\.labels/],
];
for (const [body, message] of malformed) {
  test(`what is no batch is refused: ${String(message)}`, async () => {
    const reply = await node.call("POST", "/batch", body);
    assert.equal(reply.status, 400);
    assert.match(reply.body.error_msg, message);
  });
}

test("a dry run writes nothing and tells whose requests would go elsewhere", async () => {
  await batch({
    "/routes/all": { uri: "/*", upstream },
    "/routes/old": { uri: "/a", hosts: ["a.com"], upstream, plugins: { "key-auth": {}, cors: {} } },
  });
  const { revision } = node.control.feed;
  const reply = await batch(
    {
      "/routes/new": { uri: "/a", hosts: ["a.com"], priority: 1, upstream },
      "/routes/api": { uri: "/api/*", methods: ["GET"], upstream },
      "/routes/old": {
        uri: "/a",
        hosts: ["a.com"],
        upstream,
        plugins: { "key-auth": {}, cors: { _meta: { priority: 1 } } },
      },
    },
    {},
    "?dry_run=true",
  );
  assert.equal(reply.status, 200);
  assert.deepEqual([node.control.feed.revision, reply.body.dry_run], [revision, true]);
  assert.deepEqual(reply.body.impact, {
    matches: [
      { host: "a.com", uri: "/a", before: ["old"], after: ["new"] },
      { host: "", uri: "/api/*", before: ["all"], after: ["api", "all"] },
    ],
    hidden: [{ route: "old", by: ["new"] }],
    plugin_order: [{ route: "old", before: ["cors", "key-auth"], after: ["key-auth", "cors"] }],
    left_out: 0,
  });
});

test("a limited key writes and prunes within its limits, and learns nothing of others", async () => {
  const labels = { team: "a" };
  await batch({ "/routes/b": { uri: "/*", upstream }, "/routes/a": { uri: "/a", upstream, labels } });
  const asTeam = (writes: Writes, more = {}, query = "") =>
    batch(writes, more, query, { "x-api-key": teamKey });
  const foreign = await asTeam({ "/routes/b": null });
  assert.deepEqual([foreign.status, foreign.body.errors.length], [403, 1]);
  assert.equal((await asTeam({ "/global_rules/1": { plugins: {} } })).status, 403);
  const dry = await asTeam({}, { prune: { types: ["routes"] } }, "?dry_run=true");
  assert.deepEqual([actions(dry.body), dry.body.impact], [["delete /apisix/routes/a"], null]);
  assert.equal((await asTeam({}, { prune: { types: ["routes"] } })).status, 200);
  assert.deepEqual(await keys(), ["/routes/b"]);
});

test("a viewer cannot write, the author stands in the history, and the audit has one line", async () => {
  const refused = await batch({ "/routes/1": { uri: "/a", upstream } }, {}, "", { "x-api-key": VIEWER_KEY });
  assert.equal(refused.status, 401);
  node.audited.length = 0;
  await batch({ "/routes/1": { uri: "/a", upstream } });
  const line = node.audited.find(({ path }) => path === "/batch");
  assert.deepEqual([line?.["author"], line?.["status"]], ["admin", 200]);
  assert.deepEqual(line?.["resources"], ["create /routes/1"]);
  await batch({ "/routes/1": { uri: "/b", upstream_id: "none" }, "/routes/2": null });
  assert.deepEqual(node.audited.at(-1)?.["resources"], ["/routes/1", "/routes/2"]);
  const history = (await node.call("GET", "/history?key=/routes/1", undefined, { "x-api-key": KEY })).body;
  assert.equal(history.list[0].author, "admin");
});

test("secrets are told neither by a plan nor in the store", async () => {
  const consumer = (key: string) => ({ username: "jack", plugins: { "key-auth": { key } } });
  await batch({ "/consumers/jack": consumer("canary-1") });
  assert.ok(!(await node.control.store.get("/consumers/jack"))!.value.includes("canary"));
  const { body } = await batch({ "/consumers/jack": consumer("canary-1") });
  assert.equal(body.unchanged, 1);
  const changed = await batch({ "/consumers/jack": consumer("canary-2") }, {}, "?dry_run=true");
  const hidden = { from: "(not shown)", to: "(not shown)" };
  assert.deepEqual(changed.body.changes[0].changes, [
    { op: "replace", path: "/plugins/key-auth/key", ...hidden },
  ]);
  const removed = await batch({ "/consumers/jack": { username: "jack" } }, {}, "?dry_run=true");
  assert.equal(removed.body.changes[0].changes[0].path, "/plugins");
  assert.ok(!removed.text.includes("canary"));
  await batch({ "/ssls/1": { cert: CERTIFICATE, key: PRIVATE_KEY, snis: ["a.com"] } });
  const other = { cert: CERTIFICATE, key: `${PRIVATE_KEY}\n`, snis: ["a.com"] };
  const renewed = await batch({ "/ssls/1": other }, {}, "?dry_run=true");
  assert.deepEqual(renewed.body.changes[0].changes, [{ op: "replace", path: "/key" }]);
});

test("a thousand writes are one change", async () => {
  const writes: Writes = {};
  for (let i = 0; i < 1000; i++) writes[`/routes/${i}`] = { uri: `/r/${i}`, upstream };
  const before = node.control.feed.revision;
  const reply = await batch(writes, {}, "?wait=live");
  assert.equal(reply.body.changes.length, 1000);
  assert.equal(node.control.feed.revision, before + 1);
});

test("a prune deletes nothing that became another's after it was chosen", async (t) => {
  const { state } = node.control;
  const own = { uri: "/a", upstream, labels: { team: "a" } };
  await batch({ "/routes/1": own, "/routes/2": own });
  const { plain } = state;
  let isChanged = false;
  // Of others, while the second one is looked at.
  t.mock.method(state, "plain", (entry: Parameters<typeof plain>[0]) => {
    if (entry.id === "2" && !isChanged) {
      isChanged = true;
      const { key, createRevision, modRevision } = state.get("routes", "1")!;
      const value = JSON.stringify({ ...own, id: "1", labels: { team: "b" } });
      state.put({ key, value, createRevision, modRevision: modRevision + 1 });
    }
    return plain.call(state, entry);
  });
  const prune = { types: ["routes"], labels: { team: "a" } };
  const reply = await batch({}, { prune }, "?dry_run=true");
  assert.equal(isChanged, true);
  assert.equal(reply.status, 412, reply.text);
  t.mock.restoreAll();
  const stored = (await node.control.store.get("/routes/1"))!;
  state.put(stored);
});
