import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { readOrMakeAdminKey } from "../../src/api/admin/key-file.ts";
import { MetricsPage } from "../../src/api/metrics/page.ts";
import { HostCheck } from "../../src/api/host-check.ts";
import { createMetricsServer } from "../../src/api/metrics/server.ts";
import { createStatusServer } from "../../src/api/status/server.ts";
import { reserveRevisions } from "../../src/control/revision-reserve.ts";
import { TestNode } from "./node.ts";

const upstream = (port: number) => ({ type: "roundrobin", nodes: { [`127.0.0.1:${port}`]: 1 } });

async function withNode(
  run: (node: TestNode) => Promise<void>,
  ...options: ConstructorParameters<typeof TestNode>
) {
  const node = await new TestNode(...options).start();
  try {
    await run(node);
  } finally {
    await node.dispose();
  }
}

/** What a worker holds, comparable. */
function contentOf(node: TestNode, slot = 0): [string, unknown][] {
  return [...node.workers[slot].items].sort(([a], [b]) => (a < b ? -1 : 1));
}

test("a write reaches every worker as a delta, a new worker gets one snapshot", async () => {
  await withNode(async (node) => {
    await node.call("PUT", "/routes/1?wait=live", { uri: "/a", upstream: upstream(1) });
    assert.deepEqual(
      node.workers.map((worker) => worker.messages.map((message) => message.type)),
      [
        ["snapshot", "delta"],
        ["snapshot", "delta"],
      ],
    );
    assert.equal((node.workers[0].items.get("route/1") as { uris: string[] }).uris[0], "/a");
    assert.deepEqual(contentOf(node, 0), contentOf(node, 1));
    await node.call("DELETE", "/routes/1?wait=live");
    assert.equal(node.workers[1].items.has("route/1"), false);
  });
});

test("a write that changes nothing but times reaches no worker", async () => {
  await withNode(async (node) => {
    const route = { uri: "/a", upstream: upstream(1) };
    await node.call("PUT", "/routes/1?wait=live", route);
    const before = node.workers[0].messages.length;
    for (let i = 0; i < 3; i++) await node.call("PUT", "/routes/1?wait=live", route);
    await node.call("PATCH", "/routes/1?wait=live", { uri: "/a" });
    assert.equal(node.workers[0].messages.length, before);
  });
});

test("changes that arrive together share a delta", async () => {
  await withNode(async (node) => {
    const writes = Array.from({ length: 100 }, (_, i) =>
      node.call("PUT", `/routes/${i}`, { uri: `/${i}`, upstream: upstream(1) }),
    );
    await Promise.all(writes);
    await node.settle();
    assert.equal(node.workers[0].items.size, 100);
    assert.ok(
      node.workers[0].messages.length < 60,
      `${node.workers[0].messages.length} messages for 100 writes`,
    );
  });
});

test("wait=live says which workers are missing", async () => {
  await withNode(async (node) => {
    node.workers[1].isHolding = true;
    const path = "/routes/1?wait=live&wait_timeout=0.1";
    const late = await node.call("PUT", path, { uri: "/a", upstream: upstream(1) });
    assert.equal(late.status, 504);
    assert.deepEqual(late.body.workers, [1]);
    assert.match(late.body.error_msg, /not live on worker 1$/);
    assert.equal((await node.call("GET", "/routes/1")).status, 200, "it is stored all the same");
    assert.equal((await node.call("PUT", "/routes/1?wait=soon", {})).status, 400);
  });
});

test("an entry with a time to live leaves the workers by itself", async () => {
  await withNode(async (node) => {
    await node.call("PUT", "/routes/t?ttl=1&wait=live", { uri: "/a", upstream: upstream(1) });
    assert.ok(node.workers[0].items.has("route/t"));
    const { threads } = node.shared;
    while (node.workers[0].items.has("route/t")) await threads.whenChanged(threads.changes, 5000);
    assert.equal((await node.call("GET", "/routes/t")).status, 404);
  });
});

test("names of upstream nodes are watched while they are used, and their addresses published", async () => {
  await withNode(async (node) => {
    const named = { type: "roundrobin", nodes: { "a.test:80": 1, "127.0.0.1:80": 1, "[::1]:80": 1 } };
    await node.call("PUT", "/upstreams/u", named);
    await node.call("PUT", "/routes/r", { uri: "/a", upstream: { nodes: { "b.test:80": 1 } } });
    assert.deepEqual([...node.resolver.hosts].sort(), ["a.test", "b.test"]);
    node.resolver.answer("a.test", ["10.0.0.1"]);
    await node.settle();
    assert.deepEqual(node.workers[0].items.get("address/a.test"), {
      host: "a.test",
      addresses: ["10.0.0.1"],
    });
    await node.call("DELETE", "/upstreams/u?wait=live");
    assert.deepEqual([...node.resolver.hosts], ["b.test"]);
    assert.equal(node.workers[0].items.has("address/a.test"), false);
  });
});

test("a route, service or plugin config that was never in service and whose plugins are broken is closed, so that no wider one takes its requests", async () => {
  await withNode(async (node) => {
    const unknown = { plugins: { "no-such-plugin": {} }, upstream: upstream(1) };
    const broken = { plugins: { "ip-restriction": { whitelist: "10.0.0.1" } }, upstream: upstream(1) };
    await node.control.store.write([
      { type: "put", key: "/routes/unknown", value: JSON.stringify({ uri: "/a", ...unknown }) },
      { type: "put", key: "/routes/broken", value: JSON.stringify({ uri: "/b", ...broken }) },
      { type: "put", key: "/services/s", value: JSON.stringify(unknown) },
      {
        type: "put",
        key: "/routes/lua",
        value: JSON.stringify({ uri: "/c", script: "return access()", upstream: upstream(1) }),
      },
      { type: "put", key: "/routes/worse", value: JSON.stringify({ uri: 5, ...unknown }) },
      { type: "put", key: "/global_rules/g", value: JSON.stringify({ id: "g", plugins: unknown.plugins }) },
    ]);
    await node.settle();
    const published = Object.fromEntries(contentOf(node)) as Record<string, { plugins: object }>;
    assert.deepEqual(Object.keys(published).sort(), [
      "route/broken",
      "route/lua",
      "route/unknown",
      "service/s",
    ]);
    for (const { plugins } of Object.values(published)) assert.deepEqual(plugins, { "(in quarantine)": {} });
    const { list } = (await node.callControl("GET", "/v1/quarantine")).body;
    assert.deepEqual(
      list.map((item: Record<string, unknown>) => item["serving"]),
      ["404", "404", "404", "404", "nothing", "nothing"],
    );
    await node.call("PUT", "/routes/unknown?wait=live", { uri: "/a", upstream: upstream(1) });
    assert.equal("plugins" in (node.workers[0].items.get("route/unknown") as object), false);
  });
});

test("a certificate that asks for client certificates and cannot be used is closed, so that no wider one lets anybody in", async () => {
  await withNode(async (node) => {
    const broken = { cert: "x".repeat(200), key: "y".repeat(200) };
    const client = { ca: "z".repeat(200) };
    const put = (id: string, value: object) =>
      ({ type: "put", key: `/ssls/${id}`, value: JSON.stringify({ id, ...value }) }) as const;
    await node.control.store.write([
      put("mutual", { ...broken, snis: ["A.com", 5, "*.b.com"], client }),
      put("listening", { ...broken, listen: [{ port: 9443 }, "x"], client: "nonsense" }),
      put("plain", { ...broken, sni: "a.com" }),
      put("off", { ...broken, sni: "a.com", client, status: 0 }),
      put("own", { ...broken, type: "client", client }),
    ]);
    await node.settle();
    const nothing = { cert: "$quarantine://mutual", key: "$quarantine://mutual" };
    assert.deepEqual(
      contentOf(node).map(([key]) => key),
      ["ssl/listening", "ssl/mutual"],
    );
    assert.partialDeepStrictEqual(node.workers[0].items.get("ssl/mutual"), {
      type: "server",
      enabled: true,
      names: ["a.com", "*.b.com"],
      pairs: [nothing],
      client: { ca: nothing.cert, depth: 1 },
    });
    assert.partialDeepStrictEqual(node.workers[0].items.get("ssl/listening"), { listen: [{ port: 9443 }] });
    const { list } = (await node.callControl("GET", "/v1/quarantine")).body;
    const serving = Object.fromEntries(
      list.map((item: { key: string; serving: string }) => [item.key.slice(13), item.serving]),
    );
    assert.deepEqual(
      [serving["mutual"], serving["plain"], serving["off"]],
      ["no handshake", "nothing", "nothing"],
    );
    await node.control.store.write([put("mutual", { ...broken, sni: "a.com" })]);
    await node.settle();
    assert.deepEqual(
      contentOf(node).map(([key]) => key),
      ["ssl/listening"],
    );
  });
});

test("a bad item in the store is quarantined alone, and its earlier version stays in service", async () => {
  await withNode(async (node) => {
    await node.call("PUT", "/routes/good", { uri: "/good", upstream: upstream(1) });
    await node.call("PUT", "/routes/turned", { uri: "/turned", upstream: upstream(1) });
    const { store } = node.control;
    await store.write([
      { type: "put", key: "/routes/turned", value: '{"uri":5}' },
      { type: "put", key: "/routes/never", value: "not json" },
      { type: "put", key: "/routes/other", value: JSON.stringify({ uri: "/other", upstream: upstream(2) }) },
      { type: "put", key: "/not/a/resource", value: "x" },
    ]);
    await node.settle();
    assert.deepEqual(
      contentOf(node).map(([key]) => key),
      ["route/good", "route/other", "route/turned"],
    );
    const { list } = (await node.callControl("GET", "/v1/quarantine")).body;
    const shown = list.map((item: Record<string, unknown>) => [
      item["key"],
      item["serving"],
      item["pointer"],
    ]);
    assert.deepEqual(shown, [
      ["/apisix/routes/turned", "previous version", "/uri"],
      ["/apisix/routes/never", "nothing", ""],
    ]);
    assert.equal((await node.call("GET", "/routes")).status, 200);
    await node.call("PUT", "/routes/turned?wait=live", { uri: "/mended", upstream: upstream(1) });
    await node.call("DELETE", "/routes/never");
    assert.equal((await node.callControl("GET", "/v1/quarantine")).body.total, 0);
    assert.deepEqual((node.workers[0].items.get("route/turned") as { uris: string[] }).uris, ["/mended"]);
  });
});

test("the Control API shows resources, workers and schemas", async () => {
  await withNode(async (node) => {
    await node.call("PUT", "/routes/1?wait=live", { uri: "/a", upstream: upstream(1) });
    const list = await node.callControl("GET", "/v1/routes");
    assert.equal(list.body[0].key, "/apisix/routes/1");
    assert.equal((await node.callControl("GET", "/v1/route/1")).body.value.uri, "/a");
    const missing = await node.callControl("GET", "/v1/route/2");
    assert.deepEqual([missing.status, missing.body], [404, { error_msg: "route[2] not found" }]);
    const { published_revision, workers } = (await node.callControl("GET", "/v1/workers")).body;
    assert.deepEqual(
      workers.map((worker: Record<string, unknown>) => worker["applied_revision"]),
      [published_revision, published_revision],
    );
    assert.ok((await node.callControl("GET", "/v1/schema")).body.main.route);
    assert.equal((await node.callControl("POST", "/v1/gc")).status, 200);
    assert.equal((await node.callControl("GET", "/v1/plugin_metadatas")).text, "[]\n");
  });
});

test("P2: a restart of control keeps content, and the published revision grows", async () => {
  const node = await new TestNode().start();
  await node.call("PUT", "/routes/1?wait=live", { uri: "/a", upstream: upstream(1) });
  const before = node.control.publisher.revision;
  const content = contentOf(node);
  await node.stopControl();
  await node.start();
  await node.settle();
  assert.ok(node.control.publisher.revision > before);
  assert.deepEqual(contentOf(node), content);
  await node.call("PUT", "/routes/2?wait=live", { uri: "/b", upstream: upstream(1) });
  assert.equal(node.workers[1].items.size, 2);
  await node.dispose();
});

test("the published revision grows over restarts of the node, also with a damaged reserve", () => {
  const folder = mkdtempSync(join(tmpdir(), "cardea-reserve-"));
  const first = reserveRevisions(folder);
  const second = reserveRevisions(folder);
  assert.ok(
    second - first >= 1_000_000_000,
    "each run has a range of its own, larger than what it can publish",
  );
  writeFileSync(join(folder, "published-revision"), "garbage");
  assert.ok(reserveRevisions(folder) > 0);
  rmSync(folder, { recursive: true });
});

test("addresses outside of allow_admin are refused", async () => {
  await withNode(
    async (node) => {
      const reply = await node.call("GET", "/routes");
      assert.deepEqual(
        [reply.status, reply.body.error_msg],
        [403, "the address 127.0.0.1 is not in allow_admin"],
      );
    },
    { allow: ["10.0.0.0/8"] },
  );
});

test("the node is ready once every worker serves a configuration", async () => {
  await withNode(async (node) => {
    const { threads } = node.shared;
    let isDraining = false;
    const server = createStatusServer({ threads, isDraining: () => isDraining }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const ask = async (path: string) => {
      const reply = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
      return [reply.status, await reply.json()];
    };
    await node.settle();
    assert.deepEqual(await ask("/status"), [200, { status: "ok" }]);
    assert.deepEqual(await ask("/status/ready"), [200, { status: "ok" }]);
    threads.begin(1, 2);
    const error = "worker id: 1 has not received configuration";
    assert.deepEqual(await ask("/status/ready"), [503, { status: "error", error }]);
    isDraining = true;
    assert.deepEqual(await ask("/status/ready"), [503, { status: "error", error: "the node is draining" }]);
    assert.equal((await ask("/other"))[0], 404);
    server.close();
    server.closeAllConnections();
  });
});

test("a scrape shows the metrics of the node at the configured path only", async () => {
  await withNode(async (node) => {
    const facts = () => ({ prefix: "apisix_", hostname: "h", version: "1" });
    const page = new MetricsPage(node.shared, facts);
    const server = createMetricsServer(page, "/metrics", new HostCheck([])).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const pages = await Promise.all(
      [1, 2, 3].map(() => fetch(`${url}/metrics`).then((reply) => reply.text())),
    );
    for (const page of pages) assert.match(page, /^apisix_node_info\{hostname="h",version="1"\} 1$/m);
    assert.equal((await fetch(`${url}/other`)).status, 404);
    server.close();
    server.closeAllConnections();
  });
});

test("the admin key is made once and readable by its owner only", () => {
  const folder = mkdtempSync(join(tmpdir(), "cardea-key-"));
  const made = readOrMakeAdminKey(folder);
  assert.ok(made.isNew && made.key.length >= 40);
  assert.equal(statSync(made.file).mode & 0o777, 0o600);
  assert.equal(readFileSync(made.file, "utf8").trim(), made.key);
  assert.deepEqual(readOrMakeAdminKey(folder), { ...made, isNew: false });
  rmSync(folder, { recursive: true });
});

test("P2: the order in which credentials are made is none that a cold start forgets", async () => {
  await withNode(async (node) => {
    await node.call("PUT", "/consumers/jack", { username: "jack" });
    for (const key of ["c", "a", "b"]) {
      await node.call("PUT", `/consumers/jack/credentials/${key}`, { plugins: { "key-auth": { key } } });
    }
    await node.settle();
    const lived = contentOf(node);
    const seen = node.workers[0].messages.length;
    await node.stopControl();
    await node.start();
    await node.settle();
    assert.ok(node.workers[0].messages.length > seen);
    assert.deepEqual(contentOf(node), lived);
  });
});

const id = fc.constantFrom("1", "2", "3");
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(
      fc.constant("PUT"),
      fc.constantFrom("routes", "services", "upstreams", "consumers"),
      id,
      fc.nat(5),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(
      fc.constant("PATCH"),
      fc.constantFrom("routes", "services", "upstreams"),
      id,
      fc.nat(5),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constantFrom("DELETE", "FORCE"),
      fc.constantFrom("routes", "services", "upstreams", "consumers"),
      id,
      fc.nat(5),
    ),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant("CREDENTIAL"), fc.constant("consumers"), id, fc.nat(5)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("RESTART"), fc.constant(""), id, fc.nat(5)) },
);

function bodyFor(plural: string, name: string, n: number): object {
  switch (plural) {
    case "routes":
      return n % 2 === 0
        ? { uri: `/${n}`, service_id: String(1 + (n % 3)) }
        : { uri: `/${n}`, upstream: upstream(n) };
    case "services":
      return n % 2 === 0 ? { upstream_id: String(1 + (n % 3)) } : { name: `s${n}` };
    case "consumers":
      return {
        username: name,
        desc: `${n}`,
        plugins: n === 0 ? {} : { "key-auth": { key: `${name}-${n}` } },
      };
    default:
      return upstream(n + 1);
  }
}

async function perform(
  node: TestNode,
  [kind, plural, name, n]: [string, string, string, number],
): Promise<void> {
  if (kind === "RESTART") {
    await node.stopControl();
    await node.start();
    return;
  }
  const path = `/${plural}/${name}`;
  const body = bodyFor(plural, name, n);
  const reply =
    kind === "FORCE"
      ? await node.call("DELETE", `${path}?force=true`)
      : kind === "CREDENTIAL"
        ? await node.call("PUT", `${path}/credentials/c${n}`, {
            plugins: { "key-auth": { key: `c-${name}-${n}` } },
          })
        : await node.call(kind, path, kind === "DELETE" ? undefined : body);
  assert.ok(reply.status < 500, `${kind} ${path}: ${reply.text}`);
}

test("P2: any sequence of admin writes and restarts equals a cold start", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 25 }), async (operations) => {
      const node = await new TestNode().start();
      try {
        for (const one of operations) await perform(node, one);
        await node.settle();
        const lived = contentOf(node);
        assert.deepEqual(contentOf(node, 1), lived);
        await node.stopControl();
        const cold = await new TestNode({}, node.folder).start();
        await cold.settle();
        assert.deepEqual(contentOf(cold), lived);
        await cold.stopControl();
        await node.start();
      } finally {
        await node.dispose();
      }
    }),
    { numRuns: Number(process.env.CARDEA_PROPERTY_RUNS ?? 10), endOnFailure: true },
  );
});
