/** Connections with TLS as pools use them: names, what is read while nobody takes it, and their common bounds. */

import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { createServer, type TLSSocket } from "node:tls";
import { CERTIFICATE, PRIVATE_KEY } from "../../../model/certificate-kit.ts";
import { Deadlines } from "../../deadlines.ts";
import { NO_HEADERS, RecordingHandler } from "../../http1/upstream-test-kit.ts";
import { ConnectionPools, type ConnectionPool } from "../pool.ts";
import { contextName, SecureContexts } from "./contexts.ts";
import { nameOf, SecureConnector } from "./secure-connector.ts";

const TIMEOUTS = { connectMs: 5_000, sendMs: 5_000, readMs: 5_000 };
const KEEP_ALIVE = { size: 4, idleTimeoutMs: 60_000, requests: 0 };
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

interface Parts {
  pools: ConnectionPools;
  pool(host: string): ConnectionPool;
  begin(host: string): RecordingHandler;
}

/** Pools before an origin whose `answer` is called for every read. */
async function parts(
  t: TestContext,
  answer: (socket: TLSSocket) => void,
  maxConnectionsPerNode = 8,
): Promise<Parts> {
  const sockets: TLSSocket[] = [];
  const server = createServer({ cert: CERTIFICATE, key: PRIVATE_KEY }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", () => answer(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const deadlines = new Deadlines(() => 0, { sweeping: false });
  const limits = { maxConnectionsPerNode, maxHeaderBytes: 16_384, maxHeaders: 100 };
  const pools = new ConnectionPools(deadlines, limits);
  const contexts = new SecureContexts({ authorities: ["system"], sslOf: () => null });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
    pools.closeIdle();
    deadlines.close();
  });
  const node = `https#127.0.0.1#${port}`;
  const pool = (host: string): ConnectionPool => {
    const context = contexts.get("any", null, false);
    const connector = new SecureConnector(host, node, "any", context, false, contexts.sessions);
    return pools.getNamed(node, connector.identity, connector, "127.0.0.1", port);
  };
  const begin = (host: string): RecordingHandler => {
    const handler = new RecordingHandler();
    const attempt = pool(host).start(handler, TIMEOUTS, KEEP_ALIVE, false);
    attempt.writeHead("GET", "/", NO_HEADERS, 0);
    attempt.writeEnd(null);
    handler.onBodyHook = () => {
      if (!handler.takesMore) setImmediate(() => attempt.resumeBody());
    };
    return handler;
  };
  return { pools, pool, begin };
}

for (const [host, name] of [
  ["A.com", "a.com"],
  ["a.com:8443", "a.com"],
  ["a.com.", "a.com"],
  ["10.0.0.1:443", "10.0.0.1"],
  ["[::1]:443", "::1"],
  ["[::1]", "::1"],
  ["", ""],
])
  test(`the name of ${JSON.stringify(host)} is ${JSON.stringify(name)}`, () => {
    assert.equal(nameOf(host), name);
  });

for (const framing of ["Content-Length: 600000", "Connection: close", "Transfer-Encoding: chunked"])
  test(`an answer is whole for who takes one chunk at a time: ${framing}`, async (t) => {
    let body = "";
    for (let i = 0; body.length < 600_000; i++) body += `${i} `;
    body = body.slice(0, 600_000);
    const { begin, pools } = await parts(t, (socket) => {
      const isChunked = framing.startsWith("Transfer");
      const text = isChunked ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
      socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${text}`);
      if (framing.startsWith("Connection")) socket.end();
    });
    const handler = begin("a.com");
    handler.takesMore = false;
    await handler.ended;
    assert.equal(handler.failure, null, handler.detail);
    assert.ok(handler.body === body, `${handler.body.length} of ${body.length} bytes`);
    assert.equal(pools.count().idle, framing.startsWith("Connection") ? 0 : 1);
  });

test("a connection that idles under another name gives way at the limit of the node", async (t) => {
  const { begin, pools } = await parts(t, (socket) => socket.write(OK), 2);
  for (const host of ["a.com", "b.com", "c.com", "c.com"]) {
    const handler = begin(host);
    await handler.ended;
    assert.equal(handler.outcome, "200 ok", host);
  }
  assert.deepEqual(pools.count(), { open: 2, idle: 2 });
});

test("where every connection is in use, a new name is turned away and leaves nothing behind", async (t) => {
  const { begin, pools } = await parts(t, () => undefined, 2);
  begin("a.com");
  begin("b.com");
  const third = begin("c.com");
  await third.ended;
  assert.equal(third.failure, "overloaded");
  await new Promise(setImmediate);
  assert.equal(pools.size, 2);
});

test("contexts are named by certificate, key and trust", () => {
  const names = [
    contextName(null, false),
    contextName(null, true),
    contextName({ cert: "a", key: "b" }, false),
    contextName({ cert: "a", key: "b" }, true),
    contextName({ cert: "a", key: "c" }, false),
  ];
  assert.equal(new Set(names).size, names.length);
  assert.equal(contextName({ cert: "a", key: "b" }, true), names[3]);
});
