/** Health checks in a whole node: how often is probed, who sees it, what outlives deaths and restarts. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { RealNode } from "../promises/real-node.ts";
import { freePort } from "../ports/free-port.ts";

interface Origin {
  server: Server;
  port: number;
  isBad: boolean;
  probes: number;
  requests: number;
  node: { host: string; port: number; weight: number };
}

async function startOrigin(t: TestContext, port?: number): Promise<Origin> {
  const server = createServer((request, response) => {
    if (request.url === "/status") origin.probes++;
    else origin.requests++;
    response.writeHead(origin.isBad ? 500 : 200).end(String(origin.port));
  });
  server.listen(port ?? (await freePort()), "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const bound = (server.address() as AddressInfo).port;
  const node = { host: "127.0.0.1", port: bound, weight: 1 };
  const origin: Origin = { server, port: bound, isBad: false, probes: 0, requests: 0, node };
  return origin;
}

const ACTIVE = {
  // On a busy machine a probe is late, and means nothing by it.
  timeout: 30,
  http_path: "/status",
  healthy: { interval: 1, successes: 1 },
  unhealthy: { interval: 1, http_failures: 1, tcp_failures: 1 },
};

/** States by port, as the Control API tells them; waits until they are as expected. */
async function statesBecome(node: RealNode, expected: Record<number, string>): Promise<void> {
  for (;;) {
    const { nodes } = await node.control("/v1/healthcheck/upstreams/1");
    const states = (nodes as { port: number; status: string }[]).map(({ port, status }) => [port, status]);
    if (states.every(([port, status]) => expected[Number(port)] === status)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const workers of [1, 8]) {
  test(`probes come from one checker, at nodes divided by interval, with ${workers} worker(s)`, async (t) => {
    const origins = [await startOrigin(t), await startOrigin(t), await startOrigin(t)];
    const node = await RealNode.start(t, {
      change: (config) => {
        config.workers = workers;
        config.groups = [{ name: "default", workers }];
      },
    });
    await node.put("/upstreams/1", { nodes: origins.map((o) => o.node), checks: { active: ACTIVE } });
    await node.put("/routes/1", { uri: "/*", upstream_id: "1" });
    for (let i = 0; i < 20; i++) assert.equal((await node.get("/")).status, 200);
    // From a probe of the first node, when all have begun, to its third after that: three intervals.
    const first = origins[0];
    const reach = async (probes: number): Promise<void> => {
      while (first.probes < probes) await once(first.server, "request");
    };
    await reach(first.probes + 4);
    const before = origins.map(({ probes }) => probes);
    await reach(before[0] + 3);
    for (const [i, { probes }] of origins.entries()) {
      assert.ok(
        probes - before[i] >= 2 && probes - before[i] <= 4,
        `${probes - before[i]} probes in 3 intervals`,
      );
    }
  });
}

test("a node that fails its probes gets no request, whichever worker asks, and comes back", async (t) => {
  const [good, bad] = [await startOrigin(t), await startOrigin(t)];
  const node = await RealNode.start(t);
  bad.isBad = true;
  await node.put("/upstreams/1", { nodes: [good.node, bad.node], checks: { active: ACTIVE } });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });
  await statesBecome(node, { [good.port]: "healthy", [bad.port]: "unhealthy" });
  const before = bad.requests;
  // Each on a connection of its own: the kernel spreads them over the workers.
  for (let i = 0; i < 30; i++) assert.equal((await node.get("/", { connection: "close" })).status, 200);
  assert.equal(bad.requests, before);
  const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
  assert.match(
    page,
    new RegExp(`apisix_upstream_status\\{name="/apisix/upstreams/1",ip="127.0.0.1",port="${bad.port}"\\} 0`),
  );
  assert.match(
    page,
    new RegExp(`apisix_upstream_status\\{name="/apisix/upstreams/1",ip="127.0.0.1",port="${good.port}"\\} 1`),
  );
  bad.isBad = false;
  await statesBecome(node, { [good.port]: "healthy", [bad.port]: "healthy" });
  while (bad.requests === before) await node.get("/");
});

test("what one worker learns from its requests, all of them know at once", async (t) => {
  const [good, bad] = [await startOrigin(t), await startOrigin(t)];
  const node = await RealNode.start(t);
  const checks = {
    // Probes whose results say nothing.
    active: {
      http_path: "/status",
      timeout: 30,
      healthy: { http_statuses: [299] },
      unhealthy: { http_statuses: [599] },
    },
    passive: { unhealthy: { http_statuses: [500], http_failures: 3 } },
  };
  await node.put("/upstreams/1", { nodes: [good.node, bad.node], checks });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });
  bad.isBad = true;
  let failed = 0;
  for (let i = 0; i < 60; i++) if ((await node.get("/", { connection: "close" })).status === 500) failed++;
  assert.equal(failed, 3);
  assert.equal(bad.requests, 3);
});

test("the states outlive a restart of the node, and what is killed fails nobody for long", async (t) => {
  const [stays, dies] = [await startOrigin(t), await startOrigin(t)];
  const node = await RealNode.start(t);
  await node.put("/upstreams/1", { nodes: [stays.node, dies.node], checks: { active: ACTIVE } });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });
  dies.server.close();
  dies.server.closeAllConnections();
  await statesBecome(node, { [stays.port]: "healthy", [dies.port]: "unhealthy" });
  await node.stop();
  const next = await RealNode.start(t, { folder: node.folder });
  const { nodes } = await next.control("/v1/healthcheck/upstreams/1");
  const states = (nodes as { port: number; status: string }[]).map(({ port, status }) => [port, status]);
  assert.deepEqual(new Map(states as [number, string][]).get(dies.port), "unhealthy");
  assert.equal((await next.get("/")).status, 200);
});

test("an upstream inside a plugin is checked as any other", async (t) => {
  const [good, bad] = [await startOrigin(t), await startOrigin(t)];
  const node = await RealNode.start(t);
  bad.isBad = true;
  const upstream = { nodes: [good.node, bad.node], checks: { active: ACTIVE } };
  await node.put("/routes/1", {
    uri: "/*",
    plugins: { "traffic-split": { rules: [{ weighted_upstreams: [{ upstream, weight: 1 }] }] } },
    upstream: { nodes: [{ host: "127.0.0.1", port: 1, weight: 1 }] },
  });
  const isDown = new RegExp(
    `apisix_upstream_status\\{name="/apisix/held/[^"]+",ip="127.0.0.1",port="${bad.port}"\\} 0`,
  );
  const page = (): Promise<string> =>
    fetch(`${node.url("metrics")}/apisix/prometheus/metrics`).then((response) => response.text());
  while (!isDown.test(await page())) await new Promise((resolve) => setTimeout(resolve, 20));
  const before = bad.requests;
  for (let i = 0; i < 20; i++) assert.equal((await node.get("/", { connection: "close" })).status, 200);
  assert.equal(bad.requests, before);
});

test("the death of control leaves states and drains as they are, and its successor goes on with them", async (t) => {
  const [good, bad, drained] = [await startOrigin(t), await startOrigin(t), await startOrigin(t)];
  const node = await RealNode.start(t, {
    control: "../admin/mortal-control.ts",
    change: (config) => {
      config.supervision.staleAfterMs = 4000;
    },
  });
  bad.isBad = true;
  const nodes = [good.node, bad.node, drained.node];
  await node.put("/upstreams/1", { nodes, checks: { active: ACTIVE } });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });
  const place = `${node.url("control")}/v1/upstreams/1/nodes/127.0.0.1:${drained.port}/drain`;
  assert.equal((await fetch(place, { method: "POST" })).status, 200);
  await statesBecome(node, {
    [good.port]: "healthy",
    [bad.port]: "unhealthy",
    [drained.port]: "healthy",
  });
  const before = [bad.requests, drained.requests];
  let isBack = false;
  const loads = node.lines.filter(({ message }) => message === "configuration loaded").length;
  const back = node.logged("configuration loaded", loads + 1).then(() => {
    isBack = true;
  });
  writeFileSync(join(node.folder, "die"), "");
  while (!isBack) assert.equal((await node.get("/")).status, 200);
  await back;
  for (let i = 0; i < 20; i++) assert.equal((await node.get("/", { connection: "close" })).status, 200);
  assert.deepEqual([bad.requests, drained.requests], before);
  const { nodes: known } = await node.control("/v1/healthcheck/upstreams/1");
  const found = (known as { port: number; status: string }[]).find(({ port }) => port === bad.port);
  assert.equal(found!.status, "unhealthy");
  assert.equal((await node.control("/v1/drains")).total, 1);
  bad.isBad = false;
  await statesBecome(node, { [good.port]: "healthy", [bad.port]: "healthy", [drained.port]: "healthy" });
});
