/**
 * What ADC (API Declarative CLI) relies on, as requests that it makes: with its backend `apisix` it writes single
 * resources, with `apisix-standalone` it puts one document. ADC compares what it reads with its files, so what was
 * written must come back as it was.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DocumentStore } from "../../src/store/api/store.ts";
import { SealedFile } from "../../src/store/snapshot/sealed-file.ts";
import { silent } from "../../src/lib/silent-log.ts";
import { KEY, TestNode } from "./node.ts";

const SERVICE = "a8acce245efca7fb686009a089c0e7967698424d";
const ROUTE = "13206e5d1c31b1d77f68f20d07b35f9ae2da03ae";
const STREAM = "5e0cade5555290f9d25b6032f86c4e3135223267";
const CREDENTIAL = "0d9b02907b61bece798022e2a17639acfa6c2136";
const labels = { team: "a", "managed-by": "adc" };
const nodes = [{ host: "127.0.0.1", port: 1980, weight: 100, priority: 0 }];

const upstream = {
  type: "roundrobin",
  nodes,
  scheme: "http",
  pass_host: "pass",
  id: SERVICE,
  name: "pets",
};
const service = { id: SERVICE, name: "pets", labels, upstream_id: SERVICE, plugins: { "request-id": {} } };
const route = {
  id: ROUTE,
  name: "list",
  labels,
  uris: ["/pets", "/pets/*"],
  methods: ["GET"],
  vars: [["arg_v", "==", "1"]],
  service_id: SERVICE,
  plugins: { "key-auth": {} },
  status: 1,
};
const streamRoute = { labels: { ...labels, __ADC_NAME: "echo" }, server_port: 19100, service_id: SERVICE };
const consumer = { username: "jack", labels };
const credential = { id: CREDENTIAL, name: "primary", plugins: { "key-auth": { key: "jacks-key" } } };
const metadata = { allow_origins: { key_1: "https://example.com" } };

/** In the order in which ADC writes: a group at a time, each with up to ten requests at once. */
const GROUPS: [path: string, body: object][][] = [
  [[`/upstreams/${SERVICE}`, upstream]],
  [[`/services/${SERVICE}`, service]],
  [
    [`/routes/${ROUTE}`, route],
    [`/routes/${ROUTE.slice(1)}`, { ...route, id: ROUTE.slice(1), name: "more" }],
  ],
  [[`/stream_routes/${STREAM}`, streamRoute]],
  [["/consumers/jack", consumer]],
  [["/global_rules/prometheus", { plugins: { prometheus: {} } }]],
  [["/plugin_metadata/cors", metadata]],
  [[`/consumers/jack/credentials/${CREDENTIAL}`, credential]],
];
const LISTS = [
  "services",
  "routes",
  "upstreams",
  "ssls",
  "consumers",
  "plugin_configs",
  "global_rules",
  "plugin_metadata",
  "stream_routes",
];

/** Without the times that the node sets, of which ADC takes no notice. */
function valuesOf(body: { list: { value: Record<string, unknown> }[] }): Record<string, unknown>[] {
  return body.list.map(({ value: { create_time: _c, update_time: _u, ...rest } }) => rest);
}

describe("ADC's backend apisix", () => {
  let node: TestNode;
  before(async () => {
    node = await new TestNode().start();
  });
  after(async () => await node.dispose());

  test("a ping reads the version of APISIX that is spoken from the field Server", async () => {
    const { status, headers } = await node.call("GET", "/routes");
    assert.equal(status, 200);
    const [, major, minor] = /APISIX\/(\d+)\.(\d+)/.exec(headers.get("server") ?? "") ?? [];
    // From 3.11 on ADC writes credentials, from 3.8 on names of stream routes into labels.
    assert.ok(Number(major) === 3 && Number(minor) >= 11, headers.get("server") ?? "no Server");
  });

  test("a ping with a wrong key fails", async () => {
    assert.equal((await node.call("GET", "/routes", undefined, { "x-api-key": "wrong" })).status, 401);
  });

  test("the dump of an empty node finds every list, empty", async () => {
    for (const list of LISTS) {
      const { status, body } = await node.call("GET", `/${list}`);
      assert.deepEqual([status, body], [200, { list: [], total: 0 }], list);
    }
  });

  test("a sync writes in ADC's order, with the id in path and body, several at a time", async () => {
    for (const group of GROUPS) {
      const answers = await Promise.all(
        group.map(([path, body]) => node.call("PUT", path, body, { "content-type": "application/json" })),
      );
      for (const [i, { status, text }] of answers.entries())
        assert.equal(status, 201, `${group[i][0]}: ${text}`);
    }
  });

  test("a dump gives back what was synced, and nothing that a diff would take for a change", async () => {
    const read = async (path: string) => valuesOf((await node.call("GET", path)).body);
    assert.deepEqual(await read("/upstreams"), [upstream]);
    assert.deepEqual(await read("/services"), [service]);
    assert.deepEqual(
      (await read("/routes")).find(({ id }) => id === ROUTE),
      route,
    );
    assert.deepEqual(await read("/stream_routes"), [{ ...streamRoute, id: STREAM }]);
    assert.deepEqual(await read("/consumers"), [consumer]);
    assert.deepEqual(await read("/consumers/jack/credentials"), [credential]);
    assert.deepEqual(await read("/global_rules"), [{ id: "prometheus", plugins: { prometheus: {} } }]);
    const { body } = await node.call("GET", "/plugin_metadata");
    assert.equal(body.list[0].key.split("/").pop(), "cors");
    assert.deepEqual(valuesOf(body), [{ ...metadata, id: "cors" }]);
  });

  test("an update puts the upstream of a service alone", async () => {
    const changed = { ...upstream, nodes: [{ ...nodes[0], port: 1981 }] };
    assert.equal((await node.call("PUT", `/upstreams/${SERVICE}`, changed)).status, 200);
    const { body } = await node.call("GET", `/upstreams/${SERVICE}`);
    assert.equal(body.value.nodes[0].port, 1981);
  });

  test("the faults that validation finds name type and place, by which ADC finds its own name of the resource", async () => {
    const bad = { ...route, methods: ["FETCH"] };
    const faulty = { routes: [route, { ...bad, id: "other" }], services: [service], upstreams: [upstream] };
    const { status, body } = await node.call("POST", "/configs/validate", faulty);
    assert.equal(status, 400);
    assert.equal(body.errors.length, 1);
    const [{ resource_type, index, error }] = body.errors;
    assert.deepEqual([resource_type, index], ["routes", 1]);
    assert.match(error, /"methods"/);
    assert.equal(typeof body.error_msg, "string");
  });

  test("validation takes the whole of a first sync, of which nothing is there yet, and empty lists", async () => {
    const document = {
      routes: [{ ...route, service_id: "to-come" }],
      services: [{ ...service, id: "to-come", upstream_id: "to-come" }],
      consumers: [consumer],
      ssls: [],
      global_rules: [{ id: "prometheus", plugins: { prometheus: {} } }],
      stream_routes: [{ ...streamRoute, id: STREAM }],
      plugin_metadata: [{ id: "cors", ...metadata }],
      upstreams: [{ ...upstream, id: "to-come" }],
    };
    const { status, text } = await node.call("POST", "/configs/validate", document);
    assert.equal(status, 200, text);
  });

  test("a sync of an empty file deletes routes, services and then the upstreams of these", async () => {
    const paths = [
      `/routes/${ROUTE}`,
      `/routes/${ROUTE.slice(1)}`,
      `/stream_routes/${STREAM}`,
      `/services/${SERVICE}`,
      `/upstreams/${SERVICE}`,
      `/consumers/jack`,
      "/global_rules/prometheus",
      "/plugin_metadata/cors",
    ];
    for (const path of paths) assert.equal((await node.call("DELETE", path)).status, 200, path);
    for (const list of LISTS) assert.equal((await node.call("GET", `/${list}`)).body.total, 0, list);
  });
});

describe("ADC's backend apisix-standalone", () => {
  const secret = randomBytes(32);
  const first = 1_795_271_714_000;
  let node: TestNode;
  const document = {
    services: [{ modifiedIndex: first, ...service }],
    services_conf_version: first,
    upstreams: [{ modifiedIndex: first, ...upstream }],
    upstreams_conf_version: first,
    routes: [{ modifiedIndex: first, ...route }],
    routes_conf_version: first,
    consumers: [
      { modifiedIndex: first, ...consumer },
      { modifiedIndex: first, ...credential, id: `jack/credentials/${CREDENTIAL}` },
    ],
    consumers_conf_version: first,
    global_rules: [{ modifiedIndex: first, id: "prometheus", plugins: { prometheus: {} } }],
    global_rules_conf_version: first,
    plugin_metadata: [{ modifiedIndex: first, id: "cors", ...metadata }],
    plugin_metadata_conf_version: first,
  };
  const put = async (body: object, digest: string) =>
    await node.call("PUT", "/configs", body, { "content-type": "application/json", "x-digest": digest });

  before(async () => {
    node = new TestNode();
    const file = new SealedFile(join(node.folder, "configs"), secret, "configs");
    node.store = await DocumentStore.open({ file, log: silent });
    await node.start();
  });
  after(async () => await node.dispose());

  test("a ping is a HEAD without a key, whose answer has the version", async () => {
    const answer = await fetch(`${node.url}/apisix/admin`, { method: "HEAD" });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("server") ?? "", /APISIX\/3\./);
  });

  test("the newest of several nodes is found by X-Last-Modified, which a new node has not", async () => {
    const head = async () => await node.call("HEAD", "/configs");
    assert.equal((await head()).headers.get("x-last-modified"), null);
    assert.equal((await put(document, "one")).status, 202);
    assert.match((await head()).headers.get("x-last-modified") ?? "", /^\d+$/);
  });

  test("a sync goes on from what was read: types that did not change keep their version and are left alone", async () => {
    const { body } = await node.call("GET", "/configs");
    assert.equal(body.routes_conf_version, first);
    assert.deepEqual(body.routes, document.routes);
    assert.deepEqual(body.consumers, document.consumers);
    const changed = { ...route, uris: ["/cats"], modifiedIndex: first + 1 };
    const next = { ...body, routes: [changed], routes_conf_version: first + 1 };
    const { status, text } = await put(next, "two");
    assert.equal(status, 202, text);
    const served = node.workers[0].items;
    await node.settle();
    assert.deepEqual((served.get(`route/${ROUTE}`) as typeof route).uris, ["/cats"]);
    assert.ok(served.has(`service/${SERVICE}`));
  });

  test("the same digest again is 204, and an older version is refused with a message", async () => {
    assert.equal((await put(document, "two")).status, 204);
    const { status, body } = await put({ ...document, routes_conf_version: first - 1 }, "three");
    assert.equal(status, 400);
    assert.match(body.error_msg, /routes_conf_version/);
  });

  test("validation is there in this mode too", async () => {
    const { status } = await node.call("POST", "/configs/validate", { routes: [route], services: [service] });
    assert.equal(status, 200);
    const wrong = await node.call("POST", "/configs/validate", { routes: [{ ...route, uris: "/x" }] });
    assert.deepEqual([wrong.status, wrong.body.errors[0].resource_type], [400, "routes"]);
  });

  test("a sync needs the key", async () => {
    const answer = await fetch(`${node.url}/apisix/admin/configs`, {
      method: "PUT",
      body: JSON.stringify(document),
      headers: { "x-api-key": `${KEY}x`, "x-digest": "four" },
    });
    assert.equal(answer.status, 401);
  });
});
