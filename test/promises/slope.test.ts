/**
 * P14: churn leaves memory, descriptors and threads flat. For `CARDEA_SLOPE_SECONDS` (60) configuration changes,
 * connections come and go, clients and upstreams break off, and limit keys and metric series are new all the time.
 * The first third warms up; the last third is compared with the one before.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { test } from "node:test";
import { httpOrigin, namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { SteadyLoad } from "./steady-load.ts";

const SECONDS = Number(process.env["CARDEA_SLOPE_SECONDS"] ?? 60);
const SAMPLE_MS = 200;
const ROUTES = 50;

/** V8 grows and shrinks young generations by 100 MB as it sees fit: kept small, they hide no growth of the process. */
const FLAGS = "--max-semi-space-size=2";

/** Growth from the second third to the last. Noise of the garbage collector, not of what is kept. */
const HEAP_GROWTH_BYTES = 3 * 1024 ** 2;
/** Wider: within a minute, pages that V8 keeps make 6 to 25 MiB in runs whose heaps do not grow. */
const RESIDENT_GROWTH_BYTES = 40 * 1024 ** 2;
const DESCRIPTOR_GROWTH = 30;

interface Sample {
  residentBytes: number;
  descriptors: number;
  threads: number;
  /** Old generation of the workers together. */
  heapBytes: number;
}

async function sample(node: RealNode): Promise<Sample> {
  const status = readFileSync(`/proc/${node.pid}/status`, "utf8");
  const { workers } = await node.control("/v1/workers");
  return {
    residentBytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024,
    descriptors: readdirSync(`/proc/${node.pid}/fd`).length,
    threads: Number(/^Threads:\s+(\d+)/m.exec(status)![1]),
    heapBytes: (workers as { heap_used_bytes: number }[]).reduce(
      (sum, each) => sum + each.heap_used_bytes,
      0,
    ),
  };
}

function median(samples: Sample[], of: (sample: Sample) => number): number {
  const values = samples.map(of).sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)];
}

/** What lives: the least of a window is measured right behind a collection. */
function least(samples: Sample[], of: (sample: Sample) => number): number {
  return Math.min(...samples.map(of));
}

test(
  `P14: ${SECONDS} s of churn leave memory, descriptors and threads flat`,
  { timeout: (SECONDS + 60) * 1000 },
  async (t) => {
    const node = await RealNode.start(t, {
      flags: FLAGS,
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

    let isOver = false;
    let rounds = 0;
    const load = new SteadyLoad(t, node.port(), {
      paths: ["/steady"],
      expects: (_path, status) => status === 200 || status === 429 || status === 500,
      keptAlive: 4,
      fresh: 4,
    });
    const changing = (async () => {
      for (let i = 0; !isOver; i++) {
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
    })();

    const samples: Sample[] = [];
    const end = performance.now() + SECONDS * 1000;
    while (performance.now() < end) {
      samples.push(await sample(node));
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
    isOver = true;
    await changing;
    await load.stop();
    assert.deepEqual(load.problems, []);

    const third = Math.floor(samples.length / 3);
    const [earlier, later] = [samples.slice(third, 2 * third), samples.slice(2 * third)];
    const heap = least(later, (each) => each.heapBytes) - least(earlier, (each) => each.heapBytes);
    const resident =
      median(later, (each) => each.residentBytes) - median(earlier, (each) => each.residentBytes);
    const descriptors =
      median(later, (each) => each.descriptors) - median(earlier, (each) => each.descriptors);
    const threads = median(later, (each) => each.threads) - median(earlier, (each) => each.threads);
    const kib = (bytes: number) => `${Math.round(bytes / 1024)} KiB`;
    t.diagnostic(
      `${rounds} rounds, ${load.answered} requests; heap ${kib(heap)} of ${kib(least(earlier, (each) => each.heapBytes))}, ` +
        `resident ${kib(resident)} of ${kib(median(earlier, (each) => each.residentBytes))}, ` +
        `${descriptors} descriptors of ${median(earlier, (each) => each.descriptors)}, ${threads} threads`,
    );
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
