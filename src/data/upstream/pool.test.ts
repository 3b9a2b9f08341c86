/** Connection pools over real sockets: which connection is taken, which is kept, and what happens to stale ones. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import { Deadlines } from "../deadlines.ts";
import type { UpstreamAttempt } from "../http1/upstream-attempt.ts";
import type { KeepAlive } from "../http1/upstream-connection.ts";
import { NO_HEADERS, Origin, RecordingHandler, type OriginConnection } from "../http1/upstream-test-kit.ts";
import { plain } from "./connectors.ts";
import { ConnectionPools, type ConnectionPool } from "./pool.ts";

const TIMEOUTS = { connectMs: 1_000, sendMs: 1_000, readMs: 1_000 };
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

interface Sent {
  handler: RecordingHandler;
  attempt: UpstreamAttempt;
}

interface Bench {
  origin: Origin;
  pools: ConnectionPools;
  pool(): ConnectionPool;
  send(method?: string, keepAlive?: Partial<KeepAlive>, isFresh?: boolean): Sent;
}

async function bench(
  onData: (connection: OriginConnection) => void,
  maxConnectionsPerNode = 8,
): Promise<Bench> {
  const origin = await new Origin(onData).listen();
  const deadlines = new Deadlines(() => 1_000, { sweeping: false });
  const pools = new ConnectionPools(deadlines, {
    maxConnectionsPerNode,
    maxHeaderBytes: 16_384,
    maxHeaders: 100,
  });
  after(() => {
    origin.close();
    pools.closeIdle();
  });
  const pool = (): ConnectionPool => pools.get("http#a", plain, "127.0.0.1", origin.port);
  const send = (method = "GET", keepAlive: Partial<KeepAlive> = {}, isFresh = false): Sent => {
    const handler = new RecordingHandler();
    const settings = { size: 4, idleTimeoutMs: 60_000, requests: 0, ...keepAlive };
    const attempt = pool().start(handler, TIMEOUTS, settings, isFresh);
    const length = method === "POST" ? 4 : 0;
    attempt.writeHead(method, "/", NO_HEADERS, length);
    if (length > 0) attempt.writeBody(Buffer.from("body"));
    attempt.writeEnd(null);
    return { handler, attempt };
  };
  return { origin, pools, pool, send };
}

function answerEach({ socket, received }: OriginConnection): void {
  if (received.endsWith("\r\n\r\n") || received.endsWith("body")) socket.write(OK);
}

async function together(sent: Sent[]): Promise<void> {
  await Promise.all(sent.map(({ handler }) => handler.ended));
  for (const { handler } of sent) assert.equal(handler.outcome, "200 ok");
}

test("requests one after the other share a connection; together each has its own", async () => {
  const { send, origin, pools } = await bench(answerEach);
  for (let i = 0; i < 5; i++) await together([send()]);
  assert.equal(origin.connections.length, 1);
  await together([send(), send(), send()]);
  assert.equal(origin.connections.length, 3);
  assert.deepEqual(pools.count(), { open: 3, idle: 3 });
});

test("the connection used last is taken first", async () => {
  const { send, origin } = await bench(answerEach);
  await together([send(), send(), send()]);
  const lengths = (): number[] => origin.connections.map(({ received }) => received.length);
  await together([send()]);
  const after1 = lengths();
  await together([send()]);
  await together([send()]);
  const after3 = lengths();
  const used = after3.filter((length, i) => length > after1[i]);
  assert.equal(used.length, 1);
});

test("beyond the size of the pool the connection that is idle for longest closes", async () => {
  const { send, origin, pools } = await bench(answerEach);
  await together([send("GET", { size: 2 }), send("GET", { size: 2 }), send("GET", { size: 2 })]);
  assert.deepEqual(pools.count(), { open: 2, idle: 2 });
  assert.equal(origin.connections.length, 3);
});

test("size 0 keeps nothing, and an empty pool is forgotten", async () => {
  const { send, pools } = await bench(answerEach);
  await together([send("GET", { size: 0 })]);
  await new Promise(setImmediate);
  assert.equal(pools.size, 0);
});

test("a connection carries as many requests as the upstream permits", async () => {
  const { send, origin } = await bench(answerEach);
  for (let i = 0; i < 6; i++) await together([send("GET", { requests: 2 })]);
  assert.equal(origin.connections.length, 3);
});

test("beyond the limit of connections an attempt fails as overloaded, later and only if it still runs", async () => {
  const { send, pool } = await bench(() => undefined, 2);
  const running = [send(), send()];
  const { handler } = send();
  const aborted = send();
  aborted.attempt.abort();
  assert.equal(handler.endings, 0);
  await handler.ended;
  assert.equal(handler.failure, "overloaded");
  assert.equal(aborted.handler.endings, 0);
  assert.equal(pool().open, 2);
  for (const { attempt } of running) attempt.abort();
  assert.equal(pool().open, 0);
});

test("at the limit an idle connection gives way to a fresh one", async () => {
  const { send, pool, origin } = await bench(answerEach, 1);
  await together([send()]);
  await together([send("GET", {}, true)]);
  assert.equal(origin.connections.length, 2);
  assert.deepEqual([pool().open, pool().idle], [1, 1]);
});

for (const [what, act] of [
  ["closes", (connection: OriginConnection) => connection.socket.end()],
  ["resets", (connection: OriginConnection) => connection.socket.resetAndDestroy()],
  ["speaks unasked on", (connection: OriginConnection) => connection.socket.write(OK)],
] as const) {
  test(`an idle connection that the peer ${what} leaves at once`, async () => {
    const { send, origin, pools } = await bench(answerEach);
    await together([send()]);
    const [connection] = origin.connections;
    const closed = once(connection.socket, "close");
    act(connection);
    await closed;
    while (pools.count().open > 0) await new Promise(setImmediate);
    await together([send()]);
    assert.equal(origin.connections.length, 2);
  });
}

/** Answers the first request of each connection and resets at the second. */
function resetSecond(connection: OriginConnection): void {
  const { received, socket } = connection;
  const requests = received.split(" / HTTP/1.1").length - 1;
  if (requests === 1) answerEach(connection);
  else socket.resetAndDestroy();
}

test("an idempotent request on a stale connection is repeated once on a fresh one, unnoticed", async () => {
  const { send, origin } = await bench(resetSecond);
  await together([send()]);
  const { handler, attempt } = send("DELETE");
  await handler.ended;
  assert.equal(handler.outcome, "200 ok");
  assert.equal(handler.endings, 1);
  assert.equal(attempt.hasSent, true);
  assert.equal(origin.connections.length, 2);
});

test("a request on a stale connection that is not idempotent fails and is not repeated", async () => {
  // With a body and without one.
  for (const method of ["POST", "PATCH"]) {
    const { send, origin } = await bench(resetSecond);
    await together([send()]);
    const { handler, attempt } = send(method);
    await handler.ended;
    assert.equal(handler.failure, "reset", method);
    assert.deepEqual([attempt.hasSent, attempt.isReused], [true, true]);
    assert.equal(origin.connections.length, 1);
  }
});

test("a fresh connection that is reset is not repeated by the pool", async () => {
  const { send, origin } = await bench(({ socket }) => socket.resetAndDestroy());
  const { handler } = send();
  await handler.ended;
  assert.equal(handler.failure, "reset");
  assert.equal(origin.connections.length, 1);
});

test("a reused connection that is reset within its answer is not repeated", async () => {
  const { send, origin } = await bench((connection) => {
    const requests = connection.received.split(" / HTTP/1.1").length - 1;
    if (requests === 1) answerEach(connection);
    else connection.socket.write("HTTP/1.1 2", () => connection.socket.resetAndDestroy());
  });
  await together([send()]);
  const { handler } = send();
  await handler.ended;
  assert.equal(handler.failure, "reset");
  assert.equal(origin.connections.length, 1);
});

test("an upstream that closes after each answer without saying so costs no request that may be repeated", async () => {
  const { send, pools } = await bench((connection) => {
    answerEach(connection);
    connection.socket.end();
  });
  for (let i = 0; i < 100; i++) await together([send()]);
  while (pools.count().open > 0) await new Promise(setImmediate);
});

test("a drain closes what is idle now and what is busy after its answer", async () => {
  const { send, origin, pools } = await bench(() => undefined);
  const { handler } = send();
  await origin.nextRead();
  pools.closeIdle();
  assert.equal(pools.count().open, 1);
  origin.connections[0].socket.write(OK);
  await handler.ended;
  assert.equal(handler.outcome, "200 ok");
  assert.equal(pools.count().open, 0);
});
