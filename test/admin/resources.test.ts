import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KEY, TestNode, VIEWER_KEY } from "./node.ts";

const node = new TestNode();
before(async () => await node.start());
after(async () => await node.dispose());

const route = { uri: "/get", upstream: { type: "roundrobin", nodes: { "127.0.0.1:8080": 1 } } };

test("a PUT creates with 201 and replaces with 200, in APISIX's envelope", async () => {
  const created = await node.call("PUT", "/routes/1", route);
  assert.equal(created.status, 201);
  assert.equal(created.body.key, "/apisix/routes/1");
  assert.equal(created.body.createdIndex, undefined);
  const { create_time, update_time, ...value } = created.body.value;
  assert.deepEqual(value, { ...route, id: "1" });
  assert.ok(Number.isInteger(create_time) && create_time === update_time);
  const replaced = await node.call("PUT", "/routes/1", { ...route, desc: "b" });
  assert.equal(replaced.status, 200);
  assert.equal(replaced.body.value.create_time, create_time);
  const read = await node.call("GET", "/routes/1");
  assert.equal(read.status, 200);
  assert.equal(read.body.value.desc, "b");
  assert.ok(read.body.modifiedIndex > read.body.createdIndex);
  assert.equal(read.headers.get("server"), "APISIX/3.14.0");
  assert.equal(read.headers.get("x-api-version"), "v3");
  assert.equal(read.headers.get("content-type"), "application/json");
});

test("a POST chooses an id of twenty digits", async () => {
  const first = await node.call("POST", "/routes", route);
  const second = await node.call("POST", "/routes", route);
  assert.equal(first.status, 201);
  assert.match(first.body.value.id, /^\d{20}$/);
  assert.equal(first.body.key, `/apisix/routes/${first.body.value.id}`);
  assert.ok(second.body.value.id > first.body.value.id);
  const many = await Promise.all(Array.from({ length: 20 }, () => node.call("POST", "/routes", route)));
  assert.equal(new Set(many.map((reply) => reply.body.key)).size, 20);
  for (const { body } of [first, second, ...many]) await node.call("DELETE", `/routes/${body.value.id}`);
});

test("a DELETE answers as APISIX, and 404 when there is nothing", async () => {
  await node.call("PUT", "/routes/gone", route);
  const deleted = await node.call("DELETE", "/routes/gone");
  assert.deepEqual([deleted.status, deleted.body], [200, { deleted: "1", key: "/apisix/routes/gone" }]);
  for (const method of ["GET", "DELETE", "PATCH"]) {
    const reply = await node.call(method, "/routes/gone", method === "PATCH" ? {} : undefined);
    assert.deepEqual([reply.status, reply.body], [404, { message: "Key not found" }]);
  }
});

test("a PATCH merges, deletes with null, and replaces below a sub-path", async () => {
  await node.call("PUT", "/routes/p", { ...route, desc: "a", labels: { x: "1", y: "2" } });
  const merged = await node.call("PATCH", "/routes/p", { desc: null, labels: { x: "3" } });
  assert.equal(merged.status, 200);
  assert.deepEqual(merged.body.value.labels, { x: "3", y: "2" });
  assert.equal(merged.body.value.desc, undefined);
  const below = await node.call("PATCH", "/routes/p/upstream/nodes", { "127.0.0.1:9": 2 });
  assert.deepEqual(below.body.value.upstream.nodes, { "127.0.0.1:9": 2 });
  const scalar = await node.call("PATCH", "/routes/p/priority", 7);
  assert.equal(scalar.body.value.priority, 7);
  const wrong = await node.call("PATCH", "/routes/p/uri/a/b", 1);
  assert.equal(wrong.status, 400);
  assert.match(wrong.body.error_msg, /^invalid sub-path/);
  const invalid = await node.call("PATCH", "/routes/p", { uri: 1 });
  assert.equal(invalid.status, 400);
  assert.equal(invalid.pointer, "/uri");
  assert.equal((await node.call("GET", "/routes/p")).body.value.priority, 7);
});

const refusals: Record<
  string,
  [
    method: string,
    path: string,
    body: unknown,
    status: number,
    expected: { error_msg: string; pointer?: string } | string,
  ]
> = {
  "a wrong type": [
    "PUT",
    "/routes/r",
    { ...route, uri: 1 },
    400,
    {
      error_msg:
        'invalid configuration: property "uri" validation failed: wrong type: expected string, got number',
      pointer: "/uri",
    },
  ],
  "an unknown plugin": [
    "PUT",
    "/routes/r",
    { uri: "/a", plugins: { nope: {} } },
    400,
    {
      error_msg: "unknown plugin [nope]",
      pointer: "/plugins/nope",
    },
  ],
  "an id that differs": [
    "PUT",
    "/routes/r",
    { ...route, id: "2" },
    400,
    { error_msg: "wrong route id", pointer: "/id" },
  ],
  "a PUT without id": ["PUT", "/routes", route, 400, { error_msg: "missing route id" }],
  "a POST with id": [
    "POST",
    "/routes",
    { ...route, id: "1" },
    400,
    { error_msg: "wrong route id, do not need it" },
  ],
  "a PUT without body": ["PUT", "/routes/r", undefined, 400, { error_msg: "missing configurations" }],
  "a time of the client": [
    "PUT",
    "/routes/r",
    { ...route, create_time: 1 },
    400,
    {
      error_msg: "the property is forbidden:  create_time",
      pointer: "/create_time",
    },
  ],
  "a reference to nothing": [
    "PUT",
    "/routes/r",
    { uri: "/a", upstream_id: "no" },
    400,
    {
      error_msg: "failed to fetch upstream info by upstream id [no], response code: 404",
      pointer: "/upstream_id",
    },
  ],
  "an unknown type": [
    "GET",
    "/nothing/1",
    undefined,
    404,
    { error_msg: "Unsupported resource type: nothing" },
  ],
  "a POST of a consumer": [
    "POST",
    "/consumers",
    {},
    405,
    { error_msg: "not supported `POST` method for consumer" },
  ],
  "a wrong username": [
    "PUT",
    "/consumers/jack",
    { username: "jim" },
    400,
    { error_msg: "wrong username", pointer: "/username" },
  ],
  "a DELETE of a collection": ["DELETE", "/routes", undefined, 400, { error_msg: "missing route id" }],
  "a time to live in words": [
    "PUT",
    "/routes/r?ttl=soon",
    route,
    400,
    { error_msg: "invalid argument ttl: should be a number" },
  ],
  "a page size": [
    "GET",
    "/routes?page=1&page_size=5",
    undefined,
    400,
    "page_size must be between 10 and 500",
  ],
};

for (const [name, [method, path, body, status, expected]] of Object.entries(refusals)) {
  test(`${name} is refused in APISIX's words`, async () => {
    const reply = await node.call(method, path, body);
    const { pointer = null, ...rest } = typeof expected === "string" ? {} : expected;
    assert.deepEqual([reply.status, reply.pointer], [status, pointer]);
    assert.equal(reply.text, typeof expected === "string" ? expected : `${JSON.stringify(rest)}\n`);
  });
}

test("invalid JSON is refused and repeated", async () => {
  const reply = await node.call("PUT", "/routes/1", "{bad");
  assert.equal(reply.status, 400);
  assert.match(reply.body.error_msg, /^invalid request body: /);
  assert.equal(reply.body.req_body, "{bad");
});

test("schemas of plugins name their encrypted fields, and consumers' have no _meta", async () => {
  const { "key-auth": facts } = (await node.call("GET", "/plugins?all=true")).body;
  assert.deepEqual(facts.consumer_schema.encrypt_fields, ["key"]);
  assert.equal(facts.consumer_schema.properties._meta, undefined);
  assert.equal(facts.schema.encrypt_fields, undefined);
  assert.ok(facts.schema.properties._meta);
});

test("line ends inside strings are taken as they are", async () => {
  const reply = await node.call("PUT", "/protos/1", '{"content":"syntax = \\"proto3\\";\n\tmessage A {}"}');
  assert.equal(reply.status, 201);
  assert.equal(reply.body.value.content, 'syntax = "proto3";\n\tmessage A {}');
});

test("sub-resources of a service need it, take its id and go with it", async () => {
  const path = "/services/decorated/graphql_cost_decorations";
  const decoration = { field_path: "Query.products", add_value: 2 };
  assert.deepEqual((await node.call("PUT", `${path}/d1`, decoration)).body, {
    error_msg: "service not found",
  });
  await node.call("PUT", "/services/decorated", {});
  assert.equal((await node.call("GET", path)).status, 404);
  const made = await node.call("PUT", `${path}/d1`, decoration);
  assert.equal(made.status, 201);
  assert.equal(made.body.value.service_id, "decorated");
  assert.equal(made.body.key, "/apisix/services/decorated/graphql_cost_decorations/d1");
  const second = await node.call("POST", path, decoration);
  assert.match(
    second.body.error_msg,
    /^field_path Query.products is already decorated on this service by \[d1\]$/,
  );
  const foreign = await node.call("POST", path, { field_path: "Query", service_id: "other" });
  assert.equal(foreign.body.error_msg, "wrong service_id, it is taken from the path");
  const moved = await node.call("PATCH", `${path}/d1`, { service_id: "other" });
  assert.equal(moved.body.error_msg, "service_id can not be patched");
  assert.equal((await node.call("GET", path)).body.total, 1);
  await node.call("DELETE", "/services/decorated");
  assert.equal((await node.call("GET", `${path}/d1`)).status, 404);
});

test("hostile bodies are refused and change nothing", async () => {
  const hostile = [
    '{"__proto__":{"polluted":1},"uri":"/a"}',
    '{"uri":"/a","labels":{"__proto__":"x"}}',
    `{"uri":"/a","vars":${"[".repeat(50_000)}${"]".repeat(50_000)}}`,
    `[${"1,".repeat(300_000)}1]`,
    '"text"',
    "null",
    "[1]",
  ];
  for (const body of hostile) {
    for (const [method, path] of [
      ["PUT", "/routes/hostile"],
      ["PATCH", "/routes/1"],
      ["POST", "/routes"],
    ] as const) {
      const reply = await node.call(method, path, body);
      assert.equal(reply.status, 400, `${method} ${body.slice(0, 40)}: ${reply.text.slice(0, 200)}`);
    }
  }
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  assert.equal((await node.call("GET", "/routes/hostile")).status, 404);
});

test("a body beyond the limit is refused", async () => {
  const reply = await node.call("PUT", "/routes/1", { ...route, desc: "x".repeat(1_600_000) });
  assert.equal(reply.status, 400);
  assert.match(reply.body.error_msg, /is greater than the maximum size 1572864 allowed$/);
});

test("what others refer to is not deleted, except by force", async () => {
  await node.call("PUT", "/upstreams/u", { type: "roundrobin", nodes: { "127.0.0.1:1": 1 } });
  await node.call("PUT", "/services/s", { upstream_id: "u" });
  await node.call("PUT", "/routes/sr", { uri: "/s", service_id: "s" });
  const service = await node.call("DELETE", "/services/s");
  assert.deepEqual(service.body, {
    error_msg: "can not delete this service directly, route [sr] is still using it now",
  });
  const upstream = await node.call("DELETE", "/upstreams/u");
  assert.deepEqual(upstream.body, {
    error_msg: "can not delete this upstream, service [s] is still using it now",
  });
  assert.equal((await node.call("DELETE", "/upstreams/u?force=1")).status, 400);
  assert.equal((await node.call("DELETE", "/upstreams/u?force=true")).status, 200);
  for (const path of ["/routes/sr", "/services/s"])
    assert.equal((await node.call("DELETE", path)).status, 200);
});

test("a route and the delete of its upstream at the same moment never leave a dangling reference", async () => {
  for (let round = 0; round < 10; round++) {
    await node.call("PUT", "/upstreams/race", { nodes: { "127.0.0.1:1": 1 } });
    await Promise.all([
      node.call("PUT", "/routes/race", { uri: "/race", upstream_id: "race" }),
      node.call("DELETE", "/upstreams/race"),
    ]);
    const [upstream, referrer] = await Promise.all([
      node.call("GET", "/upstreams/race"),
      node.call("GET", "/routes/race"),
    ]);
    assert.ok(upstream.status === 200 || referrer.status === 404);
    await node.call("DELETE", "/routes/race");
  }
});

test("of two consumers that ask for one key at the same moment only one gets it", async () => {
  const names = ["c1", "c2", "c3", "c4"];
  const replies = await Promise.all(
    names.map((username) =>
      node.call("PUT", "/consumers", { username, plugins: { "key-auth": { key: "same" } } }),
    ),
  );
  assert.deepEqual(
    replies.map((reply) => reply.status).sort((a, b) => a - b),
    [201, 400, 400, 400],
  );
  for (const name of names) await node.call("DELETE", `/consumers/${name}`);
});

test("consumers and credentials live below each other", async () => {
  assert.equal(
    (await node.call("PUT", "/consumers/jack/credentials/a", { plugins: { "key-auth": { key: "k1" } } }))
      .status,
    404,
  );
  const consumer = await node.call("PUT", "/consumers", { username: "jack" });
  assert.deepEqual([consumer.status, consumer.body.key], [201, "/apisix/consumers/jack"]);
  assert.equal((await node.call("GET", "/consumers/jack/credentials")).status, 404);
  const credential = await node.call("PUT", "/consumers/jack/credentials/a", {
    plugins: { "key-auth": { key: "k1" } },
  });
  assert.deepEqual([credential.status, credential.body.key], [201, "/apisix/consumers/jack/credentials/a"]);
  const list = await node.call("GET", "/consumers");
  assert.equal(list.body.total, 1, "credentials are not in the list of consumers");
  const other = await node.call("PUT", "/consumers", {
    username: "jim",
    plugins: { "key-auth": { key: "k1" } },
  });
  assert.deepEqual(
    [other.status, other.body.error_msg],
    [400, "duplicate key of plugin key-auth found with consumer: jack"],
  );
  await node.settle();
  assert.deepEqual(node.workers[0].items.get("consumer/jack"), {
    username: "jack",
    credentials: [{ id: "a", plugins: { "key-auth": credentialConfig(node) } }],
  });
  assert.equal((await node.call("DELETE", "/consumers/jack")).status, 200);
  assert.equal((await node.call("GET", "/consumers/jack/credentials/a")).status, 404);
  assert.equal((await node.call("GET", "/consumers")).body.total, 0);
  await node.settle();
  assert.equal(node.workers[0].items.has("consumer/jack"), false);
});

function credentialConfig(from: TestNode): Record<string, unknown> | undefined {
  type Published = { credentials: { plugins: Record<string, Record<string, unknown>> }[] };
  const config = (from.workers[0].items.get("consumer/jack") as Published).credentials[0].plugins["key-auth"];
  assert.equal(config["key"], "k1");
  return config;
}

test("lists are filtered and paged", async () => {
  for (let i = 0; i < 25; i++) {
    const labels = i % 2 === 0 ? { even: "yes" } : { odd: "yes" };
    await node.call("PUT", `/services/l${i}`, { name: `service-${i}`, labels });
  }
  const all = await node.call("GET", "/services");
  assert.deepEqual([all.body.total, all.body.list.length], [25, 25]);
  const page = await node.call("GET", "/services?page=2&page_size=10");
  assert.deepEqual(
    page.body.list.map((item: { value: { id: string } }) => item.value.id),
    Array.from({ length: 10 }, (_, i) => `l${10 + i}`),
  );
  assert.equal(page.body.total, 25);
  const even = await node.call("GET", "/services?label=even&name=service-1");
  assert.deepEqual(even.body.total, 5);
  await node.call("PUT", "/routes/f", { uri: "/filter/me", service_id: "l1" });
  const byUri = await node.call("GET", `/routes?uri=${encodeURIComponent("^/filter")}`);
  assert.deepEqual(
    byUri.body.list.map((item: { key: string }) => item.key),
    ["/apisix/routes/f"],
  );
  const byService = await node.call("GET", `/routes?filter=${encodeURIComponent("service_id=l1")}`);
  assert.equal(byService.body.total, 1);
  assert.equal(
    (await node.call("GET", `/routes?filter=${encodeURIComponent("service_id=l2")}`)).body.total,
    0,
  );
  assert.deepEqual((await node.call("GET", "/plugin_configs")).body, { list: [], total: 0 });
});

test("keys, roles and places of the key are as in APISIX", async () => {
  const read = async (headers: Record<string, string>, path = "/routes") => {
    const response = await fetch(`${node.url}/apisix/admin${path}`, { headers });
    return { status: response.status, body: (await response.json()) as { description?: string } };
  };
  assert.deepEqual(await read({}), {
    status: 401,
    body: { error_msg: "failed to check token", description: "missing apikey" },
  });
  assert.equal((await read({ "x-api-key": "wrong" })).body.description, "wrong apikey");
  assert.equal((await read({ cookie: `a=b; x_api_key=${KEY}` })).status, 200);
  assert.equal((await read({ x_api_key: KEY })).status, 200);
  assert.equal((await read({}, `/routes?api_key=${KEY}`)).status, 200);
  assert.equal((await read({ "x-api-key": VIEWER_KEY })).status, 200);
  const write = await node.call("PUT", "/routes/v", route, { "x-api-key": VIEWER_KEY });
  assert.deepEqual([write.status, write.body.description], [401, "invalid method for role viewer"]);
});

test("preflights, HEAD and unknown paths are answered as in APISIX", async () => {
  const preflight = await fetch(`${node.url}/apisix/admin/routes`, { method: "OPTIONS" });
  assert.equal(preflight.status, 200);
  assert.equal(
    preflight.headers.get("access-control-allow-methods"),
    "POST, GET, PUT, OPTIONS, DELETE, PATCH",
  );
  assert.equal((await fetch(`${node.url}/apisix/admin`, { method: "HEAD" })).status, 200);
  const unknown = await fetch(`${node.url}/elsewhere`);
  assert.deepEqual([unknown.status, await unknown.json()], [404, { error_msg: "404 Route Not Found" }]);
  assert.equal((await fetch(`${node.url}/apisix/admin/%zz`, { headers: { "x-api-key": KEY } })).status, 404);
});

test("If-Match writes only on the revision that was read", async () => {
  await node.call("PUT", "/routes/m", route);
  const { modifiedIndex } = (await node.call("GET", "/routes/m")).body;
  const stale = await node.call("PUT", "/routes/m", route, { "if-match": `"${modifiedIndex - 1}"` });
  assert.equal(stale.status, 412);
  const fresh = await node.call("PUT", "/routes/m", route, { "if-match": `"${modifiedIndex}"` });
  assert.equal(fresh.status, 200);
  const again = await node.call("DELETE", "/routes/m", undefined, { "if-match": `"${modifiedIndex}"` });
  assert.equal(again.status, 412);
  assert.equal(
    (await node.call("DELETE", "/routes/m", undefined, { "if-match": fresh.headers.get("etag")! })).status,
    200,
  );
  assert.equal((await node.call("PATCH", "/routes/m", {}, { "if-match": "*" })).status, 404);
});

test("the history shows who wrote what", async () => {
  await node.call("PUT", "/routes/h", { ...route, desc: "one" });
  await node.call("DELETE", "/routes/h");
  const { body } = await node.call("GET", "/history/routes/h");
  assert.deepEqual(
    body.list.map((entry: { author: string; value: { desc: string } | null }) => [
      entry.author,
      entry.value?.desc,
    ]),
    [
      ["admin", undefined],
      ["admin", "one"],
    ],
  );
});

test("schemas and plugins are described", async () => {
  assert.equal((await node.call("GET", "/schema/route")).body.type, "object");
  assert.deepEqual((await node.call("GET", "/schema/nothing")).body, {
    error_msg: "not found schema: nothing",
  });
  const names: string[] = (await node.call("GET", "/plugins/list")).body;
  assert.ok(names.includes("key-auth") && names.includes("limit-count"));
  const all = (await node.call("GET", "/plugins?all=true")).body;
  assert.equal(all["key-auth"].type, "auth");
  assert.equal(typeof all["key-auth"].priority, "number");
  assert.equal(all["key-auth"].version, 0.1, "a number, as in APISIX");
  assert.ok((await node.call("GET", "/plugins/key-auth?schema_type=consumer")).body.properties.key);
  assert.equal((await node.call("GET", "/schema/plugins/limit-count")).status, 200);
  assert.equal((await node.call("GET", "/plugins/nothing")).status, 404);
  assert.equal((await node.call("PUT", "/plugins/reload")).body, "done");
  assert.equal((await node.call("POST", "/plugins/reload")).status, 405);
  assert.equal((await node.call("POST", "/schema/validate/routes", route)).status, 200);
  assert.equal((await node.call("POST", "/schema/validate/routes", { uri: 1 })).status, 400);
});

test("a whole configuration is validated without being written", async () => {
  const good = await node.call("POST", "/configs/validate", { routes: [{ ...route, id: "v1" }] });
  assert.deepEqual([good.status, good.body], [200, {}]);
  const bad = await node.call("POST", "/configs/validate", {
    routes: [
      { id: "v1", uri: 1 },
      { ...route, id: "v1" },
    ],
  });
  assert.equal(bad.status, 400);
  assert.deepEqual(
    bad.body.errors.map((error: { index: number }) => error.index),
    [0, 1],
  );
  assert.equal((await node.call("GET", "/routes/v1")).status, 404);
});

test("what another node comes to refer to while it is deleted is there again, and the delete is refused", async (t) => {
  const upstream = { type: "roundrobin", nodes: { "127.0.0.1:1": 1 } };
  await node.call("PUT", "/upstreams/raced?ttl=600", upstream);
  const { store } = node.control;
  const history = store.history.bind(store);
  // A hundred seconds later.
  t.mock.method(store, "history", async (...args: Parameters<typeof history>) =>
    (await history(...args)).map((entry) => Object.assign(entry, { time: entry.time - 100_000 })),
  );
  const write = store.write.bind(store);
  const raced = t.mock.method(store, "write", async (...args: Parameters<typeof write>) => {
    raced.mock.restore();
    const value = JSON.stringify({ id: "racing", uri: "/racing", upstream_id: "raced" });
    await write([{ type: "put", key: "/routes/racing", value }]);
    return await write(...args);
  });
  const refused = await node.call("DELETE", "/upstreams/raced");
  assert.deepEqual(
    [refused.status, refused.body],
    [400, { error_msg: "can not delete this upstream, route [racing] is still using it now" }],
  );
  assert.deepEqual((await node.call("GET", "/upstreams/raced")).body.value.nodes, upstream.nodes);
  const [{ ttl }] = (await node.call("GET", "/history?key=/upstreams/raced")).body.list;
  assert.ok(ttl > 0 && ttl <= 500, `it has the rest of its time: ${ttl}`);
  await node.call("DELETE", "/routes/racing");
  assert.equal((await node.call("DELETE", "/upstreams/raced")).status, 200);
});
