/**
 * P6: slow clients do not hurt fast ones, and are cut off. Hundreds at a time send their headers or bodies byte by
 * byte, or do not read what they asked for, while others are served without a failure.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { largeOrigin, namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";
import { SteadyLoad } from "./steady-load.ts";

const TIMEOUT_MS = 1000;
const DRIP_MS = 100;
const LEAST_ANSWERS = 100;

async function nodeWithSmallTimeouts(t: TestContext): Promise<RealNode> {
  const node = await RealNode.start(t, {
    change: ({ http }) => {
      http.headerTimeoutMs = TIMEOUT_MS;
      http.bodyTimeoutMs = TIMEOUT_MS;
      http.sendTimeoutMs = TIMEOUT_MS;
      http.minBodyBytesPerSecond = 500;
    },
  });
  await node.put("/routes/fast", { uri: "/fast", upstream: upstreamOf(await namedOrigin(t, "origin")) });
  await node.put("/routes/slow", { uri: "/slow", upstream: upstreamOf(await namedOrigin(t, "origin")) });
  await node.put("/routes/large", { uri: "/large", upstream: upstreamOf(await largeOrigin(t)) });
  return node;
}

async function openAll(t: TestContext, port: number, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => {});
    t.after(() => socket.destroy());
    return socket;
  });
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  return sockets;
}

/** Sends the text byte by byte and without end; resolves when the gateway has closed the connection. */
function drip(socket: Socket, begin: string, byte: string): Promise<string> {
  let received = "";
  socket.setEncoding("latin1").on("data", (text: string) => (received += text));
  socket.write(begin);
  const timer = setInterval(() => socket.write(byte), DRIP_MS);
  return new Promise((resolve) => {
    socket.once("close", () => {
      clearInterval(timer);
      resolve(received);
    });
  });
}

/** Workers report theirs every 100 ms. */
async function whenConnections(node: RealNode, holds: (open: number) => boolean): Promise<void> {
  for (;;) {
    const { workers } = await node.control("/v1/workers");
    if (holds((workers as { connections: number }[]).reduce((sum, { connections }) => sum + connections, 0)))
      return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function whileFastOnesAreServed(
  t: TestContext,
  node: RealNode,
  slow: () => Promise<void>,
): Promise<void> {
  const load = new SteadyLoad(t, node.port(), {
    paths: ["/fast"],
    expects: (_path, status, body) => status === 200 && body === "origin /fast",
    keptAlive: 6,
    fresh: 4,
  });
  await slow();
  // On a busy machine they may have been few until now.
  await load.reaches(LEAST_ANSWERS);
  await load.stop();
  assert.deepEqual(load.problems, []);
}

test("P6: 500 slow headers are cut off with 408 while others are served", async (t) => {
  const node = await nodeWithSmallTimeouts(t);
  await whileFastOnesAreServed(t, node, async () => {
    const sockets = await openAll(t, node.port(), 500);
    const ends = await Promise.all(
      sockets.map((socket) => drip(socket, "GET /slow HTTP/1.1\r\nHost: a\r\nX-Slow: ", "x")),
    );
    for (const received of ends) assert.match(received, /^HTTP\/1\.1 408 /);
  });
});

test("P6: 300 slow bodies are cut off while others are served", async (t) => {
  const node = await nodeWithSmallTimeouts(t);
  await whileFastOnesAreServed(t, node, async () => {
    const sockets = await openAll(t, node.port(), 300);
    const begin = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    const ends = await Promise.all(sockets.map((socket) => drip(socket, begin, "x")));
    for (const received of ends) assert.match(received, /^(HTTP\/1\.1 408 |$)/);
  });
});

test("P6: 100 clients that do not read are cut off while others are served", async (t) => {
  const node = await nodeWithSmallTimeouts(t);
  await whileFastOnesAreServed(t, node, async () => {
    const sockets = await openAll(t, node.port(), 100);
    await whenConnections(node, (open) => open >= 100);
    for (const socket of sockets) {
      socket.pause();
      socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // A paused socket does not hear its end: the gateway's count does.
    await whenConnections(node, (open) => open < 50);
  });
});
