/** Rollouts of gateways that share an etcd: one share, one that drives, and any that may go back. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import type { RealNode } from "../promises/real-node.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { startNode, until } from "./nodes.ts";

async function origin(t: TestContext, body: string, statusOf: (path: string) => number): Promise<string> {
  const server = createServer((request, response) => {
    response.writeHead(statusOf(request.url!)).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// oxlint-disable-next-line typescript/no-explicit-any -- what the Control API shows
async function shown(node: RealNode): Promise<any> {
  return await node.control("/v1/rollouts/r");
}

/** What its control has decided by now is on its workers. */
async function settle(node: RealNode): Promise<void> {
  await node.put("/upstreams/settled", { nodes: { "127.0.0.1:1": 1 } });
}

describe("a rollout of two gateways", { skip: WITHOUT_ETCD }, () => {
  test("has one share on both and one driver, and goes back on both when one sees errors", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const old = await origin(t, "old", () => 200);
    const fresh = await origin(t, "new", (path) => (path === "/fail" ? 500 : 200));
    const gateways = await Promise.all([startNode(t, cluster.endpoints), startNode(t, cluster.endpoints)]);
    const [asked] = gateways;
    await asked.put("/upstreams/old", { nodes: { [old]: 1 } });
    await asked.put("/upstreams/new", { nodes: { [fresh]: 1 } });
    await asked.put("/routes/1", { uri: "/*", upstream_id: "old" });
    await asked.put("/rollouts/r", {
      route_id: "1",
      canary: { upstream_id: "new" },
      steps: [{ weight: 50, duration: 3600 }],
      rollback: { error_percent: 10, min_requests: 10 },
    });
    for (const gateway of gateways) {
      await until(async () => (await shown(gateway)).weight === 50);
      await settle(gateway);
      const texts = new Set([(await gateway.get("/")).text, (await gateway.get("/")).text]);
      assert.deepEqual([...texts].sort(), ["new", "old"]);
    }
    const states = await Promise.all(gateways.map(shown));
    assert.equal(states.filter(({ drives }) => drives === true).length, 1);
    const other = gateways[states.findIndex(({ drives }) => drives !== true)];
    await until(async () => {
      for (let i = 0; i < 10; i++) await other.get("/fail");
      return (await shown(other)).weight === 0;
    });
    for (const gateway of gateways) {
      await until(async () => (await shown(gateway)).state === "rolled_back");
      await settle(gateway);
      assert.match((await shown(gateway)).reason, /requests failed, more than 10$/);
      for (let i = 0; i < 4; i++) assert.equal((await gateway.get("/fail")).text, "old");
    }
  });
});
