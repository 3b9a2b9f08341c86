/**
 * Whole nodes that start without what they had their configuration from: a file that is broken by then, an etcd that
 * is gone, or nobody who puts the document again. And the roles of nodes on one etcd.
 */

import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import type { EtcdStoreConfig, StaticConfig } from "../../src/config/static-config.ts";
import { EtcdCluster, WITHOUT_ETCD } from "../etcd/members.ts";
import { RealNode, temporaryFolder } from "../promises/real-node.ts";

const SNAPSHOT = { hasSnapshot: true, snapshotIntervalMs: 100, maxAgeMs: 0 };
const FROM_SNAPSHOT = "serving the configuration that this node had before";

async function origin(t: TestContext): Promise<number> {
  const server = createServer((request, response) => response.end(`origin ${request.url}`));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

function without(config: StaticConfig, purpose: string): void {
  config.listeners = config.listeners.filter((listener) => listener.purpose !== purpose);
}

const route = (id: string, uri: string, port: number) => ({
  id,
  uri,
  upstream: { type: "roundrobin", nodes: { [`127.0.0.1:${port}`]: 1 } },
});

test("a node whose file is broken when it starts serves what it had, if it is told to keep that", async (t) => {
  const port = await origin(t);
  const folder = temporaryFolder(t);
  const file = join(temporaryFolder(t), "apisix.json");
  const change = (config: StaticConfig) => {
    config.store = { type: "file", format: "json", file };
    config.survival = SNAPSHOT;
    config.admin.enabled = false;
    without(config, "admin");
  };
  writeFileSync(file, JSON.stringify({ routes: [route("1", "/one", port)] }));
  const node = await RealNode.start(t, { change, folder });
  assert.equal((await node.get("/one")).text, "origin /one");
  await node.stop();
  assert.equal(statSync(join(folder, "snapshot")).mode & 0o777, 0o600);
  assert.ok(!readFileSync(join(folder, "snapshot"), "latin1").includes("/one"));

  writeFileSync(file, "{ broken");
  const again = await RealNode.start(t, { change, folder });
  await again.logged(FROM_SNAPSHOT);
  assert.equal((await again.get("/one")).text, "origin /one");
  writeFileSync(file, JSON.stringify({ routes: [route("2", "/two", port)] }));
  await until(async () => (await again.get("/two")).status === 200);
  assert.equal((await again.get("/one")).status, 404);
});

test("the document of a node that is killed is there when it starts again", async (t) => {
  const port = await origin(t);
  const folder = temporaryFolder(t);
  const change = (config: StaticConfig) => {
    config.store = { type: "api" };
  };
  const node = await RealNode.start(t, { change, folder });
  const ready = async (of: RealNode) => (await fetch(`${of.url("status")}/status/ready`)).status;
  assert.equal(await ready(node), 503, "nothing was put yet");
  const answer = await node.admin(
    "PUT",
    "/configs",
    { routes: [route("1", "/one", port)] },
    { "x-digest": "d" },
  );
  assert.equal(answer.status, 202);
  assert.equal((await node.get("/one")).text, "origin /one");
  assert.equal(await ready(node), 200);
  await node.kill();

  const again = await RealNode.start(t, { change, folder });
  assert.equal((await again.get("/one")).text, "origin /one");
  assert.equal((await again.admin("HEAD", "/configs")).headers.get("x-digest"), "d");
});

describe("nodes on one etcd", { skip: WITHOUT_ETCD }, () => {
  function onEtcd(cluster: EtcdCluster, more: (config: StaticConfig) => void = () => {}) {
    const store: EtcdStoreConfig = {
      type: "etcd",
      endpoints: cluster.endpoints,
      prefix: "/apisix",
      timeoutMs: 3000,
      avoidFailedMs: 1000,
      longestPauseMs: 200,
      user: null,
      tls: null,
      historyRevisions: 1000,
      historyDays: 1,
    };
    return (config: StaticConfig) => {
      config.store = store;
      config.survival = SNAPSHOT;
      config.encryption = { enabled: true, keyring: ["0123456789abcdef"] };
      more(config);
    };
  }

  test("a control plane writes and carries no traffic, a data plane serves and has no Admin API", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const port = await origin(t);
    const writer = await RealNode.start(t, {
      change: onEtcd(cluster, (config) => {
        config.workers = 1;
        config.groups = [{ name: "default", workers: 1 }];
        without(config, "http");
      }),
    });
    const server = await RealNode.start(t, {
      change: onEtcd(cluster, (config) => {
        config.admin.enabled = false;
        without(config, "admin");
      }),
    });
    const { id, ...body } = route("1", "/one", port);
    await writer.put(`/routes/${id}`, body);
    await until(async () => (await server.get("/one")).status === 200);
    const listening = (node: RealNode) =>
      (node.lines.find((line) => line.message === "the node serves")!["listeners"] as string[]).map(
        (each) => each.split(" ", 1)[0],
      );
    assert.deepEqual(listening(writer).sort(), ["admin", "control", "metrics", "status"]);
    assert.deepEqual(listening(server).sort(), ["control", "http", "metrics", "status"]);
    assert.equal((await fetch(`${writer.url("status")}/status/ready`)).status, 200);
  });

  test("a node starts without its etcd, refuses writes, gets old and unready, and takes up what comes back", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const port = await origin(t);
    const folder = temporaryFolder(t);
    const change = onEtcd(cluster, (config) => {
      config.survival = { ...SNAPSHOT, maxAgeMs: 3_600_000 };
    });
    const { id, ...body } = route("1", "/one", port);
    const node = await RealNode.start(t, { change, folder });
    await node.put(`/routes/${id}`, body);
    await node.stop();
    await cluster.killAll();

    const again = await RealNode.start(t, { change, folder });
    await again.logged(FROM_SNAPSHOT);
    assert.equal((await again.get("/one")).text, "origin /one");
    const ready = async (of: RealNode) => (await fetch(`${of.url("status")}/status/ready`)).status;
    assert.equal(await ready(again), 200);
    const writes = [
      ["PUT", "/routes/2", body],
      ["PATCH", `/routes/${id}`, { desc: "x" }],
      ["DELETE", `/routes/${id}`, undefined],
    ] as const;
    const refusals = writes.map(async ([method, path, value]) => {
      const reply = await again.admin(method, path, value);
      assert.equal(reply.status, 503, `${method} ${path}: ${reply.text}`);
    });
    await Promise.all(refusals);
    const metrics = await (await fetch(`${again.url("metrics")}/apisix/prometheus/metrics`)).text();
    assert.match(metrics, /^apisix_store_reachable 0$/m);
    assert.match(metrics, /^apisix_config_age_seconds [\d.]+$/m);

    await cluster.startAll();
    await until(async () => (await again.admin("PUT", "/routes/2", { ...body, uri: "/two" })).status === 201);
    await until(async () => (await again.get("/two")).status === 200);
    const { list } = (await again.admin("GET", "/routes")).body as { list: { value: { desc?: string } }[] };
    assert.deepEqual(
      list.map(({ value }) => value.desc),
      [undefined, undefined],
      "refused writes changed nothing",
    );
    await again.stop();
    await cluster.killAll();

    const old = await RealNode.start(t, {
      folder,
      change: onEtcd(cluster, (config) => {
        config.survival = { ...SNAPSHOT, maxAgeMs: 1 };
      }),
    });
    assert.equal((await old.get("/one")).text, "origin /one", "it serves");
    assert.equal(await ready(old), 503, "and gets no new traffic from those who ask");
  });
});
