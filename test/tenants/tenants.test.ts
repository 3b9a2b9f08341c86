/** Tenants in whole nodes: what one has or does concerns no other. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ListenerConfig, StaticConfig } from "../../src/config/static-config.ts";
import { EtcdCluster, WITHOUT_ETCD } from "../etcd/members.ts";
import { connectionsTo, startNode, startOrigin, until } from "../etcd/nodes.ts";
import { Load } from "../process/load.ts";
import { StartedNode, testConfig } from "../process/started-node.ts";
import { RealNode, temporaryFolder } from "../promises/real-node.ts";
import { freePorts } from "../ports/free-port.ts";

const PURPOSES = ["http", "admin", "control", "metrics"] as const;

type Ports = Record<(typeof PURPOSES)[number], number>;

async function placesOf(): Promise<Ports> {
  const [http, admin, control, metrics] = await freePorts(PURPOSES.length);
  return { http, admin, control, metrics };
}

/** As the static file would make it of `cardea.tenants`. */
function tenantOf(config: StaticConfig, name: string, ports: Ports): StaticConfig {
  const listeners = PURPOSES.map((purpose): ListenerConfig => {
    return { purpose, address: "127.0.0.1", port: ports[purpose], proxyProtocol: false, group: "default" };
  });
  const groups = [{ name: "default", workers: 1 }];
  const own = { tenant: name, tenants: [], workers: 1, groups, listeners };
  const { supervision } = config;
  return structuredClone({ ...config, ...own, supervision: { ...supervision } });
}

/** A tenant of a running node. */
class Tenant {
  readonly #node: RealNode;
  readonly name: string;
  readonly ports: Ports;

  constructor(node: RealNode, name: string, ports: Ports) {
    this.#node = node;
    this.name = name;
    this.ports = ports;
  }

  get folder(): string {
    return join(this.#node.folder, "tenants", this.name);
  }

  async admin(method: string, path: string, body?: unknown, key?: string): Promise<Response> {
    const own = key ?? readFileSync(join(this.folder, "admin.key"), "utf8").trim();
    return await fetch(`http://127.0.0.1:${this.ports.admin}/apisix/admin${path}`, {
      method,
      headers: { "x-api-key": own },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  async put(path: string, body: unknown): Promise<void> {
    const answer = await this.admin("PUT", `${path}?wait=live`, body);
    assert.ok(answer.ok, `PUT ${path}: ${answer.status} ${await answer.text()}`);
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.ports.http}${path}`);
    return { status: answer.status, text: await answer.text() };
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of every shape
  async control(path: string): Promise<any> {
    return await (await fetch(`http://127.0.0.1:${this.ports.control}${path}`)).json();
  }

  async metrics(): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${this.ports.metrics}/apisix/prometheus/metrics`)).text();
  }
}

const mocked = (text: string, plugins: object = {}) => ({
  uri: "/*",
  plugins: { mocking: { response_example: text }, ...plugins },
});

test("tenants have resources, keys, counters and metrics of their own, and keep them over a restart", async (t) => {
  const [a, b] = [await placesOf(), await placesOf()];
  const change = (config: StaticConfig): void => {
    config.tenants = [tenantOf(config, "a", a), tenantOf(config, "b", b)];
  };
  const node = await RealNode.start(t, { change });
  const [first, second] = [new Tenant(node, "a", a), new Tenant(node, "b", b)];
  // The same id, the same key of the counter.
  const limit = { count: 1, time_window: 3600, key: "remote_addr", rejected_code: 429 };
  const upstream = { nodes: { [`127.0.0.1:${await startOrigin(t)}`]: 1 } };
  const counted = { uri: "/counted", upstream, plugins: { "limit-count": limit } };
  for (const each of [node, first, second]) await each.put("/routes/2", counted);
  for (const each of [node, first, second]) assert.equal((await each.get("/counted")).status, 200);
  for (const each of [node, first, second]) assert.equal((await each.get("/counted")).status, 429);
  await node.put("/routes/1", mocked("node"));
  await first.put("/routes/1", mocked("of a", { prometheus: {} }));
  await second.put("/routes/1", mocked("of b"));
  assert.equal((await node.get("/x")).text, "node");
  assert.equal((await first.get("/x")).text, "of a");
  assert.equal((await second.get("/x")).text, "of b");

  const ofNode = readFileSync(join(node.folder, "admin.key"), "utf8").trim();
  assert.equal((await first.admin("GET", "/routes", undefined, ofNode)).status, 401);

  const page = await first.metrics();
  assert.match(page, /^apisix_http_status\{tenant="a",code="200",route="1"/m);
  const unlabelled = page.split("\n").filter((line) => /^[^#]/.test(line) && !line.includes('tenant="a"'));
  assert.deepEqual(unlabelled, []);
  const ofOthers = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
  assert.ok(!ofOthers.includes("tenant="));
  assert.ok(node.lines.some((line) => line["tenant"] === "a" && line["path"] === "/routes/1"));

  await node.stop();
  const again = await RealNode.start(t, { change, folder: node.folder });
  assert.equal((await new Tenant(again, "b", b).get("/x")).text, "of b");
  assert.equal((await again.get("/x")).text, "node");
});

test("a worker that loops for ever is replaced within its tenant; nobody else waits", async (t) => {
  const ports = await placesOf();
  const node = await RealNode.start(t, {
    worker: "./faulty-worker.ts",
    change: (config) => {
      const tenant = tenantOf(config, "a", ports);
      tenant.supervision.staleAfterMs = 3000;
      config.tenants = [tenant];
    },
  });
  const tenant = new Tenant(node, "a", ports);
  await node.put("/routes/1", mocked("node"));
  await tenant.put("/routes/1", mocked("tenant"));
  writeFileSync(join(tenant.folder, "fault-0"), "loop");
  const died = node.logged("a thread died and is started again");
  let isOver = false;
  void died.then(() => {
    isOver = true;
  });
  let answered = 0;
  do {
    assert.equal((await node.get("/x")).text, "node");
    answered++;
  } while (!isOver);
  const line = await died;
  assert.deepEqual([line["tenant"], line["thread"], line["slot"]], ["a", "worker", 0]);
  assert.match(String(line["cause"]), /no heartbeat/);
  assert.ok(answered > 1);
  assert.equal((await tenant.get("/x")).text, "tenant");
  const { workers } = await node.control("/v1/workers");
  assert.deepEqual(new Set(workers.map((worker: { generation: number }) => worker.generation)), new Set([1]));
});

test("a flood of writes to one tenant reaches no worker and no revision of another", async (t) => {
  const ports = await placesOf();
  const node = await RealNode.start(t, {
    change: (config) => {
      config.tenants = [tenantOf(config, "a", ports)];
    },
  });
  const tenant = new Tenant(node, "a", ports);
  await node.put("/routes/1", mocked("before"));
  const before = await node.control("/v1/workers");
  let isFlooding = true;
  let written = 0;
  const writers = Array.from({ length: 8 }, async (_, lane) => {
    for (let i = 0; isFlooding || i === 0; i++) {
      const { status } = await tenant.admin("PUT", `/routes/${lane}-${i % 50}`, mocked(`${i}`));
      assert.ok(status === 200 || status === 201);
      written++;
    }
  });
  while (written < 100) assert.equal((await node.get("/x")).text, "before");
  const meanwhile = await node.control("/v1/workers");
  assert.equal(meanwhile.published_revision, before.published_revision);
  await node.put("/routes/1", mocked("after"));
  assert.equal((await node.get("/x")).text, "after");
  isFlooding = false;
  await Promise.all(writers);
  const { body } = await node.admin("GET", "/routes");
  assert.equal(body.total, 1);
});

test("an upgrade takes the tenants along, and may bring new ones, without a failed request", async (t) => {
  const [a, b] = [await placesOf(), await placesOf()];
  const config = testConfig((own) => {
    own.tenants = [tenantOf(own, "a", a)];
  });
  const node = await StartedNode.serving(t, { config });
  const load = new Load(a.http);
  const next = structuredClone(config);
  next.tenants.push(tenantOf(next, "b", b));
  node.configure(next);
  const before = node.nodePid;
  node.process.kill("SIGUSR2");
  await node.logs("the node serves", 2);
  assert.notEqual(node.nodePid, before);
  assert.equal((await fetch(`http://127.0.0.1:${b.http}/`)).status, 200);
  const { failures, answered } = await load.stop();
  assert.deepEqual(failures, {});
  assert.ok(answered > 0);
});

test(
  "in an etcd tenants have a prefix each; what is broken in one is in quarantine there alone",
  { skip: WITHOUT_ETCD },
  async (t) => {
    const cluster = await EtcdCluster.start(t);
    const ports = await placesOf();
    const node = await startNode(t, cluster.endpoints, (config) => {
      const tenant = tenantOf(config, "shop", ports);
      if (tenant.store.type === "etcd") tenant.store.prefix = "/shop";
      config.tenants = [tenant];
    });
    const tenant = new Tenant(node, "shop", ports);
    await node.put("/routes/1", mocked("node"));
    await tenant.put("/routes/1", mocked("shop"));
    await cluster.put("/shop/routes/broken", "{");
    await cluster.put("/shop/routes/direct", JSON.stringify({ ...mocked("direct"), uri: "/direct" }));
    await until(async () => (await tenant.get("/direct")).text === "direct");
    await until(async () => (await tenant.control("/v1/quarantine")).total === 1);
    assert.equal((await node.control("/v1/quarantine")).total, 0);
    const { published_revision: before } = await node.control("/v1/workers");
    const flood = Array.from({ length: 100 }, (_, i) => tenant.put(`/routes/flood-${i}`, mocked(`${i}`)));
    await Promise.all(flood);
    assert.equal((await node.control("/v1/workers")).published_revision, before);
    assert.equal((await node.get("/direct")).text, "node");
  },
);

test(
  "a node has one connection to its etcd, however many tenants; it outlives the thread that holds it",
  { skip: WITHOUT_ETCD },
  async (t) => {
    const cluster = await EtcdCluster.start(t, { members: 3 });
    const names = ["", "shop", "blog"];
    const places = { shop: await placesOf(), blog: await placesOf() };
    const fault = join(temporaryFolder(t), "fault");
    const change = (config: StaticConfig): void => {
      config.supervision.staleAfterMs = 3000;
      config.tenants = (["shop", "blog"] as const).map((name) => {
        const tenant = tenantOf(config, name, places[name]);
        if (tenant.store.type === "etcd") tenant.store.prefix = `/${name}`;
        return tenant;
      });
    };
    const parts = { storeLink: "./faulty-store-link.ts", env: { CARDEA_TEST_FAULT: fault } };
    const node = await startNode(t, cluster.endpoints, change, parts);
    const nodes = [node, new Tenant(node, "shop", places.shop), new Tenant(node, "blog", places.blog)];
    const connections = (): number[] =>
      cluster.members.map(({ clientUrl }) => connectionsTo(node.pid, Number(new URL(clientUrl).port)));
    const one = (): boolean => connections().reduce((sum, count) => sum + count) === 1;
    const carriesOn = async (text: string): Promise<void> => {
      for (const [i, each] of nodes.entries()) {
        // A write may come while the connection is made.
        await until(async () => (await each.admin("PUT", "/routes/1?wait=live", mocked(text))).status < 300);
        assert.equal((await each.get("/x")).text, text);
        // What others write comes by the watch.
        const prefix = `/${names[i] || "apisix"}`;
        await cluster.ctl("put", `${prefix}/routes/1`, JSON.stringify(mocked(`${text} of others`)));
        await until(async () => (await each.get("/x")).text === `${text} of others`);
      }
    };
    await carriesOn("at first");
    assert.ok(one());
    writeFileSync(fault, "throw");
    await node.logged("a thread died and is started again");
    await carriesOn("after its death");
    assert.ok(one());
    writeFileSync(fault, "loop");
    const line = await node.logged("a thread died and is started again", 2);
    assert.match(String(line["cause"]), /no heartbeat/);
    await carriesOn("after it hung");
    assert.ok(one());
    const member = cluster.members[connections().indexOf(1)];
    member.pause();
    await carriesOn("on another member");
    member.resume();
    // A member that is silent does not take leave either.
    await until(one);
  },
);
