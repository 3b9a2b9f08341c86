/**
 * The calls with which APISIX's dashboard and its command line tool ADC read a gateway, as both send them, and the
 * parts of the answers that they look into. Writes go the same ways as in the other tests.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "../../src/model/certificate-kit.ts";
import { KEY, type Reply, TestNode } from "./node.ts";

const VALUES: Record<string, object> = {
  "/upstreams/u": { type: "roundrobin", nodes: [{ host: "127.0.0.1", port: 1, weight: 1 }] },
  "/services/s": { name: "shop", upstream_id: "u" },
  "/plugin_configs/p": { plugins: { "ip-restriction": { whitelist: ["127.0.0.1"] } } },
  "/routes/r": {
    name: "items",
    uri: "/items/*",
    service_id: "s",
    plugin_config_id: "p",
    labels: { team: "a" },
  },
  "/routes/other": { name: "other", uri: "/other", upstream_id: "u" },
  "/consumer_groups/g": { plugins: {} },
  "/consumers/jack": { username: "jack", group_id: "g", plugins: { "key-auth": { key: "jacks-key" } } },
  "/consumers/jane": { username: "jane" },
  "/consumers/jack/credentials/c": { plugins: { "key-auth": { key: "another-key" } } },
  "/ssls/t": { cert: CERTIFICATE, key: PRIVATE_KEY, snis: ["a.com"] },
  "/global_rules/gr": { plugins: { prometheus: {} } },
  "/plugin_metadata/limit-count": { limit_header: "X-L" },
  "/protos/pb": { content: 'syntax = "proto3"; package a; message M {}' },
  "/secrets/vault/v": { uri: "http://127.0.0.1:8200", prefix: "kv", token: "t" },
  "/stream_routes/sr": { server_port: 9100, upstream_id: "u" },
};

/** A page of a list, as `{list: [{key, value, createdIndex, modifiedIndex}], total}`; gives the values. */
function listed(reply: Reply, total: number): Record<string, unknown>[] {
  assert.equal(reply.status, 200, reply.text);
  assert.match(reply.headers.get("content-type")!, /^application\/json/);
  assert.equal(reply.body.total, total, reply.text);
  for (const item of reply.body.list) assertItem(item);
  return reply.body.list.map((item: { value: object }) => item.value);
}

function assertItem(item: Record<string, unknown>): void {
  assert.match(item["key"] as string, /^\/apisix\/[a-z_]+\/./);
  assert.equal(typeof item["createdIndex"], "number");
  assert.equal(typeof item["modifiedIndex"], "number");
  assert.equal(typeof item["value"], "object");
}

/** What ADC reads before it compares and writes. */
const ADC_LISTS = [
  "services",
  "routes",
  "upstreams",
  "ssls",
  "consumers",
  "plugin_configs",
  "global_rules",
  "plugin_metadata",
] as const;

describe("ADC", () => {
  let node: TestNode;
  before(async () => {
    node = await new TestNode({ streamRoutes: true }).start();
  });
  after(() => node.dispose());
  const get = (path: string) => node.call("GET", path, undefined, { "content-type": "application/json" });

  test("an empty gateway has empty lists", async () => {
    for (const name of ADC_LISTS) listed(await get(`/${name}`), 0);
    listed(await get("/stream_routes"), 0);
  });

  test("the version is in the Server header of the first call", async () => {
    const { headers } = await get("/routes");
    const [, version] = /APISIX\/(.*)/.exec(headers.get("server")!)!;
    assert.match(version, /^\d+\.\d+\.\d+$/);
  });

  test("a dump finds every resource and what it refers to", async () => {
    for (const [path, value] of Object.entries(VALUES)) {
      const reply = await node.call("PUT", path, value);
      assert.equal(reply.status, 201, `${path}: ${reply.text}`);
    }
    const lists: Record<string, Record<string, unknown>[]> = {};
    for (const name of ADC_LISTS) {
      const { body, status } = await get(`/${name}`);
      assert.equal(status, 200);
      lists[name] = listed(await get(`/${name}`), body.list.length);
    }
    const route = lists["routes"].find(({ id }) => id === "r")!;
    assert.ok(lists["plugin_configs"].some(({ id }) => id === route["plugin_config_id"]));
    const service = lists["services"].find(({ id }) => id === route["service_id"])!;
    assert.ok(lists["upstreams"].some(({ id }) => id === service["upstream_id"]));
    assert.deepEqual(lists["global_rules"][0]["plugins"], { prometheus: {} });
    const [ssl] = lists["ssls"];
    assert.deepEqual([ssl["snis"], ssl["cert"]], [["a.com"], CERTIFICATE]);
    // Metadata is known by the last step of its key.
    const { body } = await get("/plugin_metadata");
    assert.equal(body.list[0].key.split("/").pop(), "limit-count");
    assert.equal(body.list[0].value.limit_header, "X-L");
    const [stream] = listed(await get("/stream_routes"), 1);
    assert.equal(stream["upstream_id"], "u");
    const names = new Set(lists["consumers"].map(({ username }) => username));
    assert.deepEqual(names, new Set(["jack", "jane"]));
    const credentials = listed(await get("/consumers/jack/credentials"), 1);
    assert.deepEqual(credentials[0]["plugins"], { "key-auth": { key: "another-key" } });
    assert.equal((await get("/consumers/jane/credentials")).status, 404);
  });

  test("what it would write is validated as a whole", async () => {
    const body = { routes: [{ id: "1", uri: "/a", upstream: { nodes: { "127.0.0.1:1": 1 } } }] };
    assert.equal((await node.call("POST", "/configs/validate", body)).status, 200);
    const wrong = await node.call("POST", "/configs/validate", { routes: [{ id: "1", uri: 1 }] });
    assert.equal(wrong.status, 400);
    const [error] = wrong.body.errors;
    assert.deepEqual([error.resource_type, error.resource_id, error.index], ["routes", "1", 0]);
  });
});

test("without stream mode ADC takes an error for no stream routes", async () => {
  const node = await new TestNode({ streamRoutes: false }).start();
  assert.ok((await node.call("GET", "/stream_routes")).status >= 400);
  await node.dispose();
});

/** Pages of the dashboard: their list, the resource that they open, and how many there are. */
const PAGES: readonly [list: string, one: string, total: number][] = [
  ["/routes", "/routes/r", 2],
  ["/stream_routes", "/stream_routes/sr", 1],
  ["/upstreams", "/upstreams/u", 1],
  ["/services", "/services/s", 1],
  ["/consumers", "/consumers/jack", 2],
  ["/consumer_groups", "/consumer_groups/g", 1],
  ["/ssls", "/ssls/t", 1],
  ["/protos", "/protos/pb", 1],
  ["/secrets", "/secrets/vault/v", 1],
  ["/global_rules", "/global_rules/gr", 1],
  ["/plugin_configs", "/plugin_configs/p", 1],
];

describe("the dashboard", () => {
  let node: TestNode;
  before(async () => {
    node = await new TestNode({ streamRoutes: true }).start();
    for (const [path, value] of Object.entries(VALUES)) await node.call("PUT", path, value);
  });
  after(() => node.dispose());
  const get = (path: string) => node.call("GET", path);

  for (const [list, one, total] of PAGES) {
    test(`${list}: a page of the list, and one of it`, async () => {
      const values = listed(await get(`${list}?page=1&page_size=10`), total);
      const detail = await get(one);
      assert.equal(detail.status, 200);
      assertItem(detail.body);
      const id = list === "/consumers" ? "username" : "id";
      assert.ok(values.some((value) => value[id] === detail.body.value[id]));
      if (list === "/secrets") assert.equal(detail.body.value.id, "vault/v");
    });
  }

  test("routes and stream routes of a service", async () => {
    const of = async (list: string) => (await get(`/${list}?page=1&page_size=10&filter=service_id%3Ds`)).body;
    const routes = await of("routes");
    assert.deepEqual([routes.total, routes.list[0].value.id], [1, "r"]);
    assert.equal((await of("stream_routes")).total, 0);
  });

  test("a search by name, label and path", async () => {
    const search = async (query: string) => (await get(`/routes?page=1&page_size=10&${query}`)).body.total;
    assert.equal(await search("name=item"), 1);
    assert.equal(await search("label=team"), 1);
    assert.equal(await search("uri=%2Fother"), 1);
  });

  test("credentials, and none of them", async () => {
    listed(await get("/consumers/jack/credentials"), 1);
    assertItem((await get("/consumers/jack/credentials/c")).body);
    assert.equal((await get("/consumers/jane/credentials")).status, 404);
  });

  test("metadata of a plugin, and none of it", async () => {
    assert.equal((await get("/plugin_metadata/limit-count")).body.value.limit_header, "X-L");
    assert.equal((await get("/plugin_metadata/prometheus")).status, 404);
  });

  test("the list of plugins, and what the forms are made of", async () => {
    const names = await get("/plugins/list");
    assert.ok(Array.isArray(names.body) && names.body.includes("key-auth"));
    const all = (await get("/plugins?subsystem=http&all=true")).body;
    assert.deepEqual(new Set(Object.keys(all)), new Set(names.body));
    for (const name of names.body) {
      const { schema, version, priority } = all[name];
      assert.equal(schema.type, "object", name);
      assert.ok(version !== undefined && typeof priority === "number", name);
    }
    assert.equal(typeof all["key-auth"].consumer_schema.properties, "object");
    assert.equal(typeof all["limit-count"].metadata_schema.properties, "object");
    assert.deepEqual((await get("/plugins?subsystem=stream&all=true")).status, 200);
    const schema = await get("/plugins/limit-count");
    assert.deepEqual(schema.body, all["limit-count"].schema);
    assert.equal(schema.body.properties.count !== undefined, true);
  });

  test("a cookie does for the key", async () => {
    const reply = await fetch(`${node.url}/apisix/admin/routes?page=1&page_size=10`, {
      headers: { cookie: `x_api_key=${KEY}` },
    });
    assert.equal(reply.status, 200);
    await reply.text();
  });
});
