/** Upstream connections over real sockets: framing both ways, early answers, back-pressure, deadlines, upgrades. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import { HeaderList } from "../../lib/headers.ts";
import { Deadlines } from "../deadlines.ts";
import { UNKNOWN_LENGTH } from "../transport.ts";
import { plain } from "../upstream/connectors.ts";
import { ConnectionPools } from "../upstream/pool.ts";
import { BYTES_PER_TURN, FREE_BYTES } from "./read-turns.ts";
import type { UpstreamAttempt } from "./upstream-attempt.ts";
import { NO_HEADERS, Origin, RecordingHandler, type OriginConnection } from "./upstream-test-kit.ts";

const KEEP_ALIVE = { size: 4, idleTimeoutMs: 60_000, requests: 0 };
const TIMEOUTS = { connectMs: 1_000, sendMs: 2_000, readMs: 3_000 };

interface Bench {
  origin: Origin;
  pools: ConnectionPools;
  deadlines: Deadlines;
  clock: { now: number };
  start(handler: RecordingHandler): UpstreamAttempt;
  /** A whole GET. */
  get(): RecordingHandler;
}

async function bench(onData?: (connection: OriginConnection) => void): Promise<Bench> {
  const origin = await new Origin(onData).listen();
  const clock = { now: 1_000 };
  const deadlines = new Deadlines(() => clock.now, { sweeping: false });
  const pools = new ConnectionPools(deadlines, {
    maxConnectionsPerNode: 32,
    maxHeaderBytes: 16_384,
    maxHeaders: 100,
  });
  after(() => {
    origin.close();
    deadlines.close();
    pools.closeIdle();
  });
  const start = (handler: RecordingHandler): UpstreamAttempt =>
    pools.get("http#test", plain, "127.0.0.1", origin.port).start(handler, TIMEOUTS, KEEP_ALIVE, false);
  const get = (): RecordingHandler => {
    const handler = new RecordingHandler();
    const attempt = start(handler);
    attempt.writeHead("GET", "/", NO_HEADERS, 0);
    attempt.writeEnd(null);
    return handler;
  };
  return { origin, pools, deadlines, clock, start, get };
}

/** Answers each whole request head with `answer`. */
function answering(answer: string): (connection: OriginConnection) => void {
  return ({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write(answer, "latin1");
  };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const answers: [name: string, answer: string, outcome: string, isKept: boolean][] = [
  ["a length", OK, "200 ok", true],
  [
    "chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
    "200 ok!",
    true,
  ],
  ["no body", "HTTP/1.1 204 No Content\r\n\r\n", "204 ", true],
  [
    "Connection: close",
    `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok`,
    "200 ok",
    false,
  ],
  ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok", false],
  [
    "HTTP/1.0 with keep-alive",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "200 ok",
    true,
  ],
  ["more bytes than announced", `${OK}?`, "200 ok", false],
  ["a second answer", OK + OK, "200 ok", false],
  [
    "both framings",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    "malformed",
    false,
  ],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "malformed", false],
  ["a bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", "malformed", false],
  ["no status line", "SSH-2.0-OpenSSH_9.2\r\n", "malformed", false],
  ["a broken chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", "malformed", false],
  ["101 that nobody asked for", "HTTP/1.1 101 Switching\r\n\r\n", "malformed", false],
  ["a flood of 1xx", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50) + OK, "malformed", false],
];

for (const [name, answer, outcome, isKept] of answers) {
  test(`an answer with ${name}: ${outcome}, the connection is ${isKept ? "kept" : "closed"}`, async () => {
    const { get, pools } = await bench(answering(answer));
    const handler = get();
    await handler.ended;
    assert.equal(handler.outcome, outcome);
    assert.equal(handler.endings, 1);
    assert.deepEqual(pools.count(), isKept ? { open: 1, idle: 1 } : { open: 0, idle: 0 });
  });
}

for (const [name, bytes, detail] of [
  [
    "frames of HTTP/2",
    "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\n",
    /the node speaks HTTP\/2 \(scheme grpc or h2c\)/,
  ],
  ["a record of TLS", "\x15\x03\x03\0\x02\x02\n", /the node speaks TLS \(scheme https, grpcs or h2\)/],
  ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", /malformed status line$/],
] as const) {
  test(`an answer of ${name} is told from others that are none`, async () => {
    const { get } = await bench(answering(bytes));
    const handler = get();
    await handler.ended;
    assert.equal(handler.failure, "malformed");
    assert.match(handler.detail, detail);
  });
}

test("an answer reads the same however its bytes are cut", async () => {
  const answer =
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
  let cut = 0;
  const { get } = await bench(({ socket, received }) => {
    if (!received.endsWith("\r\n\r\n")) return;
    const at = cut;
    socket.write(answer.slice(0, at));
    setImmediate(() => socket.write(answer.slice(at)));
  });
  for (cut = 1; cut < answer.length; cut++) {
    const handler = get();
    await handler.ended;
    assert.equal(handler.outcome, "200 hello", `cut at ${cut}`);
    assert.deepEqual(handler.informational, [103]);
    assert.equal(handler.trailers?.get("x-t"), "1");
  }
});

test("HEAD has no body whatever the answer's length says, and the connection is kept", async () => {
  const { start, pools } = await bench(answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"));
  const handler = new RecordingHandler();
  const attempt = start(handler);
  attempt.writeHead("HEAD", "/", NO_HEADERS, 0);
  attempt.writeEnd(null);
  await handler.ended;
  assert.equal(handler.head?.headers.get("content-length"), "99");
  assert.equal(pools.count().idle, 1);
});

test("a body without length ends with the connection", async () => {
  const { get } = await bench(({ socket }) => socket.end("HTTP/1.1 200 OK\r\n\r\nall of it"));
  const handler = get();
  await handler.ended;
  assert.equal(handler.outcome, "200 all of it");
});

test("a body without length that is reset has failed, not ended", async () => {
  const { get } = await bench(({ socket }) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\nhalf", () => socket.resetAndDestroy());
  });
  const handler = get();
  await handler.ended;
  assert.equal(handler.failure, "reset");
});

test("head and small body leave in one segment, with exact framing", async () => {
  const { start, origin, get } = await bench(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n") || received.endsWith("body")) socket.write(OK);
  });
  await get().ended;
  const handler = new RecordingHandler();
  const attempt = start(handler);
  const before = origin.connections[0].received.length;
  attempt.writeHead("POST", "/p", HeaderList.from({ Host: "a" }), 4);
  assert.equal(attempt.hasSent, false);
  attempt.writeBody(Buffer.from("body"));
  attempt.writeEnd(null);
  assert.equal(attempt.hasSent, true);
  await origin.nextRead();
  const sent = origin.connections[0].received.slice(before);
  assert.equal(sent, "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
  await handler.ended;
});

for (const size of [1, 3_000, 100_000]) {
  test(`a request body in chunks of ${size} bytes arrives whole, with trailers, before and after connecting`, async () => {
    const chunk = Buffer.alloc(size, "x");
    const end = "0\r\nX-T: 1\r\n\r\n";
    const expected = `${size.toString(16)}\r\n${chunk.toString()}\r\n`.repeat(2) + end;
    const { start, origin } = await bench(({ socket, received }) => {
      if (received.endsWith(end)) socket.write(OK);
    });
    for (let round = 0; round < 2; round++) {
      const handler = new RecordingHandler();
      const attempt = start(handler);
      attempt.writeHead("POST", "/", NO_HEADERS, UNKNOWN_LENGTH);
      attempt.writeBody(chunk);
      attempt.writeBody(Buffer.alloc(0));
      attempt.writeBody(chunk);
      attempt.writeEnd(HeaderList.from({ "X-T": "1" }));
      await handler.ended;
      assert.equal(handler.outcome, "200 ok");
      const { received } = origin.connections[0];
      assert.ok(received.endsWith(`Transfer-Encoding: chunked\r\n\r\n${expected}`));
      origin.connections[0].received = "";
    }
    assert.equal(origin.connections.length, 1);
  });
}

test("a head without a body in its tick is sent by the end of the tick", async () => {
  const { start, origin, get } = await bench(answering(OK));
  await get().ended;
  const attempt = start(new RecordingHandler());
  attempt.writeHead("POST", "/", NO_HEADERS, 10);
  await origin.until(() => origin.connections[0].received.includes("Content-Length: 10"));
  attempt.abort();
});

test("nothing has left while the connection is being made; the body waits and asks for no more", async () => {
  const { start, origin } = await bench(({ socket, received }) => {
    if (received.endsWith("12345")) socket.write(OK);
  });
  const handler = new RecordingHandler();
  const attempt = start(handler);
  attempt.writeHead("POST", "/", NO_HEADERS, 5);
  assert.equal(attempt.writeBody(Buffer.from("123")), false);
  assert.equal(attempt.hasSent, false);
  assert.equal(attempt.connectedAt, 0);
  await origin.until(() => origin.connections.length === 1 && origin.connections[0].received.endsWith("123"));
  assert.equal(handler.writable, 1);
  assert.equal(attempt.hasSent, true);
  attempt.writeBody(Buffer.from("45"));
  attempt.writeEnd(null);
  await handler.ended;
  assert.equal(handler.outcome, "200 ok");
});

test("an answer that comes while the request still flows is passed on, and the connection not used again", async () => {
  const { start, pools } = await bench(({ socket }) => {
    socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
  });
  const handler = new RecordingHandler();
  const attempt = start(handler);
  attempt.writeHead("POST", "/", NO_HEADERS, 1_000);
  attempt.writeBody(Buffer.from("begin"));
  await handler.ended;
  assert.equal(handler.outcome, "413 ");
  assert.deepEqual(pools.count(), { open: 0, idle: 0 });
  assert.equal(attempt.writeBody(Buffer.from("more")), true);
});

test("an answer that is complete before the end of a chunked request has left keeps no next request within that body", async () => {
  const { start, origin, get } = await bench((connection) => {
    const { socket, received } = connection;
    if (received.endsWith("1\r\nx\r\n")) socket.write(OK);
    else if (received.endsWith("GET / HTTP/1.1\r\n\r\n")) socket.write(OK);
  });
  const handler = new RecordingHandler();
  const attempt = start(handler);
  // In the same read as the end of the answer: what it writes has not left by then.
  handler.onHeadHook = () => attempt.writeEnd(null);
  attempt.writeHead("POST", "/", NO_HEADERS, UNKNOWN_LENGTH);
  attempt.writeBody(Buffer.from("x"));
  await handler.ended;
  assert.equal(handler.outcome, "200 ok");
  const next = get();
  await next.ended;
  assert.equal(next.outcome, "200 ok");
  const all = origin.connections.map(({ received }) => received).join("|");
  assert.ok(/\r\n1\r\nx\r\n(0\r\n\r\n|\|)GET/.test(all), JSON.stringify(all));
});

for (const [length, written] of [
  [3, "1234"],
  [5, "1234"],
] as const) {
  test(`a body of 4 bytes that was announced with ${length} breaks the attempt instead of the framing`, async () => {
    const { start, pools } = await bench();
    const handler = new RecordingHandler();
    const attempt = start(handler);
    attempt.writeHead("POST", "/", NO_HEADERS, length);
    attempt.writeBody(Buffer.from(written));
    attempt.writeEnd(null);
    await handler.ended;
    assert.equal(handler.failure, "reset");
    assert.equal(handler.endings, 1);
    assert.equal(pools.count().open, 0);
  });
}

test("a slow consumer stops the reading, and gets every byte in order", async () => {
  const body = Array.from({ length: 60_000 }, (_, i) => `${i}.`).join("");
  const { start } = await bench(({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
  const handler = new RecordingHandler();
  handler.takesMore = false;
  let chunks = 0;
  const attempt = start(handler);
  handler.onBodyHook = () => {
    chunks++;
    setImmediate(() => attempt.resumeBody());
  };
  attempt.writeHead("GET", "/", NO_HEADERS, 0);
  attempt.writeEnd(null);
  await handler.ended;
  assert.equal(handler.body, body);
  assert.ok(chunks > 1);
});

for (const answers of [1, 2, 16]) {
  for (const goesOn of [true, false]) {
    const consumer = goesOn ? "" : ", though each chunk is one too many for a moment";
    test(`${answers} answers that come as fast as they can leave others their turn, and come whole${consumer}`, async () => {
      const each = (48 * 1024 ** 2) / answers;
      const { start, origin } = await bench((connection) => {
        connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${each}\r\n\r\n`);
        connection.socket.write(Buffer.alloc(each, "x"));
      });
      const bytes = new Array<number>(answers).fill(0);
      let ofTurn = 0;
      let most = 0;
      let isOver = false;
      const look = (): void => {
        // Before that they are as free as any other answer.
        if (Math.min(...bytes) > 2 * FREE_BYTES) most = Math.max(most, ofTurn);
        ofTurn = 0;
        if (!isOver) setImmediate(look);
      };
      setImmediate(look);
      const handlers = bytes.map((_, i) => {
        const handler = new RecordingHandler();
        const attempt = start(handler);
        handler.onBody = (chunk) => {
          bytes[i] += chunk.length;
          ofTurn += chunk.length;
          // As a client does whose socket is corked until the end of the tick.
          if (!goesOn) process.nextTick(() => attempt.resumeBody());
          return goesOn;
        };
        attempt.writeHead("GET", "/", NO_HEADERS, 0);
        attempt.writeEnd(null);
        return handler;
      });
      await Promise.all(handlers.map(({ ended }) => ended));
      isOver = true;
      assert.deepEqual(
        handlers.map(({ failure }) => failure),
        handlers.map(() => null),
      );
      assert.deepEqual(bytes, new Array<number>(answers).fill(each));
      assert.equal(origin.connections.length, answers);
      // Two turns of the reader may fall between two looks; without turns it is 2 MiB for each answer.
      assert.ok(most > 0 && most <= 2 * BYTES_PER_TURN + 64 * 1024, `${most} bytes in one turn`);
    });
  }
}

test("answers that come as fast as they can get the same, one turn after the other", async () => {
  const { start } = await bench((connection) => {
    connection.socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const more = (): void => {
      while (!connection.socket.destroyed && connection.socket.write(Buffer.alloc(64 * 1024)));
    };
    connection.socket.on("drain", more);
    more();
  });
  const bytes = new Array<number>(12).fill(0);
  const attempts = bytes.map((_, i) => {
    const handler = new RecordingHandler();
    handler.onBody = (chunk) => {
      bytes[i] += chunk.length;
      return true;
    };
    const attempt = start(handler);
    attempt.writeHead("GET", "/", NO_HEADERS, 0);
    attempt.writeEnd(null);
    return attempt;
  });
  while (Math.max(...bytes) < 8 * 1024 ** 2) await new Promise(setImmediate);
  for (const attempt of attempts) attempt.abort();
  assert.ok(Math.min(...bytes) > 4 * 1024 ** 2, String(bytes));
});

test("a connection whose answer ended in what a slow consumer had left hears the next answer", async () => {
  const { start, get } = await bench(
    answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
  );
  const handler = new RecordingHandler();
  const attempt = start(handler);
  handler.takesMore = false;
  handler.onBodyHook = () => setImmediate(() => attempt.resumeBody());
  attempt.writeHead("GET", "/", NO_HEADERS, 0);
  attempt.writeEnd(null);
  await handler.ended;
  const next = get();
  await next.ended;
  assert.deepEqual([handler.outcome, next.outcome], ["200 ab", "200 ab"]);
});

test("an aborted attempt hears nothing more, and late calls on it reach nobody", async () => {
  const { start, origin, pools, get } = await bench(answering(OK));
  const handler = new RecordingHandler();
  const attempt = start(handler);
  attempt.writeHead("GET", "/", NO_HEADERS, 0);
  attempt.writeEnd(null);
  await handler.ended;
  const next = get();
  attempt.abort();
  attempt.writeHead("GET", "/evil", NO_HEADERS, 0);
  await next.ended;
  assert.equal(next.outcome, "200 ok");
  assert.equal(origin.connections.length, 1);
  assert.ok(!origin.connections[0].received.includes("evil"));
  const third = new RecordingHandler();
  start(third).abort();
  assert.equal(pools.count().open, 0);
  assert.equal(third.endings, 0);
});

test("aborting inside onHead ends the attempt there", async () => {
  const { start, pools } = await bench(answering(OK));
  const handler = new RecordingHandler();
  const attempt = start(handler);
  const aborted = new Promise<void>((resolve) => {
    handler.onHeadHook = () => {
      attempt.abort();
      resolve();
    };
  });
  attempt.writeHead("GET", "/", NO_HEADERS, 0);
  attempt.writeEnd(null);
  await aborted;
  assert.equal(handler.body, "");
  assert.equal(handler.endings, 0);
  assert.equal(pools.count().open, 0);
});

test("a port where nobody listens is refused, and nothing was sent", async () => {
  const { origin, start } = await bench();
  origin.close();
  const handler = new RecordingHandler();
  const attempt = start(handler);
  attempt.writeHead("POST", "/", NO_HEADERS, 4);
  attempt.writeBody(Buffer.from("body"));
  attempt.writeEnd(null);
  await handler.ended;
  assert.equal(handler.failure, "refused");
  assert.equal(handler.detail, "ECONNREFUSED");
  assert.equal(attempt.hasSent, false);
});

test("each wait has its own deadline: connect, read before and within the answer, idle", async () => {
  const { deadlines, clock, get, start, origin, pools } = await bench();
  const connecting = new RecordingHandler();
  const attempt = start(connecting);
  clock.now += TIMEOUTS.connectMs - 1;
  deadlines.sweep();
  assert.equal(connecting.endings, 0);
  clock.now += 1;
  deadlines.sweep();
  assert.equal(connecting.failure, "connect-timeout");
  assert.equal(attempt.hasSent, false);

  const silent = get();
  await origin.nextRead();
  clock.now += TIMEOUTS.readMs - 1;
  deadlines.sweep();
  assert.equal(silent.endings, 0);
  clock.now += 1;
  deadlines.sweep();
  assert.equal(silent.failure, "read-timeout");

  const half = get();
  const sawBody = new Promise<void>((resolve) => (half.onBodyHook = resolve));
  await origin.nextRead();
  clock.now += TIMEOUTS.readMs - 1;
  origin.connections.at(-1)!.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
  await sawBody;
  clock.now += TIMEOUTS.readMs - 1;
  deadlines.sweep();
  assert.equal(half.endings, 0);
  clock.now += 1;
  deadlines.sweep();
  assert.equal(half.failure, "read-timeout");

  const whole = get();
  await origin.nextRead();
  origin.connections.at(-1)!.socket.write(OK);
  await whole.ended;
  clock.now += KEEP_ALIVE.idleTimeoutMs - 1;
  deadlines.sweep();
  assert.equal(pools.count().idle, 1);
  clock.now += 1;
  deadlines.sweep();
  assert.equal(pools.count().open, 0);
  assert.equal(deadlines.size, 0);
});

test("an upstream that takes nothing is a send timeout, and a client that sends nothing is none", async () => {
  const { deadlines, clock, start, origin, get } = await bench(answering(OK));
  await get().ended;
  origin.connections[0].socket.pause();
  const handler = new RecordingHandler();
  const attempt = start(handler);
  attempt.writeHead("POST", "/", NO_HEADERS, 200_000_000);
  const chunk = Buffer.alloc(1 << 20);
  clock.now += TIMEOUTS.readMs * 10;
  deadlines.sweep();
  assert.equal(handler.endings, 0);
  // More than what the kernel buffers; stops as soon as the connection does not drain any more.
  for (let i = 0; i < 100; i++) attempt.writeBody(chunk);
  clock.now += TIMEOUTS.sendMs;
  deadlines.sweep();
  assert.equal(handler.failure, "send-timeout");
  assert.equal(attempt.hasSent, true);
});

test("an upgrade hands over the socket with what came behind the head, in both directions and half-closed", async () => {
  const { start, origin, pools, deadlines } = await bench(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 101 Switching\r\nUpgrade: echo\r\n\r\nfirst");
    else if (received.endsWith("ping")) socket.write("pong");
  });
  const handler = new RecordingHandler();
  const attempt = start(handler);
  const switched = new Promise<void>((resolve) => (handler.onHeadHook = resolve));
  attempt.writeHead("GET", "/", HeaderList.from({ Upgrade: "echo" }), 0);
  attempt.writeEnd(null);
  await switched;
  assert.ok(origin.connections[0].received.includes("Connection: upgrade"));
  const { socket, rest } = attempt.takeSocket();
  assert.equal(handler.head?.status, 101);
  assert.equal(rest.toString(), "first");
  assert.deepEqual([pools.count().open, deadlines.size], [0, 0]);
  socket.write("ping");
  socket.resume();
  const [data] = (await once(socket, "data")) as [Buffer];
  assert.equal(data.toString(), "pong");
  socket.end();
  await once(socket, "end");
  socket.destroy();
  assert.equal(handler.endings, 0);
});

test("a taken socket that nobody reads holds its peer back and loses nothing", async () => {
  const total = 8 << 20;
  const { start } = await bench(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 101 Switching\r\nUpgrade: echo\r\n\r\n");
    else socket.end(Buffer.alloc(total, "x"));
  });
  const handler = new RecordingHandler();
  const attempt = start(handler);
  const switched = new Promise<void>((resolve) => (handler.onHeadHook = resolve));
  attempt.writeHead("GET", "/", HeaderList.from({ Upgrade: "echo" }), 0);
  attempt.writeEnd(null);
  await switched;
  const { socket } = attempt.takeSocket();
  socket.write("go");
  let bytes = 0;
  for await (const chunk of socket) bytes += (chunk as Buffer).length;
  assert.equal(bytes, total);
});
