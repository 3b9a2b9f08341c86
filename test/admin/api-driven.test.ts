/** The API-driven mode as clients see it: `/configs` of the Admin API, with stand-in workers behind it. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { parse as parseYaml, stringify as yamlText } from "yaml";
import { CERTIFICATE, PRIVATE_KEY } from "../../src/model/certificate-kit.ts";
import { DocumentStore } from "../../src/store/api/store.ts";
import { SealedFile } from "../../src/store/snapshot/sealed-file.ts";
import { silent } from "../../src/lib/silent-log.ts";
import { TestNode, VIEWER_KEY } from "./node.ts";

const secret = randomBytes(32);
const upstream = { nodes: { "127.0.0.1:1980": 1 }, type: "roundrobin" };
const SCOPED = {
  name: "team",
  key: "key-of-a-team-0123456789",
  role: "admin" as const,
  scope: { resources: null, labels: { team: "a" }, hosts: null, uriPrefixes: null },
};

let node: TestNode;
let digest = 0;

async function openDocument(folder: string): Promise<DocumentStore> {
  return await DocumentStore.open({
    file: new SealedFile(join(folder, "configs"), secret, "configs"),
    log: silent,
  });
}

async function start(): Promise<TestNode> {
  const made = new TestNode({ keys: [SCOPED] });
  made.store = await openDocument(made.folder);
  return await made.start();
}

async function put(body: unknown, headers: Record<string, string> = {}) {
  return await node.call("PUT", "/configs", body, { "x-digest": `d${++digest}`, ...headers });
}

const route = (id: string, uri: string, more: object = {}) => ({ id, uri, upstream, ...more });

function served(kind: string): Record<string, unknown> {
  const entries = [...node.workers[0].items].filter(([key]) => key.startsWith(`${kind}/`));
  return Object.fromEntries(entries);
}

describe("a node that has no document yet", () => {
  before(async () => {
    node = await start();
  });
  after(async () => await node.dispose());

  test("shows every type with version 0, in JSON and YAML, and no metadata", async () => {
    const json = await node.call("GET", "/configs");
    assert.equal(json.status, 200);
    for (const type of ["routes", "ssls", "services", "upstreams", "consumers", "plugins"]) {
      assert.equal(json.body[`${type}_conf_version`], 0);
    }
    assert.equal(json.headers.get("x-digest"), null);
    assert.equal(json.headers.get("x-last-modified"), null);
    const yaml = await node.call("GET", "/configs", undefined, { accept: "application/yaml" });
    assert.equal(yaml.headers.get("content-type"), "application/yaml");
    assert.deepEqual(parseYaml(yaml.text), json.body);
  });

  test("has no single resources, and answers about types", async () => {
    for (const [method, path] of [
      ["GET", "/routes"],
      ["PUT", "/routes/1"],
      ["POST", "/configs"],
      ["DELETE", "/configs"],
      ["GET", "/configs/1"],
      ["GET", "/history/routes/1"],
    ] as const) {
      const { status, body } = await node.call(method, path, method === "GET" ? undefined : {});
      assert.deepEqual([status, body.error_msg], [404, "404 Route Not Found"], `${method} ${path}`);
    }
    assert.equal((await node.call("GET", "/schema/plugins/key-auth")).status, 200);
    assert.equal((await node.call("GET", "/plugins/list")).status, 200);
  });

  test("needs a key, and one that may write for a document", async () => {
    assert.equal((await node.call("GET", "/configs", undefined, { "x-api-key": "no" })).status, 401);
    assert.equal((await put({}, { "x-api-key": VIEWER_KEY })).status, 401);
    assert.equal((await put({}, { "x-api-key": SCOPED.key })).status, 403);
    const read = await node.call("GET", "/configs", undefined, { "x-api-key": SCOPED.key });
    assert.equal(read.status, 403);
  });
});

describe("a document", () => {
  beforeEach(async () => {
    node = await start();
  });
  afterEach(async () => await node.dispose());

  test("is accepted, served when that is answered, and shown as it was put", async () => {
    const body = { routes: [route("r1", "/r1", { plugins: { "proxy-rewrite": { uri: "/hello" } } })] };
    const answer = await put(body);
    assert.equal(answer.status, 202);
    assert.equal(answer.text, "");
    assert.equal(answer.headers.get("x-digest"), `d${digest}`);
    assert.ok(Number(answer.headers.get("x-last-modified")) > 0);
    assert.deepEqual(Object.keys(served("route")), ["route/r1"]);
    const shown = await node.call("GET", "/configs");
    assert.deepEqual(shown.body.routes, body.routes);
    assert.equal(shown.body.routes_conf_version, 1);
    assert.equal(shown.body.ssls_conf_version, 1);
    assert.equal(shown.headers.get("x-digest"), `d${digest}`);
    const head = await node.call("HEAD", "/configs");
    assert.deepEqual([head.status, head.headers.get("x-digest")], [200, `d${digest}`]);
    assert.equal(head.headers.get("x-last-modified"), shown.headers.get("x-last-modified"));
  });

  test("with the digest of before changes nothing", async () => {
    await put({ routes: [route("r1", "/r1")] }, { "x-digest": "same" });
    const { status, text } = await put({ routes: [{ broken: true }] }, { "x-digest": "same" });
    assert.deepEqual([status, text], [204, ""]);
    assert.deepEqual(Object.keys(served("route")), ["route/r1"]);
  });

  test("may be YAML", async () => {
    const answer = await put(yamlText({ routes: [route("r2", "/r2")] }), {
      "content-type": "application/yaml",
    });
    assert.equal(answer.status, 202);
    assert.deepEqual(Object.keys(served("route")), ["route/r2"]);
    assert.equal((await put({})).status, 202);
    assert.deepEqual(served("route"), {});
  });

  test("that is written back as it was read is taken", async () => {
    await put({ routes: [route("r1", "/r1")] });
    const { body } = await node.call("GET", "/configs");
    body.routes.push(route("r2", "/r2"));
    body.routes_conf_version = 100;
    assert.equal((await put(body)).status, 202);
    assert.deepEqual(Object.keys(served("route")).sort(), ["route/r1", "route/r2"]);
  });

  test("keeps a type whose version is the same", async () => {
    const first = { routes_conf_version: 1060, upstreams_conf_version: 1060 };
    await put({
      ...first,
      routes: [{ id: "r1", uri: "/r1", upstream_id: "u1" }],
      upstreams: [{ id: "u1", ...upstream }],
    });
    const second = { routes_conf_version: 1062, upstreams_conf_version: 1060 };
    const answer = await put({
      ...second,
      routes: [{ id: "r1", uri: "/r2", upstream_id: "u1" }],
      upstreams: [],
    });
    assert.equal(answer.status, 202);
    assert.deepEqual(Object.keys(served("upstream")), ["upstream/u1"]);
    const lower = await put({ routes_conf_version: 1, routes: [] });
    assert.deepEqual(
      [lower.status, lower.text],
      [400, '{"error_msg":"routes_conf_version must be greater than or equal to (1062)"}\n'],
    );
  });

  test("changes what has another modifiedIndex, and nothing else", async () => {
    const uriOf = () => JSON.stringify(served("route"));
    await put({ routes: [route("r1", "/r1", { modifiedIndex: 1 })] });
    await put({ routes: [route("r1", "/r2", { modifiedIndex: 1 })] });
    assert.match(uriOf(), /"\/r1"/);
    await put({ routes: [route("r1", "/r2", { modifiedIndex: 2 })] });
    assert.match(uriOf(), /"\/r2"/);
    const wrong = await put({ routes: [route("r1", "/r1", { modifiedIndex: "3" })] });
    assert.equal(wrong.status, 400);
  });

  test("holds consumers with their credentials", async () => {
    const credential = (id: string, key: string) => ({ id, plugins: { "key-auth": { key } } });
    const consumers = [
      { username: "john_1" },
      credential("john_1/credentials/john-a", "auth-a"),
      credential("john_1/credentials/john-b", "auth-b"),
    ];
    assert.equal((await put({ consumers })).status, 202);
    assert.match(JSON.stringify(served("consumer")), /auth-a.*auth-b/);
  });

  test("that is wrong is refused with APISIX's words, and leaves everything as it was", async () => {
    await put({ routes: [route("r1", "/r1")] });
    const before = (await node.call("GET", "/configs")).text;
    const yaml = { "content-type": "application/yaml" };
    const unknown = { plugins: { "invalid-plugin": {} } };
    const consumer = { username: "c", plugins: { "key-auth": { key: "k" } } };
    const credential = { id: "john/credentials/a", plugins: { "key-auth": { key: "k" } } };
    const cases: [unknown, string | RegExp, Record<string, string>?][] = [
      [{ routes_conf_version: "adc" }, "routes_conf_version must be a number"],
      ["", "invalid request body: empty request body"],
      ["{abcd", /^invalid request body: /],
      ["a: b: [", /^invalid request body: /, yaml],
      ["[1]", /^invalid request body: /],
      [{ routes: [route("r1", 123 as unknown as string)] }, /property "uri" validation failed: wrong type/],
      [{ services: [{ id: "s", name: "s", ...unknown }] }, "unknown plugin [invalid-plugin]"],
      [{ routes: [{ id: "r", uri: "/", ...unknown }] }, "unknown plugin [invalid-plugin]"],
      [{ routes: [route("r", "/1"), route("r", "/2")] }, "found duplicate id r in routes"],
      [{ consumers: [consumer, consumer] }, "found duplicate username c in consumers"],
      [
        { consumers: [credential, credential] },
        "found duplicate credential id john/credentials/a in consumers",
      ],
      [{ routes: {} }, "routes must be an array"],
    ];
    for (const [body, message, headers] of cases) {
      const answer = await put(body, headers);
      assert.equal(answer.status, 400, JSON.stringify(body));
      if (typeof message === "string") assert.deepEqual(answer.body, { error_msg: message });
      else assert.match(answer.body.error_msg, message);
    }
    const missing = await node.call("PUT", "/configs", { routes_conf_version: 100 });
    assert.deepEqual([missing.status, missing.body], [400, { error_msg: "missing digest header" }]);
    assert.equal((await node.call("GET", "/configs")).text, before);
    assert.deepEqual(Object.keys(served("route")), ["route/r1"]);
  });

  test("is validated without being put, modifiedIndex included", async () => {
    const good = { routes: [route("r1", "/r1", { modifiedIndex: 4 })], routes_conf_version: 1 };
    const fine = await node.call("POST", "/configs/validate", good);
    assert.deepEqual([fine.status, fine.body], [200, {}]);
    const bad = await node.call("POST", "/configs/validate", {
      routes: [route("r1", "/1"), route("r1", "/2")],
    });
    assert.equal(bad.status, 400);
    assert.equal(bad.body.error_msg, "Configuration validation failed");
    assert.equal(bad.body.errors[0].error, "found duplicate id r1 in routes");
    assert.equal((await node.call("GET", "/configs")).body.routes, undefined);
  });

  test("outlives control, and the node", async () => {
    await put({ routes: [route("r1", "/r1")] });
    const before = await node.call("GET", "/configs");
    await node.stopControl();
    node.store = await openDocument(node.folder);
    await node.start();
    const again = await node.call("GET", "/configs");
    assert.equal(again.text, before.text);
    assert.equal(again.headers.get("x-digest"), before.headers.get("x-digest"));
    assert.deepEqual(Object.keys(served("route")), ["route/r1"]);
  });

  test("shows private keys to those only who may write it", async () => {
    const secretRoute = route("r1", "/r1");
    await put({ routes: [secretRoute] });
    const { document } = node.store as DocumentStore;
    document!.lists["ssls"] = [{ id: "s", key: "-----KEY-----", keys: ["-----MORE-----"], cert: "c" }];
    assert.match((await node.call("GET", "/configs")).text, /-----KEY-----.*-----MORE-----/);
    const viewed = await node.call("GET", "/configs", undefined, { "x-api-key": VIEWER_KEY });
    assert.deepEqual(viewed.body.ssls, [{ id: "s", cert: "c" }]);
  });

  test("refuses two entries that are one resource, whatever their ids", async () => {
    const jack = { username: "jack" };
    const reply = await put({ consumers: [jack, { id: "other", ...jack }] });
    assert.equal(reply.status, 400);
    assert.match(reply.text, /found duplicate \/consumers\/jack in consumers/);
  });

  test("takes no YAML that would hold the thread for long, and leaves everything as it is", async () => {
    const text = `routes: []\n${"#".repeat(4 * 1024 * 1024)}\n`;
    const reply = await put(text, { "content-type": "application/yaml" });
    assert.equal(reply.status, 400);
    assert.match(reply.text, /YAML of \d+ characters, expected at most \d+, or JSON/);
  });

  test("shows the keys of clients neither to viewers nor to who has no key", async () => {
    const tls = { client_cert: CERTIFICATE, client_key: PRIVATE_KEY };
    const withKey = { ...upstream, scheme: "https", tls };
    const plugins = { "key-auth": {}, "limit-count": { count: 1, time_window: 1, redis_password: "canary" } };
    const reply = await put({
      upstreams: [{ id: "u", ...withKey }],
      services: [{ id: "s", upstream: withKey, plugins }],
      routes: [route("r1", "/r1", { upstream: withKey })],
    });
    assert.equal(reply.status, 202, reply.text);
    assert.match((await node.call("GET", "/configs")).text, /PRIVATE KEY/);
    const viewed = await node.call("GET", "/configs", undefined, { "x-api-key": VIEWER_KEY });
    assert.doesNotMatch(viewed.text, /PRIVATE KEY/);
    assert.deepEqual(viewed.body.upstreams[0].tls, { client_cert: CERTIFICATE });
    for (const path of ["/v1/upstreams", "/v1/upstream/u", "/v1/services", "/v1/routes", "/v1/route/r1"]) {
      const shown = await node.callControl("GET", path);
      assert.equal(shown.status, 200, path);
      assert.match(shown.text, /client_key/, path);
      assert.doesNotMatch(shown.text, /PRIVATE KEY|canary/, path);
    }
  });
});
