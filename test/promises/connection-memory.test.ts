/**
 * P5: what an idle connection of each kind costs a node: kept alive over TCP, kept alive over TLS, and a WebSocket, which is a
 * connection to its upstream, too. Resident memory of the process, before and after, by the number of connections.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { connect as connectSecurely, createSecureContext } from "node:tls";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";
import { collect } from "./collection.ts";
import { namedOrigin, rawOrigin, upstreamOf } from "./origins.ts";
import { RealNode, withTls } from "./real-node.ts";

const KIB = 1024;
/** They stay open and do not count: what is made once (compiled code, a larger heap) comes with them. */
const WARM_CONNECTIONS = 500;
const AT_ONCE = 50;
const REQUEST = "GET / HTTP/1.1\r\nHost: a.com\r\n\r\n";
const UPGRADE = "GET / HTTP/1.1\r\nHost: a.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

interface Kind {
  name: string;
  connections: number;
  limitBytes: number;
  isSecure: boolean;
  request: string;
}

// Of TLS 55 to 60 KB are measured with many connections. With fewer, what handshakes leave in the allocator weighs more.
const KINDS: Kind[] = [
  { name: "kept alive", connections: 3000, limitBytes: 16 * KIB, isSecure: false, request: REQUEST },
  { name: "WebSocket", connections: 1500, limitBytes: 30 * KIB, isSecure: false, request: UPGRADE },
  { name: "kept alive over TLS", connections: 1500, limitBytes: 85 * KIB, isSecure: true, request: REQUEST },
];

function residentBytes(node: RealNode): number {
  const status = readFileSync(`/proc/${node.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * KIB;
}

/** So many connections that were answered once. */
async function open(
  t: TestContext,
  count: number,
  openOne: () => Socket,
  request: string,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - sockets.length) }, async () => {
      const socket = openOne();
      t.after(() => socket.destroy());
      socket.write(request);
      const [head] = (await once(socket, "data")) as [Buffer];
      socket.on("error", () => undefined);
      assert.match(String(head), /^HTTP\/1\.1 (200|101) /);
      return socket;
    });
    sockets.push(...(await Promise.all(batch)));
  }
  return sockets;
}

for (const { name, connections, limitBytes, isSecure, request } of KINDS) {
  const skip = isSecure && !hasOpenssl ? "there is no openssl" : false;
  test(`P5: an idle connection costs at most ${limitBytes / KIB} KiB: ${name}`, { skip }, async (t) => {
    const addTls = await withTls();
    const node = await RealNode.start(t, {
      // Garbage is no cost of connections: what is young is little, and all is collected before one looks.
      flags: "--max-semi-space-size=1",
      worker: "collecting-worker.ts",
      change(config) {
        addTls(config);
        config.workers = 1;
        config.groups = [{ name: "default", workers: 1 }];
        config.http.idleTimeoutMs = config.http.tunnelIdleTimeoutMs = 600_000;
      },
    });
    const isUpgrade = request === UPGRADE;
    const origin = isUpgrade
      ? await rawOrigin(t, (socket) => socket.once("data", () => socket.write(SWITCHED)))
      : await namedOrigin(t, "origin");
    await node.put("/routes/all", { uri: "/*", enable_websocket: true, upstream: upstreamOf(origin) });
    if (isSecure)
      await node.put("/ssls/1", { snis: ["a.com"], ...Authority.make(t).issue({ names: ["a.com"] }) });
    const port = node.port(isSecure ? "https" : "http");
    const secureContext = createSecureContext();
    const openOne = (): Socket =>
      isSecure
        ? connectSecurely({
            host: "127.0.0.1",
            port,
            servername: "a.com",
            rejectUnauthorized: false,
            secureContext,
          })
        : connect({ host: "127.0.0.1", port });
    await open(t, WARM_CONNECTIONS, openOne, request);
    const counted = async (): Promise<number> => {
      const { workers } = await node.control("/v1/workers");
      return (workers as { connections: number }[]).reduce((sum, worker) => sum + worker.connections, 0);
    };
    await collect(node, 0);
    const before = residentBytes(node);
    await open(t, connections, openOne, request);
    await collect(node, 0);
    const each = (residentBytes(node) - before) / connections;
    t.diagnostic(`${Math.round(each)} bytes for each of ${connections} connections, ${name}`);
    // What a worker says of itself may be a moment old.
    while ((await counted()) < connections + WARM_CONNECTIONS);
    assert.ok(each <= limitBytes, `${Math.round(each)} bytes for each`);
  });
}
