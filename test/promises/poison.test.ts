/**
 * P13: input cannot poison. `__proto__` and its like in bodies, queries, headers, labels and plugin configurations
 * are refused or harmless: no object of the node gets a field that nobody gave it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { httpOrigin, namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { WireConnection } from "./wire-answers.ts";

const NAMES = ["__proto__", "constructor", "prototype", "hasOwnProperty", "toString", "__defineGetter__"];
/** Would turn up in every object of a polluted realm, and in its JSON. */
const MARK = "polluted-by-test";

const name = fc.constantFrom(...NAMES);
const poison: fc.Arbitrary<string> = fc.oneof(
  fc.constant(`{"${MARK}":true}`),
  name.map((each) => `{"${each}":{"${MARK}":true}}`),
  fc.tuple(name, name).map(([a, b]) => `{"${a}":{"${b}":{"${MARK}":true}}}`),
  fc.constant(`["${MARK}"]`),
  fc.constant(`"${MARK}"`),
);

/** JSON as text: an object literal would set the prototype instead of writing the name. */
function bodies(nodes: string): fc.Arbitrary<[path: string, body: string]> {
  const upstream = `{"nodes":${nodes}}`;
  return fc
    .tuple(name, poison)
    .chain(([key, value]) =>
      fc.constantFrom<[string, string]>(
        ["/routes/p", `{"uri":"/p","upstream":${upstream},"${key}":${value}}`],
        ["/routes/p", `{"uri":"/p","upstream":${upstream},"labels":{"${key}":"x"}}`],
        ["/routes/p", `{"uri":"/p","upstream":${upstream},"labels":${value}}`],
        ["/routes/p", `{"uri":"/p","upstream":${upstream},"plugins":{"${key}":${value}}}`],
        [
          "/routes/p",
          `{"uri":"/p","upstream":${upstream},"plugins":{"limit-count":{"count":9,"time_window":9,"${key}":${value}}}}`,
        ],
        [
          "/routes/p",
          `{"uri":"/p","upstream":${upstream},"plugins":{"limit-count":{"count":9,"time_window":9,"_meta":{"${key}":${value}}}}}`,
        ],
        ["/routes/p", `{"uri":"/p","upstream":{"nodes":{"${key}":1}}}`],
        ["/routes/p", `{"uri":"/p","upstream":{"nodes":${nodes},"${key}":${value}}}`],
        ["/routes/p", `{"uri":"/p","upstream":${upstream},"vars":[["${key}","==","x"]]}`],
        ["/routes/p", `{"uri":"/${key}","upstream":${upstream},"vars":[["arg_${key}","==","x"]]}`],
        [`/routes/${key}`, `{"uri":"/${key}","upstream":${upstream}}`],
        [`/upstreams/${key}`, upstream],
        [`/services/${key}`, `{"upstream":${upstream}}`],
        ["/consumers", `{"username":"${key}","plugins":{"key-auth":{"key":"${key}"}}}`],
        [`/plugin_metadata/${key}`, value],
        [`/global_rules/${key}`, `{"plugins":{"${key}":${value}}}`],
        ["/routes/q", `{"uri":"/q","${key}_id":"${key}","service_id":"${key}"}`],
      ),
    );
}

async function isClean(node: RealNode): Promise<void> {
  const { status, text } = await node.get("/probe");
  assert.deepEqual([status, text], [200, "origin /probe"]);
  const page = await node.admin("GET", "/routes/probe");
  assert.ok(!page.text.includes(MARK), page.text);
  assert.ok(!JSON.stringify(await node.control("/v1/workers")).includes(MARK));
  // A polluted realm would accept a property that no schema knows, or fill one in.
  const made = await node.admin(
    "PUT",
    "/routes/witness",
    '{"uri":"/witness","upstream":{"nodes":{"127.0.0.1:1":1}}}',
  );
  assert.ok(made.status < 300, made.text);
  assert.deepEqual(
    Object.keys(made.body.value).sort(),
    ["create_time", "id", "priority", "status", "update_time", "upstream", "uri"].filter(
      (key) => key in made.body.value,
    ),
  );
  assert.ok(!made.text.includes(MARK));
}

test("P13: poisonous names in what the Admin API takes are refused or harmless", async (t) => {
  const node = await RealNode.start(t);
  const origin = await namedOrigin(t, "origin");
  await node.put("/routes/probe", { uri: "/probe", upstream: upstreamOf(origin) });
  const nodes = `{"${origin.address}":1}`;
  const property = fc.asyncProperty(
    bodies(nodes),
    fc.constantFrom("PUT", "PATCH"),
    async ([path, body], method) => {
      const target = method === "PATCH" && path === "/consumers" ? "/routes/p" : path;
      const reply = await node.admin(method, target, body);
      assert.ok(
        [200, 201, 400, 404, 405].includes(reply.status),
        `${method} ${target} ${body}: ${reply.status} ${reply.text}`,
      );
    },
  );
  await fc.assert(property, { numRuns: 400, endOnFailure: true });
  await isClean(node);
  const { workers } = await node.control("/v1/workers");
  assert.deepEqual(
    (workers as { generation: number }[]).map(({ generation }) => generation),
    [1, 1],
  );
  const { list } = await node.control("/v1/quarantine");
  assert.deepEqual(list, [], "what was accepted can be served");
});

test("P13: sub-paths of PATCH do not lead into prototypes", async (t) => {
  const node = await RealNode.start(t);
  await node.put("/routes/probe", { uri: "/probe", upstream: upstreamOf(await namedOrigin(t, "origin")) });
  for (const path of NAMES) {
    for (const sub of [
      path,
      `labels/${path}`,
      `${path}/${MARK}`,
      `upstream/${path}/${MARK}`,
      `constructor/prototype/${MARK}`,
    ]) {
      const reply = await node.admin("PATCH", `/routes/probe/${sub}`, '"x"');
      assert.ok([200, 400, 404].includes(reply.status), `${sub}: ${reply.status} ${reply.text}`);
      if (reply.status === 200) await node.admin("PATCH", "/routes/probe", { labels: null });
    }
  }
  await isClean(node);
});

test("P13: poisonous names in requests are passed on as they are, and do nothing", async (t) => {
  const node = await RealNode.start(t);
  const seen = await httpOrigin(t, (request, response) => {
    response.end(JSON.stringify({ url: request.url, fields: request.rawHeaders }));
  });
  await node.put("/routes/probe", { uri: "/probe", upstream: upstreamOf(await namedOrigin(t, "origin")) });
  await node.put("/routes/seen", {
    uri: "/seen",
    plugins: {
      "limit-count": {
        count: 100_000,
        time_window: 3600,
        key: "$http___proto__ $arg_constructor",
        key_type: "var_combination",
      },
    },
    upstream: upstreamOf(seen),
  });
  for (const each of NAMES) {
    const query = `${each}=${MARK}&${each}[${MARK}]=1&a[${each}]=${MARK}`;
    const connection = await WireConnection.open(node.port());
    // Not by fetch, whose headers are an object of its own.
    connection.send(
      `GET /seen?${query} HTTP/1.1\r\nHost: a\r\n${each}: ${MARK}\r\nCookie: ${each}=${MARK}\r\n\r\n`,
    );
    const answer = await connection.answer();
    connection.close();
    assert.equal(answer?.status, 200);
    const { url, fields } = JSON.parse(answer.body) as { url: string; fields: string[] };
    assert.equal(url, `/seen?${query}`);
    assert.ok(fields.includes(each), `${each} in ${fields.join()}`);
  }
  await isClean(node);
});
