/** What others wrote into the store, or a defect left there: it is quarantined, shown, mended and outlived. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RESOURCE_TYPES } from "../../src/model/resources.ts";
import { TestNode } from "./node.ts";

const route = { uri: "/a", upstream: { nodes: { "127.0.0.1:1": 1 } } };
let node: TestNode;

before(async () => {
  node = await new TestNode().start();
});
after(() => node.dispose());

async function store(key: string, value: string): Promise<number> {
  const revision = await node.control.store.write([{ type: "put", key, value }]);
  await node.control.feed.whenTaken(revision);
  return revision;
}

const nested = (open: string, inner: string, close: string) =>
  open.repeat(20_000) + inner + close.repeat(20_000);
const hostile = [
  "",
  "null",
  "[]",
  '"text"',
  "not json",
  '{"plugins":null}',
  '{"plugins":{"key-auth":null,"limit-count":[1],"__proto__":{"a":1},"constructor":{}}}',
  '{"upstream":{"nodes":[null]},"nodes":{"a":null},"tls":{"client_key":{}},"snis":null,"key":[1]}',
  `{"plugins":{"key-auth":{"key":${nested("[", "", "]")}}}}`,
  `{"plugins":{"limit-count":{"redis_password":${nested('{"a":', "1", "}")}}}}`,
  nested("[", "", "]"),
];

test("whatever stands in place of a resource is taken without an exception", () => {
  const { state } = node.control;
  let revision = 1_000_000;
  for (const { plural, parent } of RESOURCE_TYPES) {
    const key = parent === undefined ? `/${plural}/vault/x` : `/${parent}/jack/${plural}/x`;
    for (const value of hostile) {
      for (const each of [key, key.replace("vault/", "")]) {
        state.put({ key: each, value, createRevision: 1, modRevision: ++revision });
        state.delete(each);
      }
    }
  }
});

test("a resource that is no JSON is mended by an ordinary write", async () => {
  for (const value of ["not json", "null"]) {
    await store("/routes/broken", value);
    const reply = await node.call("PUT", "/routes/broken", route);
    assert.equal(reply.status, 200, reply.text);
  }
});

test("a proto that cannot be compiled is in quarantine by itself, and mended by a write", async () => {
  await store("/protos/broken", '{"content":"syntax = \\"proto3\\"; message A { B b = 1; }"}');
  const { text } = await node.callControl("GET", "/v1/quarantine");
  assert.match(text, /\/protos\/broken/);
  assert.match(text, /A\.b: there is no type/);
  const reply = await node.call("PUT", "/protos/broken", { content: 'syntax = "proto3"; message A {}' });
  assert.equal(reply.status, 200, reply.text);
  assert.doesNotMatch((await node.callControl("GET", "/v1/quarantine")).text, /\/protos\/broken/);
});

test("a version that is no JSON is not rolled back to, and the resource stays", async () => {
  const revision = await store("/routes/rolled", "not json");
  await node.call("PUT", "/routes/rolled", route);
  const reply = await node.call("POST", `/history/rollback?key=/routes/rolled&revision=${revision}`);
  assert.equal(reply.status, 400, reply.text);
  assert.equal((await node.call("GET", "/routes/rolled")).status, 200);
});

test("one broken item takes no page of the Control API away, and none quotes it outside of its value", async () => {
  await store("/routes/broken", 'canary "checks"');
  await store("/plugin_metadata/cors", "canary");
  for (const path of ["/v1/routes", "/v1/plugin_metadatas", "/v1/plugin_metadata/cors", "/v1/quarantine"]) {
    const reply = await node.callControl("GET", path);
    assert.equal(reply.status, 200, path);
    assert.equal(typeof (path.endsWith("/cors") ? [] : reply.body), "object", `${path} ${reply.text}`);
  }
  assert.equal((await node.callControl("GET", "/v1/healthcheck")).text, "{}\n");
});

test("what is nested beyond all bounds takes no list away, and every kind of write mends it", async () => {
  const deep = `{"uri":"/a","plugins":{"key-auth":{"a":${nested("[", "", "]")}}},"key":"canary","upstream":${nested('{"a":', "1", "}")}}`;
  await node.call("PUT", "/routes/good", route);
  for (const key of ["/routes/put", "/routes/patch", "/routes/batch", "/ssls/deep"]) await store(key, deep);
  for (const path of ["/routes", "/routes/put", "/history/routes/put", "/ssls", "/history/ssls/deep"]) {
    const reply = await node.call("GET", path);
    assert.equal(reply.status, 200, path);
    if (path.includes("ssls")) assert.doesNotMatch(reply.text, /canary/);
  }
  const held = await node.callControl("GET", "/v1/routes");
  assert.ok(held.body.some(({ key }: { key: string }) => key === "/apisix/routes/good"));
  assert.equal((await node.call("PUT", "/routes/put", route)).status, 200);
  assert.equal((await node.call("PATCH", "/routes/patch", { plugins: null, upstream: null })).status, 400);
  const writes = [
    { key: "/routes/batch", value: route },
    { key: "/ssls/deep", value: null },
  ];
  assert.equal((await node.call("POST", "/batch", { writes })).status, 200);
});

test("a credential that is deleted is good no longer, although its consumer is in quarantine", async () => {
  await node.call("PUT", "/consumers/bob", { username: "bob" });
  await node.call("PUT", "/consumers/bob/credentials/c", { plugins: { "key-auth": { key: "key-of-bob" } } });
  await store("/consumers/bob", '{"username":"bob","plugins":{"no-such-plugin":{}}}');
  await node.call("DELETE", "/consumers/bob/credentials/c");
  await node.settle();
  assert.deepEqual(node.workers[0].items.get("consumer/bob"), { username: "bob" });
});

test("a credential that is in quarantine opens nothing, and the one beside it goes on", async () => {
  const credential = (key: string, more: object = {}) =>
    JSON.stringify({ plugins: { "key-auth": { key } }, ...more });
  const keysOf = (): unknown[] => {
    const consumer = node.workers[0].items.get("consumer/eve") as {
      credentials?: { plugins: { "key-auth": { key: string } } }[];
    };
    return (consumer.credentials ?? []).map(({ plugins }) => plugins["key-auth"].key);
  };
  await node.call("PUT", "/consumers/eve", { username: "eve" });
  await store("/consumers/eve/credentials/good", credential("key-good"));
  // Its plugin could be used, and the rest is wrong: so nobody knows what was meant.
  await store("/consumers/eve/credentials/bad", credential("key-bad", { labels: 5 }));
  await node.settle();
  assert.deepEqual(keysOf(), ["key-good"]);
  await store("/consumers/eve/credentials/good", credential("key-good", { unknown: 1 }));
  await node.settle();
  assert.deepEqual(keysOf(), []);
  await store("/consumers/eve/credentials/bad", credential("key-mended"));
  await node.settle();
  assert.deepEqual(keysOf(), ["key-mended"]);
});

test("no web page makes the Control API act", async () => {
  const reply = await node.callControl("POST", "/v1/counters/reset", { origin: "http://evil.example" });
  assert.equal(reply.status, 403);
  assert.equal((await node.callControl("POST", "/v1/counters/reset")).status, 200);
});
