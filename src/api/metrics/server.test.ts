import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { createSharedMemory, openSharedMemory } from "../../shared/shared-memory.ts";
import { metricsText } from "./exposition.ts";
import { MetricsPage } from "./page.ts";
import { HostCheck } from "../host-check.ts";
import { createMetricsServer } from "./server.ts";

const SERIES = 20_000;
const READERS = 20;
const FACTS = { prefix: "apisix_", hostname: "h", version: "1" };

/** A node with a page of some 30 MB. */
function crowded() {
  const config = { limitCounters: 100, dictionaryBytes: 65_536, metricBytesPerWorker: 16_777_216 };
  const buffers = createSharedMemory(config, 1, 2 * SERIES);
  const { metrics } = openSharedMemory(buffers, 0, 1);
  const family = metrics.histogram("http_latency", ["route"], [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  for (let i = 0; i < SERIES; i++) family.observe(family.series([`route-${"x".repeat(60)}-${i}`]), i / 10);
  return openSharedMemory(buffers, -1, 1);
}

/** `closed(n)` ends when n connections have been closed by the server. */
async function served(t: TestContext, page: MetricsPage, stallMs?: number) {
  const server = createMetricsServer(page, "/metrics", new HostCheck([]), stallMs).listen(0, "127.0.0.1");
  let count = 0;
  const counted = new EventEmitter();
  server.on("connection", (socket) => {
    socket.once("close", () => {
      count++;
      counted.emit("close");
    });
  });
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const closed = async (wanted: number): Promise<void> => {
    while (count < wanted) await once(counted, "close");
  };
  return { port: (server.address() as AddressInfo).port, closed };
}

async function asked(port: number): Promise<IncomingMessage> {
  const request = get({ host: "127.0.0.1", port, path: "/metrics", agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return response;
}

test("readers at the same time each get the page as it is, streamed", async (t) => {
  const shared = crowded();
  const expected = await metricsText(shared, FACTS);
  assert.ok(expected.length > 20_000_000);
  const { port } = await served(t, new MetricsPage(shared, () => FACTS));
  const pages = await Promise.all(
    [1, 2, 3].map(async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()),
  );
  for (const page of pages) assert.ok(page === expected);
});

test("another path is answered with that of the page", async (t) => {
  const port = (await served(t, new MetricsPage(crowded(), () => FACTS))).port;
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(answer.status, 404);
  assert.equal(await answer.text(), "the metrics are at /metrics\n");
});

test("a reader that takes nothing loses its connection, and its place among the askers", async (t) => {
  const { port, closed } = await served(t, new MetricsPage(crowded(), () => FACTS), 50);
  for (let round = 1; round <= 2; round++) {
    const responses = await Promise.all(Array.from({ length: READERS }, () => asked(port)));
    const stalling = responses.filter(({ statusCode }) => statusCode === 200);
    const refused = responses.filter(({ statusCode }) => statusCode === 503);
    assert.equal(stalling.length + refused.length, READERS);
    assert.ok(stalling.length >= 16, `${stalling.length} were served`);
    for (const response of refused) response.resume();
    // Nothing is read until the server has given them all up.
    await closed(round * READERS);
    for (const response of stalling) {
      response.on("error", () => {});
      response.resume();
      if (!response.closed) {
        await new Promise((resolve) => {
          response.once("close", resolve);
        });
      }
      assert.ok(!response.complete);
    }
  }
});

test("readers that leave give their place back", async (t) => {
  const { port } = await served(t, new MetricsPage(crowded(), () => FACTS));
  for (let i = 0; i < 40; i++) (await asked(port)).destroy();
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /http_latency_count/);
});

test("a page as a whole is refused beyond its limit", async () => {
  const page = new MetricsPage(crowded(), () => FACTS, 1_000_000);
  const { status, body } = await page.render(undefined);
  assert.equal(status, 503);
  assert.match(body.toString(), /larger than 1000000 bytes: read it from the metrics port/);
  const small = await new MetricsPage(crowded(), () => FACTS).render(undefined);
  assert.equal(small.status, 200);
});

test("what cannot be rendered is a 500", async (t) => {
  const page = new MetricsPage(crowded(), () => {
    throw new Error("no facts");
  });
  const { port } = await served(t, page);
  const response = await asked(port);
  response.resume();
  assert.equal(response.statusCode, 500);
});
