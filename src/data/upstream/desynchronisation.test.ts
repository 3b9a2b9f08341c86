/**
 * Many requests at once over few connections to an origin that misbehaves at random: answers in pieces, closes
 * and resets in every phase, speaks out of turn, answers before it has read. Each request has a number that
 * its answer repeats: no answer may reach another request, and each request ends exactly once.
 */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { HeaderList } from "../../lib/headers.ts";
import { Deadlines } from "../deadlines.ts";
import { Origin, RecordingHandler, type OriginConnection } from "../http1/upstream-test-kit.ts";
import { UNKNOWN_LENGTH } from "../transport.ts";
import { randomFrom } from "./balancer/test-kit.ts";
import { plain } from "./connectors.ts";
import { ConnectionPools } from "./pool.ts";

const REQUESTS = 2_000;
const TOGETHER = 16;
const MAX_CONNECTIONS = 16;
const LAST_CHUNK = "\r\n0\r\n\r\n";

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

function answerTo(id: string, random: () => number): string {
  const body = `id=${id};`.repeat(1 + Math.floor(random() * (random() < 0.1 ? 20_000 : 5)));
  const head = random() < 0.2 ? "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n" : "HTTP/1.1 200 OK\r\n";
  if (random() < 0.5) return `${head}X-Id: ${id}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const half = Math.floor(body.length / 2);
  const chunks = [body.slice(0, half), body.slice(half)].map(
    (text) => `${text.length.toString(16)}\r\n${text}\r\n`,
  );
  return `${head}X-Id: ${id}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks.join("")}0\r\n\r\n`;
}

/** Does what chance wants with each request that is complete, and sometimes before it is. */
function misbehaving(random: () => number): (connection: OriginConnection) => void {
  const early = new WeakSet<OriginConnection>();
  return (connection) => {
    const { socket } = connection;
    if (early.has(connection)) {
      // What was still missing of the request that has its answer; the next one may be behind it.
      const missing = connection.received.indexOf(LAST_CHUNK);
      if (missing === -1) return;
      connection.received = connection.received.slice(missing + LAST_CHUNK.length);
      early.delete(connection);
    }
    const { received } = connection;
    const end = received.indexOf("\r\n\r\n");
    const id = /x-id: (\d+)/.exec(received)?.[1];
    if (end === -1 || id === undefined) return;
    const isChunked = received.includes("Transfer-Encoding: chunked");
    const isEarly = isChunked && !received.endsWith(LAST_CHUNK);
    if (isEarly && random() < 0.9) return;
    if (isEarly) early.add(connection);
    else connection.received = "";
    const chance = random();
    const answer = answerTo(id, random);
    if (chance < 0.5) socket.write(answer);
    else if (chance < 0.6) socket.end(answer);
    else if (chance < 0.65) socket.write(answer, () => socket.resetAndDestroy());
    else if (chance < 0.7) socket.resetAndDestroy();
    else if (chance < 0.75) socket.write(answer + answerTo("0", random));
    else if (chance < 0.8)
      socket.write(answer, () => setImmediate(() => socket.write(answerTo("0", random))));
    else if (chance < 0.85) socket.end(answer.slice(0, Math.floor(random() * answer.length)));
    else if (chance < 0.9) socket.write(`HTTP/1.1 200 OK\nX-Id: ${id}\r\n\r\n`);
    else {
      const at = Math.floor(random() * answer.length);
      socket.write(answer.slice(0, at));
      setImmediate(() => socket.write(answer.slice(at)));
    }
  };
}

test(`no answer reaches another request, whatever the origin does (SEED=${seed})`, async () => {
  const random = randomFrom(seed);
  const origin = await new Origin(misbehaving(random)).listen();
  const deadlines = new Deadlines(() => 0, { sweeping: false });
  const limits = { maxConnectionsPerNode: MAX_CONNECTIONS, maxHeaderBytes: 16_384, maxHeaders: 100 };
  const pools = new ConnectionPools(deadlines, limits);
  after(() => {
    origin.close();
    pools.closeIdle();
  });
  const pool = (): ReturnType<typeof pools.get> => pools.get("http#a", plain, "127.0.0.1", origin.port);
  const handlers: RecordingHandler[] = [];
  let answered = 0;

  async function client(): Promise<void> {
    while (handlers.length < REQUESTS) {
      const id = String(handlers.length + 1);
      const handler = new RecordingHandler();
      handlers.push(handler);
      const attempt = pool().start(
        handler,
        { connectMs: 1, sendMs: 1, readMs: 1 },
        { size: 8, idleTimeoutMs: 1, requests: 20 },
        random() < 0.1,
      );
      if (random() < 0.2) {
        handler.takesMore = false;
        handler.onBodyHook = () => setImmediate(() => attempt.resumeBody());
      }
      const hasBody = random() < 0.3;
      attempt.writeHead(
        hasBody ? "POST" : "GET",
        "/",
        HeaderList.from({ "x-id": id }),
        hasBody ? UNKNOWN_LENGTH : 0,
      );
      if (hasBody) {
        attempt.writeBody(Buffer.from("begin"));
        await new Promise(setImmediate);
        attempt.writeBody(Buffer.alloc(random() < 0.1 ? 100_000 : 10, "x"));
      }
      attempt.writeEnd(null);
      await handler.ended;
      assert.ok(pools.count().open <= MAX_CONNECTIONS);
      if (handler.head === null) continue;
      assert.equal(handler.head.headers.get("x-id"), id);
      const own = `id=${id};`;
      const rest = handler.body.replaceAll(own, "");
      // An answer that broke off may end within its own text.
      assert.ok(handler.failure === null ? rest === "" : own.startsWith(rest), rest.slice(0, 200));
      if (handler.failure === null) answered++;
    }
  }

  await Promise.all(Array.from({ length: TOGETHER }, client));
  await new Promise(setImmediate);
  for (const handler of handlers) assert.equal(handler.endings, 1);
  assert.ok(answered > REQUESTS / 4, `${answered} answered`);
  pools.closeIdle();
  assert.equal(pools.count().open, 0);
  assert.equal(deadlines.size, 0);
});
