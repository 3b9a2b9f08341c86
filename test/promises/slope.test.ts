/**
 * P14: churn leaves memory, descriptors and threads flat. For `CARDEA_SLOPE_SECONDS` (60) configuration changes,
 * connections come and go, clients and upstreams break off, and limit keys and metric series are new all the time.
 * The first third warms up. Then, and behind each of the others, the load pauses, every thread collects its garbage,
 * and what is left is measured.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { collect } from "./collection.ts";
import { httpOrigin, namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { SteadyLoad } from "./steady-load.ts";

const SECONDS = Number(process.env["CARDEA_SLOPE_SECONDS"] ?? 60);
const THIRDS = 3;
const ROUTES = 50;
const SLOTS = [-1, 0, 1];

/** V8 grows and shrinks young generations by 100 MB as it sees fit, and malloc has an arena for each thread. */
const FLAGS = "--max-semi-space-size=2";
const ENVIRONMENT = { MALLOC_ARENA_MAX: "2" };

/** Growth over the last third. Caches and tables that have a bound may still fill up. */
const HEAP_GROWTH_BYTES = 2 * 1024 ** 2;
const RESIDENT_GROWTH_BYTES = 12 * 1024 ** 2;
const DESCRIPTOR_GROWTH = 10;

interface Sample {
  residentBytes: number;
  descriptors: number;
  threads: number;
  /** What lives in control and in the workers together. */
  heapBytes: number;
}

/** After a collection in every thread that the node restarts. */
async function sample(node: RealNode): Promise<Sample> {
  let heapBytes = 0;
  for (const slot of SLOTS) {
    const collected = await collect(node, slot);
    heapBytes += collected.heapBytes + collected.externalBytes;
  }
  const status = readFileSync(`/proc/${node.pid}/status`, "utf8");
  return {
    residentBytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024,
    descriptors: readdirSync(`/proc/${node.pid}/fd`).length,
    threads: Number(/^Threads:\s+(\d+)/m.exec(status)![1]),
    heapBytes,
  };
}

test(
  `P14: ${SECONDS} s of churn leave memory, descriptors and threads flat`,
  { timeout: (SECONDS + 240) * 1000 },
  async (t) => {
    const node = await RealNode.start(t, {
      flags: FLAGS,
      env: ENVIRONMENT,
      worker: "./collecting-worker.ts",
      control: "./collecting-control.ts",
      change: ({ memory, supervision, store }) => {
        memory.limitCounters = 4096;
        supervision.workerHeapMb = 96;
        if (store.type === "embedded") store.historyRevisions = 500;
      },
    });
    const origin = await namedOrigin(t, "origin");
    let answers = 0;
    const flaky = await httpOrigin(t, (request, response) => {
      // Every third breaks off before, every other third within its answer.
      answers++;
      if (answers % 3 === 0) request.socket.destroy();
      else if (answers % 3 === 1) response.end("flaky");
      else response.write("half", () => request.socket.destroy());
    });
    const plugins = {
      prometheus: {},
      "limit-count": { count: 5, time_window: 1, rejected_code: 429, key: "arg_who" },
    };
    await node.put("/routes/steady", { uri: "/steady", plugins, upstream: upstreamOf(origin) });
    await node.put("/routes/flaky", { uri: "/flaky", plugins, upstream: upstreamOf(flaky) });

    let rounds = 0;
    /** Until `end`. */
    const change = async (end: number): Promise<void> => {
      for (let i = rounds; performance.now() < end; i++) {
        const id = `churn-${i % ROUTES}`;
        const limit = { count: 100 + i, time_window: 60 };
        await node.admin("PUT", `/upstreams/${id}`, upstreamOf(origin));
        await node.admin("PUT", `/routes/${id}`, {
          uri: `/${id}/${i}`,
          plugins: { prometheus: {}, "limit-count": limit },
          upstream_id: id,
        });
        await node.admin("PUT", "/consumers", {
          username: `c${i % 20}`,
          plugins: { "key-auth": { key: `k${i}` } },
        });
        await node.get(`/${id}/${i}?who=${i}`);
        await node.get(`/steady?who=${i}`);
        await node.get(`/flaky?who=${i}`).catch(() => null);
        await leave(node.port(), `GET /steady?who=l${i} HTTP/1.1\r\nHost: a\r\n\r\n`);
        await leave(node.port(), "POST /steady HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
        if (i % 3 === 0) {
          await node.admin("DELETE", `/routes/${id}`);
          await node.admin("DELETE", `/upstreams/${id}`);
        }
        if (i % 10 === 0) await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
        rounds++;
      }
    };

    const samples: Sample[] = [];
    let answered = 0;
    for (let third = 0; third < THIRDS; third++) {
      const load = new SteadyLoad(t, node.port(), {
        paths: ["/steady"],
        expects: (_path, status) => status === 200 || status === 429 || status === 500,
        keptAlive: 4,
        fresh: 4,
      });
      await change(performance.now() + (SECONDS / THIRDS) * 1000);
      await load.stop();
      assert.deepEqual(load.problems, []);
      answered += load.answered;
      samples.push(await sample(node));
    }

    const kib = (bytes: number) => `${Math.round(bytes / 1024)} KiB`;
    const told = samples.map(
      ({ heapBytes, residentBytes, descriptors }) =>
        `heap ${kib(heapBytes)}, resident ${kib(residentBytes)}, ${descriptors} descriptors`,
    );
    t.diagnostic(`${rounds} rounds, ${answered} requests; ${told.join("; ")}`);
    const [earlier, later] = samples.slice(-2);
    const heap = later.heapBytes - earlier.heapBytes;
    const resident = later.residentBytes - earlier.residentBytes;
    const descriptors = later.descriptors - earlier.descriptors;
    const threads = later.threads - earlier.threads;
    assert.ok(rounds > SECONDS, `only ${rounds} rounds`);
    assert.ok(heap < HEAP_GROWTH_BYTES, `the heaps grew by ${kib(heap)}`);
    assert.ok(resident < RESIDENT_GROWTH_BYTES, `the process grew by ${kib(resident)}`);
    assert.ok(Math.abs(descriptors) < DESCRIPTOR_GROWTH, `${descriptors} more descriptors`);
    assert.equal(threads, 0);
    const { workers } = await node.control("/v1/workers");
    assert.deepEqual(
      (workers as { generation: number }[]).map(({ generation }) => generation),
      [1, 1],
    );
  },
);

/** Sends this and resets the connection at once. */
async function leave(port: number, text: string): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  await new Promise<void>((resolve) => {
    socket.write(text, () => resolve());
  });
  socket.resetAndDestroy();
}
