/** Many writes as one, through an etcd that several nodes share. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { startNode, startOrigin, until } from "./nodes.ts";

describe("a batch through an etcd", { skip: WITHOUT_ETCD }, () => {
  test("is on every node whole, and one of two that collide is decided anew", async (t) => {
    const port = await startOrigin(t);
    const cluster = await EtcdCluster.start(t);
    const nodes = [await startNode(t, cluster.endpoints), await startNode(t, cluster.endpoints)];
    const upstream = { id: "u", type: "roundrobin", nodes: { [`127.0.0.1:${port}`]: 1 } };
    const writes = (from: number, path: string) => [
      ...Array.from({ length: 300 }, (_, i) => ({
        key: `/routes/${from + i}`,
        value: { uri: `${path}${from + i}`, upstream_id: "u" },
      })),
      { key: "/upstreams/u", value: upstream },
    ];
    const total = async (at: number) => (await nodes[at].admin("GET", "/routes")).body.total as number;
    const first = await nodes[0].admin("POST", "/batch?wait=live", { writes: writes(0, "/a") });
    assert.equal(first.body.changes.length, 301);
    await until(async () => (await total(1)) > 0);
    assert.equal(await total(1), 300);
    await until(async () => (await nodes[1].get("/a299")).status === 200);

    const replies = await Promise.all([
      nodes[0].admin("POST", "/batch", { writes: writes(200, "/b") }),
      nodes[1].admin("POST", "/batch", { writes: writes(250, "/c") }),
    ]);
    assert.deepEqual(
      replies.map(({ status }) => status),
      [200, 200],
    );
    for (const at of [0, 1]) await until(async () => (await total(at)) === 550);
    const last = replies[0].body.revision > replies[1].body.revision ? "/b" : "/c";
    for (const node of nodes) {
      await until(async () => (await node.admin("GET", "/routes/300")).body.value.uri === `${last}300`);
      const { uri } = (await node.admin("GET", "/routes/499")).body.value;
      assert.equal(uri, `${last}499`);
    }
    const types = ["routes", "upstreams"];
    const pruned = await nodes[1].admin("POST", "/batch", { prune: { types } });
    assert.equal(pruned.body.changes.length, 551);
    await until(async () => (await total(0)) === 0);
  });
});
