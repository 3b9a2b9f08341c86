/** A zone of three dies under load, and comes back: who notices, for how long, and who serves meanwhile. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { RealNode } from "../promises/real-node.ts";
import { freePort } from "../ports/free-port.ts";

const CLIENTS = 24;
const ACTIVE = {
  timeout: 30,
  http_path: "/status",
  healthy: { interval: 1, successes: 1 },
  unhealthy: { interval: 1, tcp_failures: 1 },
};

interface Zone {
  server: Server;
  port: number;
  requests: number;
}

async function startZone(t: TestContext): Promise<Zone> {
  const server = createServer((incoming, response) => {
    if (incoming.url !== "/status") zone.requests++;
    // Posts last a little, so that some are in flight when their zone dies.
    setTimeout(() => response.end(), 2);
  });
  server.listen(await freePort(), "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const zone: Zone = { server, port: (server.address() as AddressInfo).port, requests: 0 };
  return zone;
}

/** POST, which nobody may repeat once it is sent. */
function post(port: number, agent: Agent): Promise<number> {
  return new Promise((resolve) => {
    const outgoing = request({ host: "127.0.0.1", port, method: "POST", path: "/", agent }, (answer) => {
      answer.resume().on("end", () => resolve(answer.statusCode!));
    });
    outgoing.on("error", () => resolve(0));
    outgoing.end("x");
  });
}

test("when a zone is killed, at most the requests in flight there fail, and it gets its share again", async (t) => {
  const zones = [await startZone(t), await startZone(t), await startZone(t)];
  const node = await RealNode.start(t);
  await node.put("/upstreams/1", {
    nodes: zones.map(({ port }) => ({ host: "127.0.0.1", port, weight: 1 })),
    checks: { active: ACTIVE, passive: { unhealthy: { tcp_failures: 1 } } },
  });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });

  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  t.after(() => agent.destroy());
  const port = node.port();
  let isOver = false;
  const statuses = new Map<number, number>();
  let wake = (): void => {};
  const client = async (): Promise<void> => {
    while (!isOver) {
      const status = await post(port, agent);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      wake();
    }
  };
  const clients = Array.from({ length: CLIENTS }, client);
  const answered = async (more: number): Promise<void> => {
    const goal = (statuses.get(200) ?? 0) + more;
    while ((statuses.get(200) ?? 0) < goal) await new Promise<void>((resolve) => void (wake = resolve));
  };
  await answered(500);
  zones[0].server.close();
  zones[0].server.closeAllConnections();
  await answered(1000);
  const failed = [...statuses].reduce((sum, [status, count]) => sum + (status === 200 ? 0 : count), 0);
  assert.ok(failed <= CLIENTS, `${failed} requests failed`);
  // From here on nothing fails any more, and the zone that is back gets requests again.
  const before = zones[0].requests;
  await answered(500);
  zones[0].server.listen(zones[0].port, "127.0.0.1");
  await once(zones[0].server, "listening");
  while (zones[0].requests < before + 20) await answered(20);
  isOver = true;
  await Promise.all(clients);
  const later = [...statuses].reduce((sum, [status, count]) => sum + (status === 200 ? 0 : count), 0);
  assert.equal(later, failed);
});

test("the gateway's own zone is killed: the others serve, and it gets its requests back by steps", async (t) => {
  const zones = [await startZone(t), await startZone(t), await startZone(t)];
  const [own, ...others] = zones;
  const node = await RealNode.start(t, { change: (config) => void (config.zone = "zone-0") });
  await node.put("/upstreams/1", {
    nodes: zones.map(({ port }, i) => ({
      host: "127.0.0.1",
      port,
      weight: 1,
      metadata: { zone: `zone-${i}` },
    })),
    checks: { active: ACTIVE, passive: { unhealthy: { tcp_failures: 1 } } },
    zones: { order: ["local"], fail_back: 3 },
  });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });

  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  t.after(() => agent.destroy());
  const port = node.port();
  let isOver = false;
  let answered = 0;
  let failed = 0;
  let lastFailureAt = 0;
  let wake = (): void => {};
  const client = async (): Promise<void> => {
    while (!isOver) {
      if ((await post(port, agent)) === 200) answered++;
      else {
        failed++;
        lastFailureAt = performance.now();
      }
      wake();
    }
  };
  const clients = Array.from({ length: CLIENTS }, client);
  const more = async (count: number): Promise<void> => {
    const goal = answered + count;
    while (answered < goal) await new Promise<void>((resolve) => void (wake = resolve));
  };
  const elsewhere = () => others.reduce((sum, { requests }) => sum + requests, 0);
  await more(300);
  assert.equal(elsewhere(), 0, "nobody leaves the zone without need");
  const killedAt = performance.now();
  own.server.close();
  own.server.closeAllConnections();
  await more(500);
  assert.ok(failed <= CLIENTS, `${failed} requests failed`);
  if (failed > 0)
    t.diagnostic(`the last request failed ${Math.round(lastFailureAt - killedAt)} ms after the end`);
  for (const { requests } of others) assert.ok(requests > 50, `${requests} requests in another zone`);

  const before = own.requests;
  own.server.listen(own.port, "127.0.0.1");
  await once(own.server, "listening");
  while (own.requests === before) await more(1);
  // Both serve while it comes back, then it alone.
  const during = elsewhere();
  while (elsewhere() < during + 3) await more(1);
  for (let seen = -1; seen !== elsewhere();) {
    seen = elsewhere();
    await more(100);
  }
  isOver = true;
  await Promise.all(clients);
  assert.ok(failed <= CLIENTS, `${failed} requests failed`);
});
