/**
 * P2: configuration outlives the node and is the same however it came to be. A node that lived through writes and
 * restarts answers as one that starts cold on the same store; `kill -9` loses no acknowledged write; the published
 * revision never goes back.
 */

import assert from "node:assert/strict";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { namedOrigin, upstreamOf, type Origin } from "./origins.ts";
import { RealNode, temporaryFolder } from "./real-node.ts";
import { WireConnection } from "./wire-answers.ts";

interface Write {
  method: "PUT" | "PATCH" | "DELETE";
  path: string;
  body?: unknown;
}

const HOSTS = ["x.example", "y.example"];
const PATHS = ["/a", "/a/b", "/b/1", "/c"];
const KEYS = ["", "key-jack", "key-jill"];

function oneOf<T>(...values: T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...values);
}

/** Writes that fit together often enough; those that do not are refused by both nodes' same rules. */
function writes(origins: Origin[]): fc.Arbitrary<Write> {
  const id = oneOf("1", "2", "3");
  const inline = oneOf(...origins.map((origin) => upstreamOf(origin)));
  const plugins = oneOf<object>(
    {},
    { "key-auth": {} },
    { "ip-restriction": { blacklist: ["127.0.0.1"], message: "no" } },
    { "limit-count": { count: 1_000_000, time_window: 86_400 } },
    { "limit-count": { count: 2_000_000, time_window: 86_400, _meta: { disable: true } } },
  );
  const target = fc.oneof(
    inline.map((upstream) => ({ upstream })),
    id.map((upstream_id) => ({ upstream_id })),
    id.map((service_id) => ({ service_id })),
  );
  const route = fc
    .tuple(
      oneOf("/a", "/a/*", "/b/*", "/*"),
      fc.option(oneOf(...HOSTS), { nil: undefined }),
      oneOf(0, 1),
      fc.integer({ min: 0, max: 3 }),
      plugins,
      target,
    )
    .map(([uri, host, status, priority, set, to]) => {
      const value = { uri, status, priority, plugins: set };
      return Object.assign(value, to, host === undefined ? {} : { host });
    });
  const service = fc
    .tuple(
      plugins,
      fc.oneof(
        inline.map((upstream) => ({ upstream })),
        id.map((upstream_id) => ({ upstream_id })),
      ),
    )
    .map(([set, to]) => Object.assign({ plugins: set }, to));
  const put = (kind: string, which: fc.Arbitrary<string>, value: fc.Arbitrary<unknown>) =>
    fc.tuple(which, value).map(([name, body]): Write => ({ method: "PUT", path: `/${kind}/${name}`, body }));
  return fc.oneof(
    { weight: 6, arbitrary: put("routes", oneOf("1", "2", "3", "4", "5"), route) },
    { weight: 2, arbitrary: put("services", id, service) },
    { weight: 3, arbitrary: put("upstreams", id, inline) },
    {
      weight: 2,
      arbitrary: oneOf("jack", "jill").map((username): Write => {
        const body = { username, plugins: { "key-auth": { key: `key-${username}` } } };
        return { method: "PUT", path: "/consumers", body };
      }),
    },
    {
      weight: 1,
      arbitrary: put(
        "global_rules",
        oneOf("1"),
        plugins.map((set) => ({ plugins: set })),
      ),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(
          id,
          oneOf<unknown>(
            { status: 0 },
            { status: 1 },
            { priority: 9 },
            { plugins: null },
            { host: "x.example" },
          ),
        )
        .map(([name, body]): Write => ({ method: "PATCH", path: `/routes/${name}`, body })),
    },
    {
      weight: 2,
      arbitrary: oneOf(
        "/routes/1",
        "/routes/2",
        "/services/1",
        "/upstreams/1",
        "/consumers/jack",
        "/global_rules/1",
      ).map((path): Write => ({ method: "DELETE", path })),
    },
  );
}

/** Everything that can be seen from outside. */
async function appearance(node: RealNode): Promise<object> {
  const probes: Record<string, unknown> = {};
  for (const path of PATHS) {
    for (const host of HOSTS) {
      for (const key of KEYS) {
        const { status, text, headers } = await probe(node, path, host, key);
        probes[`${host}${path} ${key}`] = { status, text, limit: headers.get("x-ratelimit-limit") };
      }
    }
  }
  const lists: Record<string, unknown> = {};
  for (const plural of ["routes", "services", "upstreams"]) {
    const list = (await node.control(`/v1/${plural}`)) as { value: { id: string } }[];
    lists[plural] = list.map(({ value }) => value).sort((a, b) => a.id.localeCompare(b.id));
  }
  for (const plural of ["consumers", "global_rules"]) {
    lists[plural] = (await node.admin("GET", `/${plural}`)).body;
  }
  return { probes, lists };
}

/** `fetch` sets no Host: a raw request does. */
async function probe(node: RealNode, path: string, host: string, key: string) {
  const connection = await WireConnection.open(node.port());
  const field = key === "" ? "" : `apikey: ${key}\r\n`;
  connection.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${field}\r\n`);
  const answer = await connection.answer();
  connection.close();
  assert.ok(answer !== null);
  return { status: answer.status, text: answer.body, headers: answer.headers };
}

async function publishedOf(node: RealNode): Promise<number> {
  return ((await node.control("/v1/workers")) as { published_revision: number }).published_revision;
}

/** A node with the store of that folder and the keys of its secrets, and nothing else of it. */
async function coldStart(t: TestContext, folder: string): Promise<RealNode> {
  const copy = temporaryFolder(t);
  for (const file of readdirSync(folder)) {
    if (file.startsWith("store.db") || file === "keyring") cpSync(join(folder, file), join(copy, file));
  }
  return await RealNode.start(t, { folder: copy });
}

async function live(node: RealNode): Promise<void> {
  await node.put("/routes/live", { uri: "/live", upstream: { nodes: { "127.0.0.1:1": 1 } } });
}

test("P2: any sequence of writes and restarts ends as a cold start on the same store", async (t) => {
  const origins = [await namedOrigin(t, "one"), await namedOrigin(t, "two")];
  const step = fc.oneof(
    { weight: 25, arbitrary: writes(origins) },
    { weight: 1, arbitrary: oneOf("restart" as const) },
  );
  const property = fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 60 }), async (steps) => {
    const folder = temporaryFolder(t);
    let node = await RealNode.start(t, { folder });
    let published = 0;
    let accepted = 0;
    for (const each of steps) {
      if (each === "restart") {
        published = await publishedOf(node);
        await node.stop();
        node = await RealNode.start(t, { folder });
        assert.ok((await publishedOf(node)) >= published, "the published revision went back");
        continue;
      }
      const { status, text } = await node.admin(each.method, each.path, each.body);
      assert.ok([200, 201, 400, 404].includes(status), `${each.method} ${each.path}: ${status} ${text}`);
      if (status < 300) accepted++;
    }
    assert.ok(accepted > 0);
    await live(node);
    const seen = await appearance(node);
    await node.stop();
    const cold = await coldStart(t, folder);
    assert.deepEqual(await appearance(cold), seen);
    await cold.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  await fc.assert(property, { numRuns: 3, endOnFailure: true });
});

test("P2: kill -9 of the whole node during writes loses no acknowledged one", async (t) => {
  const origin = await namedOrigin(t, "origin");
  const folder = temporaryFolder(t);
  const acknowledged = new Map<string, number>();
  let published = 0;
  for (let kill = 1; kill <= 3; kill++) {
    const node = await RealNode.start(t, { folder });
    let isDead = false;
    const writing = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = 0; !isDead; i++) {
        const id = `w${writer}-${i % 20}`;
        const priority = kill * 1000 + i;
        const body = { uri: `/${id}`, priority, upstream: upstreamOf(origin) };
        // Cut off by the kill: it counts for nothing, whether it was written or not.
        const reply = await node.admin("PUT", `/routes/${id}`, body).catch(() => null);
        if (reply !== null && reply.status < 300) acknowledged.set(id, priority);
      }
    });
    const before = acknowledged.size;
    while (acknowledged.size < before + 10) await new Promise((resolve) => setImmediate(resolve));
    published = await publishedOf(node);
    isDead = true;
    await node.kill();
    await Promise.all(writing);

    const again = await RealNode.start(t, { folder });
    assert.ok((await publishedOf(again)) >= published, "the published revision went back");
    for (const [id, priority] of acknowledged) {
      const { status, body } = await again.admin("GET", `/routes/${id}`);
      assert.equal(status, 200, `${id} is lost`);
      // A later write of it may have been cut off after it was stored.
      assert.ok(
        body.value.priority >= priority,
        `${id} went back from ${priority} to ${body.value.priority}`,
      );
      assert.equal((await again.get(`/${id}`)).text, `origin /${id}`);
    }
    await again.kill();
  }
});
