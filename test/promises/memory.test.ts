/**
 * P5: memory is bounded, and overload sheds before the heap does. Idle connections cost a bounded amount each; what
 * slow readers do not take stays at the origin; a late event loop or a nearly full heap answers 503 with Retry-After.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { largeOrigin, namedOrigin, rawOrigin, upstreamOf } from "./origins.ts";
import { RealNode } from "./real-node.ts";

const IDLE_CONNECTIONS = 10_000;
const FEWER_CONNECTIONS = 4_000;
/** Descriptors of the test and of the node beside the connections. */
const OTHER_DESCRIPTORS = 500;
/** Generous: about 10 KiB were measured. */
const IDLE_CONNECTION_BYTES = 40 * 1024;
const SLOW_CLIENTS = 20;
const SLOW_GROWTH_BYTES = 100 * 1024 ** 2;
const SLOW_READ_BYTES = 4 * 1024 ** 2;
const QUICK_READ_BYTES = 256 * 1024 ** 2;
const STILL_MS = 500;

function residentBytes(node: RealNode): number {
  const status = readFileSync(`/proc/${node.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
}

function openFilesLimit(): number {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))!;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

async function open(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  t.after(() => socket.destroy());
  await once(socket, "connect");
  socket.on("error", () => {});
  return socket;
}

/** Reads at least that many bytes, and none after them. */
async function readSome(socket: Socket, bytes: number): Promise<void> {
  let left = bytes;
  await new Promise<void>((resolve) => {
    const take = (chunk: Buffer) => {
      left -= chunk.length;
      if (left > 0) return;
      socket.off("data", take).pause();
      resolve();
    };
    socket.on("data", take).resume();
  });
}

/** Until a number that grows has stood still for a while. */
async function settled(read: () => number): Promise<number> {
  for (let before = -1; ;) {
    const now = read();
    if (now === before) return now;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
  }
}

test("P5: 10,000 idle connections cost a bounded amount of memory each", async (t) => {
  const isEnough = openFilesLimit() >= IDLE_CONNECTIONS + OTHER_DESCRIPTORS;
  const count = isEnough ? IDLE_CONNECTIONS : FEWER_CONNECTIONS;
  if (!isEnough) t.diagnostic(`only ${count} connections: the limit of open files is ${openFilesLimit()}`);
  const node = await RealNode.start(t);
  await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(await namedOrigin(t, "origin")) });
  for (let i = 0; i < 200; i++) await node.get("/warm");
  const before = residentBytes(node);
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    sockets.push(...(await Promise.all(Array.from({ length: 250 }, () => open(t, node.port())))));
  }
  // Half of them have had a request.
  for (let at = 0; at < count / 2; at += 250) {
    const batch = sockets.slice(at, at + 250).map(async (socket) => {
      socket.write("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
      await once(socket, "data");
    });
    await Promise.all(batch);
  }
  const each = (residentBytes(node) - before) / count;
  t.diagnostic(`${Math.round(each)} bytes for each of ${count} connections`);
  assert.ok(each < IDLE_CONNECTION_BYTES, `${each} bytes for each connection`);
  assert.equal((await node.get("/y")).text, "origin /y");
  const { workers } = await node.control("/v1/workers");
  const served = (workers as { connections: number }[]).reduce(
    (sum, { connections }) => sum + connections,
    0,
  );
  assert.ok(served >= count, `${served} connections are open`);
});

test("P5: clients that hardly read a body of 1 GiB do not fill the gateway's memory", async (t) => {
  const node = await RealNode.start(t);
  const origin = await largeOrigin(t);
  await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(origin) });
  // A quick reader first: what any such traffic costs once (compiled code, the young generation) is no growth.
  const quick = await open(t, node.port());
  quick.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  await readSome(quick, QUICK_READ_BYTES);
  quick.destroy();
  const before = residentBytes(node);
  const sockets = await Promise.all(Array.from({ length: SLOW_CLIENTS }, () => open(t, node.port())));
  const sentToQuick = await settled(() => origin.sentBytes());
  for (const socket of sockets) {
    socket.pause();
    socket.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  const sentBefore = await settled(() => origin.sentBytes());
  const growth = residentBytes(node) - before;
  t.diagnostic(
    `${Math.round(growth / 1024)} KiB more, ${Math.round((sentBefore - sentToQuick) / 1024)} KiB sent`,
  );
  assert.ok(sentBefore > sentToQuick);
  assert.ok(growth < SLOW_GROWTH_BYTES, `${growth} bytes more`);
  // Each reads a little and stops, as slow clients do: what was held back flows on, and no more is kept than before.
  await Promise.all(sockets.map((socket) => readSome(socket, SLOW_READ_BYTES)));
  await settled(() => origin.sentBytes());
  assert.ok(origin.sentBytes() > sentBefore);
  const grown = residentBytes(node) - before;
  t.diagnostic(`${Math.round(grown / 1024)} KiB more after they read a little`);
  assert.ok(grown < SLOW_GROWTH_BYTES, `${grown} bytes more`);
});

test("P5: an origin that does not read what clients upload does not fill the gateway's memory", async (t) => {
  const node = await RealNode.start(t);
  const origin = await rawOrigin(t, (socket) => socket.pause());
  await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(origin) });
  const before = residentBytes(node);
  const chunk = Buffer.alloc(65_536);
  let sent = 0;
  const sockets = await Promise.all(Array.from({ length: SLOW_CLIENTS }, () => open(t, node.port())));
  for (const socket of sockets) {
    socket.write(`POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: ${1024 ** 3}\r\n\r\n`);
    const more = () => {
      do sent += chunk.length;
      while (socket.write(chunk));
    };
    socket.on("drain", more);
    more();
  }
  await settled(() => sent);
  const growth = residentBytes(node) - before;
  t.diagnostic(`${Math.round(growth / 1024)} KiB more, ${Math.round(sent / 1024)} KiB sent`);
  assert.ok(growth < SLOW_GROWTH_BYTES, `${growth} bytes more`);
});

const overloads = [
  { fault: "late", what: "an event loop that is late", shedEventLoopDelayMs: 50, shedHeapShare: 0 },
  { fault: "fill", what: "a heap that is nearly full", shedEventLoopDelayMs: 0, shedHeapShare: 0.5 },
];

for (const { fault, what, shedEventLoopDelayMs, shedHeapShare } of overloads) {
  test(`P5: ${what} answers 503 with Retry-After, and serves again afterwards`, async (t) => {
    const node = await RealNode.start(t, {
      worker: "faulty-worker.ts",
      change: (config) => {
        config.workers = 1;
        config.groups = [{ name: "default", workers: 1 }];
        Object.assign(config.http, { shedEventLoopDelayMs, shedHeapShare });
        config.supervision.workerHeapMb = 64;
      },
    });
    await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(await namedOrigin(t, "origin")) });
    // On a busy machine a loop may be late by itself.
    while ((await node.get("/a")).status !== 200);
    const file = join(node.folder, "fault-0");
    writeFileSync(file, fault);
    let reply = await node.get("/a");
    while (reply.status === 200) reply = await node.get("/a");
    assert.equal(reply.status, 503);
    assert.match(reply.headers.get("retry-after")!, /^\d+$/);
    rmSync(file);
    while ((await node.get("/a")).status !== 200);
    assert.equal((await node.control("/v1/workers")).workers[0].generation, 1);
  });
}
