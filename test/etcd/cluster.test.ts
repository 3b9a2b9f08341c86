/** Whole gateways on an etcd of several members, while these are killed, stopped, wiped and restored under load. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import type { RealNode } from "../promises/real-node.ts";
import { SteadyLoad } from "../promises/steady-load.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { connectionsTo, startNode, startOrigin, until } from "./nodes.ts";
import { freePort } from "../ports/free-port.ts";

/** Reads of the published revision, which must never go back. */
class RevisionGuard {
  readonly #node: RealNode;
  #last = 0;
  #isOver = false;
  readonly #reading: Promise<void>;
  reads = 0;

  constructor(t: TestContext, node: RealNode) {
    this.#node = node;
    this.#reading = this.#read();
    t.after(() => this.stop());
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#reading;
  }

  async #read(): Promise<void> {
    while (!this.#isOver) {
      const { published_revision: revision } = await this.#node.control("/v1/workers");
      assert.ok(revision >= this.#last, `${revision} after ${this.#last}`);
      this.#last = revision;
      this.reads++;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

describe("nodes on an etcd", { skip: WITHOUT_ETCD }, () => {
  test("lose no request and come together while members die, stop and are restored", async (t) => {
    const port = await startOrigin(t);
    const cluster = await EtcdCluster.start(t, { members: 3 });
    const nodes = [await startNode(t, cluster.endpoints), await startNode(t, cluster.endpoints)];
    const upstream = { type: "roundrobin", nodes: { [`127.0.0.1:${port}`]: 1 } };
    await nodes[0].put("/routes/steady", { uri: "/steady", upstream });
    const present = (node: RealNode, id: string | number) => async () =>
      (await node.admin("GET", `/routes/${id}`)).status === 200;
    await until(present(nodes[1], "steady"));
    await until(async () => (await nodes[1].get("/steady")).status === 200);
    const loads = nodes.map(
      (node) =>
        new SteadyLoad(t, node.port(), {
          paths: ["/steady"],
          expects: (_, status, body) => status === 200 && body === "origin /steady",
          keptAlive: 4,
          fresh: 2,
        }),
    );
    const guards = nodes.map((node) => new RevisionGuard(t, node));
    let written = 0;
    /** Through either node in turn; both have it, and serve it, in the end. */
    const writeAndSee = async () => {
      const id = ++written;
      const reply = await nodes[id % 2].admin("PUT", `/routes/${id}`, { uri: `/r${id}`, upstream });
      assert.equal(reply.status, 201, reply.text);
      for (const node of nodes) await until(async () => (await node.get(`/r${id}`)).status === 200);
    };
    await writeAndSee();
    for (const member of [cluster.members[0], await cluster.leader()]) {
      await member.kill();
      await writeAndSee();
      await writeAndSee();
      await member.start();
    }
    for (const member of [await cluster.leader(), cluster.members[0]]) {
      member.pause();
      await writeAndSee();
      member.resume();
    }
    await writeAndSee();

    const snapshot = join(cluster.folder, "backup");
    await cluster.backup(snapshot);
    const kept = written;
    await writeAndSee();
    await cluster.ctl("compact", JSON.parse(await cluster.ctl("get", "x", "-w", "json")).header.revision);
    await writeAndSee();
    await cluster.restore(snapshot);
    for (const node of nodes) await until(async () => !(await present(node, kept + 1)()));
    written += 100;
    await writeAndSee();
    for (const node of nodes) {
      const { total } = (await node.admin("GET", "/routes")).body;
      assert.equal(total, kept + 2);
    }
    for (const load of loads) await load.reaches(500);
    await until(() => guards.every(({ reads }) => reads > 20));
    for (const each of [...loads, ...guards]) await each.stop();
    assert.deepEqual(
      loads.flatMap(({ problems }) => problems),
      [],
    );
  });

  test("have one connection to it whatever the number of workers", async (t) => {
    const { endpoints, members } = await EtcdCluster.start(t);
    for (const workers of [1, 8]) {
      const node = await startNode(t, endpoints, (config) => {
        config.workers = workers;
        config.groups = [{ name: "default", workers }];
      });
      await node.put("/routes/1", {
        uri: "/a",
        upstream: { type: "roundrobin", nodes: { "127.0.0.1:1": 1 } },
      });
      assert.equal(
        connectionsTo(node.pid, Number(new URL(members[0].clientUrl).port)),
        1,
        `${workers} workers`,
      );
      await node.stop();
    }
  });

  test("share the watch of a grpc-proxy", async (t) => {
    const origin = await startOrigin(t);
    const cluster = await EtcdCluster.start(t);
    const port = await freePort();
    const proxy = spawn(
      "etcd",
      ["grpc-proxy", "start", "--endpoints", cluster.endpoints[0], "--listen-addr", `127.0.0.1:${port}`],
      { stdio: "ignore", cwd: cluster.folder },
    );
    t.after(async () => {
      const ended = once(proxy, "exit");
      proxy.kill("SIGKILL");
      await ended;
    });
    const nodes: RealNode[] = [];
    for (let i = 0; i < 2; i++) nodes.push(await startNode(t, [`http://127.0.0.1:${port}`]));
    const upstream = { type: "roundrobin", nodes: { [`127.0.0.1:${origin}`]: 1 } };
    for (let i = 0; i < 6; i++) {
      await nodes[i % 2].put(`/routes/${i}`, { uri: `/r${i}`, upstream });
      for (const node of nodes) await until(async () => (await node.get(`/r${i}`)).text === `origin /r${i}`);
    }
    await cluster.killAll();
    assert.equal((await nodes[0].get("/r0")).status, 200);
    await cluster.startAll();
    await cluster.put("/apisix/routes/7", JSON.stringify({ uri: "/r7", upstream }));
    for (const node of nodes) await until(async () => (await node.get("/r7")).status === 200);
    await nodes[0].put("/routes/8", { uri: "/r8", upstream });
    for (const node of nodes) await until(async () => (await node.get("/r8")).status === 200);
  });
});
