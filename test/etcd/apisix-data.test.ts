/** A whole gateway on an etcd that APISIX writes into as well: what each makes of the other's data, good and bad. */

import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv } from "node:crypto";
import { test } from "node:test";
import type { RealNode } from "../promises/real-node.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { PUBLIC_KEY, SECRET_KEY, startNode, startOrigin, until } from "./nodes.ts";

/** AES-128-CBC with the key as its own initialisation vector: the way of APISIX. */
function encrypt(key: string, text: string): string {
  const cipher = createCipheriv("aes-128-cbc", key, key);
  return cipher.update(text, "utf8", "base64") + cipher.final("base64");
}

function decrypt(key: string, text: string): string {
  const decipher = createDecipheriv("aes-128-cbc", key, key);
  return decipher.update(text, "base64", "utf8") + decipher.final("utf8");
}

test("a node on an etcd", { skip: WITHOUT_ETCD }, async (t) => {
  const cluster = await EtcdCluster.start(t, { flags: ["--max-request-bytes", String(8 * 1024 * 1024)] });
  const port = await startOrigin(t);
  const nodes: RealNode[] = [];

  await t.test("serves what APISIX wrote, and writes what APISIX reads", async () => {
    const times = { create_time: 1700000000, update_time: 1700000001 };
    const upstream = { nodes: { [`127.0.0.1:${port}`]: 1 }, type: "roundrobin", scheme: "http" };
    const apisix: Record<string, object> = {
      "/upstreams/1": { id: "1", ...upstream, hash_on: "vars", pass_host: "pass", ...times },
      "/routes/1": { id: "1", uri: "/free", upstream_id: "1", priority: 0, status: 1, ...times },
      "/routes/2": { id: "2", uris: ["/closed"], upstream_id: "1", plugins: { "key-auth": {} }, ...times },
      "/consumers/jack": {
        username: "jack",
        plugins: { "key-auth": { key: encrypt(PUBLIC_KEY, "jacks-key") } },
        ...times,
      },
      "/consumers/jack/credentials/a": {
        id: "a",
        plugins: { "key-auth": { key: encrypt(PUBLIC_KEY, "another-key") } },
        ...times,
      },
    };
    for (const type of ["routes", "upstreams", "consumers", "ssls", "plugin_metadata"]) {
      await cluster.put(`/apisix/${type}/`, "init_dir");
    }
    await cluster.put("/apisix/data_plane/server_info/abc", '{"id":"abc"}');
    for (const [key, value] of Object.entries(apisix))
      await cluster.put(`/apisix${key}`, JSON.stringify(value));

    const node = await startNode(t, cluster.endpoints);
    nodes.push(node);
    assert.equal((await node.get("/free")).text, "origin /free");
    assert.equal((await node.get("/closed")).status, 401);
    for (const apikey of ["jacks-key", "another-key"]) {
      assert.equal((await node.get("/closed", { apikey })).status, 200, apikey);
    }
    assert.equal((await node.control("/v1/quarantine")).total, 0);
    const list = (await node.admin("GET", "/routes")).body;
    assert.equal(list.total, 2);

    const made = await node.admin("PUT", "/consumers/jill", {
      username: "jill",
      plugins: { "key-auth": { key: "jills-key" } },
    });
    assert.equal(made.status, 201, made.text);
    const stored = JSON.parse(await cluster.ctl("get", "--print-value-only", "/apisix/consumers/jill"));
    assert.deepEqual(Object.keys(stored).sort(), ["create_time", "plugins", "update_time", "username"]);
    assert.equal(decrypt(SECRET_KEY, stored.plugins["key-auth"].key), "jills-key");
    await until(async () => (await node.get("/closed", { apikey: "jills-key" })).status === 200);

    // A change by others is one of this node too.
    await cluster.put("/apisix/routes/1", JSON.stringify({ ...apisix["/routes/1"], uri: "/moved" }));
    await until(async () => (await node.get("/moved")).status === 200);
    assert.equal((await node.get("/free")).status, 404);
    await cluster.ctl("del", "/apisix/consumers/jack/credentials/a");
    await until(async () => (await node.get("/closed", { apikey: "another-key" })).status === 401);
  });

  await t.test("puts each bad item in quarantine, alone, and serves on what was in service", async () => {
    const [node] = nodes;
    const upstream = { type: "roundrobin", nodes: { [`127.0.0.1:${port}`]: 1 } };
    await node.put("/routes/served", { uri: "/served", upstream });
    await node.put("/routes/guarded", { uri: "/guarded", upstream, plugins: { "key-auth": {} } });
    const bad: Record<string, string> = {
      null: "null",
      "a-number": "5",
      "wrong-type": JSON.stringify({ uri: "/a", priority: "high", upstream }),
      "unknown-plugin": JSON.stringify({ uri: "/unknown", upstream, plugins: { "no-such-plugin": {} } }),
      "bad-auth": JSON.stringify({ uri: "/bad-auth", upstream, plugins: { "key-auth": { header: 5 } } }),
      "not-json": '{"uri": "/a"',
      "no-text": "",
      poison: '{"__proto__": {"uri": "/a"}, "uri": 7}',
      large: JSON.stringify({ uri: "/large", upstream, desc: "x".repeat(2_000_000) }),
      guarded: JSON.stringify({ uri: "/guarded", upstream, plugins: { "key-auth": 5 } }),
    };
    for (const [id, value] of Object.entries(bad)) await cluster.put(`/apisix/routes/${id}`, value);
    await cluster.put("/apisix/routes/last", JSON.stringify({ uri: "/last", upstream }));
    await until(async () => (await node.get("/last")).status === 200);
    const { list } = await node.control("/v1/quarantine");
    assert.deepEqual(
      list.map(({ key }: { key: string }) => key.replace("/apisix/routes/", "")).sort(),
      Object.keys(bad).sort(),
    );
    assert.ok(list.every(({ reason }: { reason: string }) => reason.length < 2000));
    assert.equal((await node.get("/served")).text, "origin /served");
    assert.equal((await node.get("/bad-auth")).status, 404);
    assert.equal((await node.get("/guarded")).status, 401);
    assert.equal((await node.get("/a")).status, 404);

    // What an operator does about it.
    assert.equal((await node.admin("PUT", "/routes/null", { uri: "/mended", upstream })).status, 200);
    await until(async () => (await node.get("/mended")).status === 200);
    for (const id of Object.keys(bad)) await cluster.ctl("del", `/apisix/routes/${id}`);
    await until(async () => (await node.control("/v1/quarantine")).total === 0);
  });

  await t.test("compares and swaps, keeps a history with authors, and rolls back", async () => {
    const [one] = nodes;
    const two = await startNode(t, cluster.endpoints);
    const upstream = { type: "roundrobin", nodes: { "127.0.0.1:1": 1 } };
    const made = await one.admin("PUT", "/routes/swap", { uri: "/first", upstream });
    const etag = made.headers.get("etag")!;
    await until(async () => (await two.admin("GET", "/routes/swap")).status === 200);
    const patched = await two.admin("PATCH", "/routes/swap", { uri: "/second" }, { "if-match": etag });
    assert.equal(patched.status, 200, patched.text);
    const late = await one.admin("PATCH", "/routes/swap", { uri: "/third" }, { "if-match": etag });
    assert.equal(late.status, 412, late.text);
    // Both at once, again and again: no write takes the other's away.
    const labels = Array.from({ length: 20 }, (_, i) => `l${i}`);
    const answers = await Promise.all(
      labels.map((label, i) =>
        [one, two][i % 2].admin("PATCH", "/routes/swap", { labels: { [label]: "1" } }),
      ),
    );
    const done = labels.filter((_, i) => answers[i].status === 200);
    assert.ok(done.length > 0);
    const { value } = (await one.admin("GET", "/routes/swap")).body;
    for (const label of done) assert.equal(value.labels[label], "1", label);

    await until(
      async () => (await one.admin("GET", "/history/routes/swap?limit=50")).body.total === done.length + 2,
    );
    const { list } = (await one.admin("GET", "/history/routes/swap?limit=50")).body;
    assert.ok(list.every((entry: { author: string }) => entry.author === "admin"));
    const [first] = list.slice(-1);
    const path = `/history/rollback?key=/routes/swap&revision=${first.revision}`;
    const back = await two.admin("POST", path);
    assert.equal(back.status, 200, back.text);
    await until(async () => (await one.admin("GET", "/routes/swap")).body.value.uri === "/first");
    const { value: now } = (await one.admin("GET", "/routes/swap")).body;
    assert.equal(now.labels, undefined);
    const diff = (await one.admin("GET", "/history/diff?key=/routes/swap")).body;
    assert.ok(diff.changes.some(({ path: changed }: { path: string }) => changed === "/uri"));
  });
});
