/** Nodes taken out on every gateway of one etcd by one request: the answer is true of all of them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import type { RealNode } from "../promises/real-node.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { startNode, until } from "./nodes.ts";

interface Origin {
  server: Server;
  place: string;
  node: { host: string; port: number; weight: number };
  /** Answers that are held back: those to paths that begin with /held. */
  held: ServerResponse[];
  requests: number;
}

async function startOrigin(t: TestContext): Promise<Origin> {
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    origin.requests++;
    if (request.url!.startsWith("/held")) held.push(response);
    else response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const node = { host: "127.0.0.1", port, weight: 1 };
  const origin: Origin = { server, place: `127.0.0.1:${port}`, node, held, requests: 0 };
  return origin;
}

async function start(
  t: TestContext,
  count = 2,
): Promise<{ cluster: EtcdCluster; gateways: RealNode[]; stays: Origin; goes: Origin }> {
  const cluster = await EtcdCluster.start(t);
  const [stays, goes] = [await startOrigin(t), await startOrigin(t)];
  const gateways = await Promise.all(Array.from({ length: count }, () => startNode(t, cluster.endpoints)));
  await gateways[0].put("/upstreams/1", { nodes: [stays.node, goes.node] });
  await gateways[0].put("/routes/1", { uri: "/*", upstream_id: "1" });
  for (const gateway of gateways) await until(async () => (await gateway.get("/")).status === 200);
  await until(async () => (await reporting(cluster)) === count);
  return { cluster, gateways, stays, goes };
}

async function reporting(cluster: EtcdCluster): Promise<number> {
  const keys = await cluster.ctl("get", "--prefix", "/cardea/gateways/apisix/", "--keys-only");
  return keys.split("\n").filter((line) => line !== "").length;
}

function drainOf({ place }: Origin, query = ""): string {
  return `/upstreams/1/nodes/${place}/drain${query}`;
}

describe("a node taken out through the Admin API", { skip: WITHOUT_ETCD }, () => {
  test("is left by every gateway before it is answered, and taken up by all", async (t) => {
    const { gateways, stays, goes } = await start(t);
    const [asked, other] = gateways;
    const requests: Promise<{ status: number }>[] = [];
    while (goes.held.length === 0) {
      const before = stays.requests + goes.requests;
      requests.push(other.get("/held"));
      await until(() => stays.requests + goes.requests > before);
    }
    const late = await asked.admin("POST", drainOf(goes, "?wait=drained&timeout=3"));
    assert.equal(late.status, 504, late.text);
    const { drained, in_flight: inFlight, gateways: states } = late.body;
    assert.deepEqual([drained, inFlight, states.length], [false, 1, 2]);
    const busy = states.filter((each: { drained: boolean }) => !each.drained);
    assert.deepEqual(
      busy.map((each: { in_flight: number; workers: unknown }) => [each.in_flight, each.workers]),
      [[1, [{ worker: 0, in_flight: 1 }]]],
    );

    const before = goes.requests;
    for (const gateway of gateways) {
      for (let i = 0; i < 20; i++) assert.equal((await gateway.get("/")).status, 200);
    }
    assert.equal(goes.requests, before);
    let isAnswered = false;
    const waiting = asked.admin("POST", drainOf(goes, "?wait=drained&timeout=60")).then((reply) => {
      isAnswered = true;
      return reply;
    });
    // Through the other gateway: it tells the same.
    assert.equal((await other.admin("GET", drainOf(goes))).body.drained, false);
    assert.equal(isAnswered, false);
    for (const response of [...goes.held, ...stays.held]) response.end();
    const done = await waiting;
    assert.deepEqual([done.status, done.body.drained, done.body.in_flight], [200, true, 0], done.text);
    for (const request of requests) assert.equal((await request).status, 200);

    const control = `${asked.url("control")}/v1/upstreams/1/nodes/${goes.place}/drain`;
    assert.equal((await fetch(control, { method: "DELETE" })).status, 409);
    assert.equal((await asked.admin("GET", "/drains")).body.total, 1);
    assert.equal((await other.admin("DELETE", drainOf(goes))).status, 200);
    for (const gateway of gateways) {
      const count = goes.requests;
      await until(async () => (await gateway.get("/")).status === 200 && goes.requests > count);
    }
    assert.equal((await asked.admin("GET", drainOf(goes))).status, 404);
  });

  test("counts a gateway that fell silent as one that may use it, until that is back", async (t) => {
    const { cluster, gateways, goes } = await start(t);
    const [asked, other] = gateways;
    const { folder } = other;
    await other.kill();
    const missed = await asked.admin("POST", drainOf(goes, "?wait=drained&timeout=3"));
    assert.equal(missed.status, 504, missed.text);
    assert.deepEqual([missed.body.gateways.length, missed.body.gateways[1].in_flight], [2, null]);
    // One that starts knows the drain before it serves, and takes the place of its former self.
    const again = await startNode(t, cluster.endpoints, () => {}, { folder });
    const before = goes.requests;
    for (let i = 0; i < 20; i++) assert.equal((await again.get("/")).status, 200);
    assert.equal(goes.requests, before);
    const done = await asked.admin("POST", drainOf(goes, "?wait=drained&timeout=60"));
    assert.equal(done.status, 200, done.text);
    await until(async () => (await reporting(cluster)) === 2);
    // One that is stopped says so.
    await again.stop();
    const alone = await asked.admin("GET", drainOf(goes));
    assert.deepEqual([alone.body.drained, alone.body.gateways.length], [true, 1]);
    const expected = await asked.admin("GET", drainOf(goes, "?gateways=2"));
    assert.deepEqual([expected.body.drained, expected.body.missing_gateways], [false, 1]);
  });

  test("is refused with what was expected", async (t) => {
    const { gateways, stays, goes } = await start(t, 1);
    const [asked] = gateways;
    const cases: readonly (readonly [string, string, number])[] = [
      ["POST", "/upstreams/1/nodes/nonsense/drain", 400],
      ["POST", "/upstreams/1/nodes/127.0.0.1:1/drain", 404],
      ["POST", "/upstreams/none/nodes/127.0.0.1:1/drain", 404],
      ["POST", drainOf(goes, "?wait=live"), 400],
      ["POST", drainOf(goes, "?wait=drained&timeout=0"), 400],
      ["POST", drainOf(goes, "?gateways=none"), 400],
      ["GET", drainOf(goes), 404],
      ["DELETE", drainOf(goes), 404],
      ["PUT", drainOf(goes), 405],
      ["POST", drainOf(goes, "?wait=drained"), 200],
      ["POST", drainOf(stays), 409],
    ];
    for (const [method, path, expected] of cases) {
      const reply = await asked.admin(method, path);
      assert.equal(reply.status, expected, `${method} ${path}: ${reply.text}`);
    }
  });
});
