/** P4: a crash is local. The worker is the real one, with a fault injected from outside the product. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { SteadyLoad } from "./steady-load.ts";
import { WireConnection } from "./wire-answers.ts";

const CONNECTIONS = 40;
const ASK = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";

interface WorkerReport {
  slot: number;
  generation: number;
  connections: number;
}

async function workersOf(node: RealNode): Promise<WorkerReport[]> {
  return (await node.control("/v1/workers")).workers as WorkerReport[];
}

/** Reports are written every 100 ms. */
async function whenConnections(node: RealNode, total: number): Promise<WorkerReport[]> {
  for (;;) {
    const workers = await workersOf(node);
    if (workers.reduce((sum, { connections }) => sum + connections, 0) === total) return workers;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const faults = [
  { fault: "throw", cause: /thrown on purpose/ },
  { fault: "heap", cause: /memory/ },
  { fault: "loop", cause: /no heartbeat/ },
];

for (const { fault, cause } of faults) {
  test(`P4: a worker that dies of ${fault} loses only its own connections and leaves no count behind`, async (t) => {
    const node = await RealNode.start(t, {
      worker: "faulty-worker.ts",
      change: (config) => {
        // A heap that fills up is looked through again and again first, which on a busy machine takes its time.
        config.supervision.staleAfterMs = fault === "loop" ? 3000 : 15_000;
        config.supervision.workerHeapMb = 64;
      },
    });
    await node.put("/routes/all", {
      uri: "/*",
      plugins: { "limit-count": { count: 1_000_000, time_window: 3600 } },
      upstream: upstreamOf(await namedOrigin(t, "origin")),
    });
    const connections = await Promise.all(
      Array.from({ length: CONNECTIONS }, () => WireConnection.open(node.port())),
    );
    t.after(() => {
      for (const connection of connections) connection.close();
    });
    let last = 0;
    for (const connection of connections) {
      connection.send(ASK);
      last = Number((await connection.answer())!.headers.get("x-ratelimit-remaining"));
    }
    const [victim, other] = await whenConnections(node, CONNECTIONS);
    assert.ok(victim.connections > 0 && other.connections > 0);

    writeFileSync(join(node.folder, "fault-0"), fault);
    const died = await node.logged("a thread died and is started again");
    assert.equal(died["slot"], 0);
    assert.match(String(died["cause"]), cause);
    // Fresh connections, of which some wait in the dead worker's socket for the next one.
    const load = new SteadyLoad(t, node.port(), {
      paths: ["/b"],
      expects: (_path, status) => status === 200,
      keptAlive: 0,
      fresh: 8,
    });
    // Two before all serve, then control and two workers.
    await node.logged("a thread serves", 4);
    await load.stop();
    assert.deepEqual(load.problems, []);

    let alive = 0;
    let remaining = 0;
    for (const connection of connections) {
      connection.send(ASK);
      const answer = await connection.answer();
      if (answer === null) continue;
      alive++;
      assert.equal(answer.status, 200);
      remaining = Number(answer.headers.get("x-ratelimit-remaining"));
    }
    assert.equal(alive, other.connections, "connections of the other worker");
    assert.equal(remaining, last - load.answered - alive, "the limit has counted on");
    const workers = await whenConnections(node, alive);
    assert.deepEqual(
      workers.map(({ generation }) => generation),
      [2, 1],
    );
  });
}
