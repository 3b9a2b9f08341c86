/** Secret fields at rest: encrypted in the store, plain for workers and for who has an admin key. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "../../src/model/certificate-kit.ts";
import { TestNode } from "./node.ts";

let node: TestNode;

before(async () => {
  node = await new TestNode().start();
});
after(() => node.dispose());

const PEM = PRIVATE_KEY;
const CERT = CERTIFICATE;
/** A line of the key. */
const canary = PEM.split("\n")[1];

async function stored(key: string): Promise<string> {
  return (await node.control.store.get(key))!.value;
}

test("a consumer's key is encrypted in the store and in answers to writes, plain in reads and for workers", async () => {
  const made = await node.call("PUT", "/consumers/jack", {
    username: "jack",
    plugins: { "key-auth": { key: "canary-key" } },
  });
  assert.equal(made.status, 201);
  const text = await stored("/consumers/jack");
  assert.ok(!text.includes("canary-key"), text);
  assert.equal(made.body.value.plugins["key-auth"].key, JSON.parse(text).plugins["key-auth"].key);
  const read = await node.call("GET", "/consumers/jack");
  assert.equal(read.body.value.plugins["key-auth"].key, "canary-key");
  const list = await node.call("GET", "/consumers");
  assert.equal(list.body.list[0].value.plugins["key-auth"].key, "canary-key");
  await node.settle();
  const published = node.workers[0].items.get("consumer/jack") as {
    plugins: Record<string, { key: string }>;
  };
  assert.equal(published.plugins["key-auth"].key, "canary-key");
});

test("equal keys of two consumers are found although they are encrypted", async () => {
  await node.call("PUT", "/consumers/jack", {
    username: "jack",
    plugins: { "key-auth": { key: "canary-key" } },
  });
  const second = await node.call("PUT", "/consumers/jim", {
    username: "jim",
    plugins: { "key-auth": { key: "canary-key" } },
  });
  assert.equal(second.body.error_msg, "duplicate key of plugin key-auth found with consumer: jack");
});

test("private keys are encrypted in the store, never shown, and survive a patch", async () => {
  const ssl = { cert: CERT, key: PEM, snis: ["a.com"], certs: [CERT], keys: [PEM] };
  const made = await node.call("PUT", "/ssls/1", ssl);
  assert.equal(made.status, 201, made.text);
  const read = await node.call("GET", "/ssls/1");
  const list = await node.call("GET", "/ssls");
  for (const answer of [made.text, read.text, list.text]) {
    assert.ok(
      !answer.includes("canary") && !answer.includes('"key":"-') && !answer.includes('"keys"'),
      answer,
    );
  }
  const before = JSON.parse(await stored("/ssls/1"));
  assert.ok(!JSON.stringify(before).includes(canary));
  assert.equal((await node.call("PATCH", "/ssls/1", { snis: ["b.com"] })).status, 200);
  const after = JSON.parse(await stored("/ssls/1"));
  assert.deepEqual([after.key, after.keys, after.snis], [before.key, before.keys, ["b.com"]]);
});

test("the client key of an upstream is encrypted, and what was read can be written again", async () => {
  const tls = { client_cert: CERT, client_key: PEM };
  await node.call("PUT", "/upstreams/1", { scheme: "https", nodes: { "127.0.0.1:1": 1 }, tls });
  assert.ok(!(await stored("/upstreams/1")).includes(canary));
  const { create_time: _1, update_time: _2, ...value } = (await node.call("GET", "/upstreams/1")).body.value;
  const again = await node.call("PUT", "/upstreams/1", value);
  assert.equal(again.status, 200, again.text);
  const plain = node.control.state.plain(node.control.state.get("upstreams", "1")!)!;
  assert.equal((plain["tls"] as { client_key: string }).client_key, PEM);
});

test("values from before the encryption are read as they are", async () => {
  const value = JSON.stringify({ username: "old", plugins: { "key-auth": { key: "plain-old-key" } } });
  await node.control.store.write([{ type: "put", key: "/consumers/old", value }]);
  await node.settle();
  assert.equal(
    (await node.call("GET", "/consumers/old")).body.value.plugins["key-auth"].key,
    "plain-old-key",
  );
});

test("the control API, which asks for no key, and the history show nothing plain", async () => {
  await node.call("PUT", "/consumers/jack", {
    username: "jack",
    plugins: { "key-auth": { key: "canary-key" } },
  });
  await node.call("PUT", "/ssls/1", { cert: CERT, key: PEM, sni: "a.com" });
  for (const path of [
    "/v1/routes",
    "/v1/services",
    "/v1/upstreams",
    "/v1/plugin_metadatas",
    "/v1/quarantine",
  ]) {
    const { text } = await node.callControl("GET", path);
    assert.ok(!text.includes("canary") && !text.includes(canary), text);
  }
  const history = await node.call("GET", "/history/ssls/1");
  assert.ok(!history.text.includes(canary) && !history.text.includes('"key":"A'), history.text);
});

test("a private key as a read of the store shows it, encrypted, can be sent again, and no other one", async () => {
  await node.call("PUT", "/ssls/2", { cert: CERT, key: PEM, sni: "a.com" });
  const { key } = JSON.parse(await stored("/ssls/2")) as { key: string };
  assert.equal((await node.call("PUT", "/ssls/2", { cert: CERT, key, sni: "b.com" })).status, 200);
  assert.equal((JSON.parse(await stored("/ssls/2")) as { key: string }).key, key);
  const other = `${key.startsWith("A") ? "B" : "A"}${key.slice(1)}`;
  const wrong = await node.call("PUT", "/ssls/2", { cert: CERT, key: other, sni: "b.com" });
  assert.deepEqual([wrong.status, wrong.pointer], [400, "/key"]);
});

test("what is in quarantine is told without its secrets", async () => {
  const plugins = { "key-auth": { key: ["canary-in-a-list"] }, "limit-count": { key_type: "canary" } };
  const value = JSON.stringify({ username: "broken", plugins });
  await node.control.store.write([{ type: "put", key: "/consumers/broken", value }]);
  const { text, body } = await node.callControl("GET", "/v1/quarantine");
  assert.equal(body.total, 1, text);
  assert.ok(!text.includes("canary"), text);
});

test("a reason that quotes what it refuses does not, where the resource has secrets", async () => {
  const redis = { policy: "redis", redis_host: "127.0.0.1", redis_password: "canary-of-redis" };
  const plugins = {
    "limit-count": { count: 1, time_window: 1, ...redis },
    "ip-restriction": { whitelist: ["canary-in-a-list"] },
  };
  const upstream = { nodes: { "127.0.0.1:1": 1 } };
  const put = async (id: string, value: object) =>
    await node.control.store.write([{ type: "put", key: `/routes/${id}`, value: JSON.stringify(value) }]);
  const reasonOf = async (id: string): Promise<string> => {
    const { text, body } = await node.callControl("GET", "/v1/quarantine");
    const list = body.list as { key: string; reason: string }[];
    const found = list.find(({ key }) => key.endsWith(`/routes/${id}`));
    assert.ok(found !== undefined, text);
    return found.reason;
  };
  await put("open", { uri: "/open", plugins: { "ip-restriction": plugins["ip-restriction"] }, upstream });
  assert.match(await reasonOf("open"), /invalid ip address: canary-in-a-list/);
  await put("secret", { uri: "/secret", plugins, upstream });
  assert.match(await reasonOf("secret"), /invalid ip address: \.\.\.$/);
});
