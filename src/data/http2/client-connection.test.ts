import assert from "node:assert/strict";
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
} from "node:http2";
import { describe, test, type TestContext } from "node:test";
import {
  type EchoListener,
  echoListener,
  type EchoOptions,
  type Understood,
} from "../../../test/shapes/echo-listener.ts";
import { WireClient } from "../../../test/shapes/wire-client.ts";
import { HeaderList } from "../../lib/headers.ts";
import { Deadlines } from "../deadlines.ts";
import { type ClientHandler, type ClientTransport, type RequestHead, UNKNOWN_LENGTH } from "../transport.ts";
import {
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  FrameClient,
  get,
  GOAWAY,
  HEADERS,
  PING,
  pseudo,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
  word,
} from "./frame-client.ts";

const CALM = 11;
const SILENT: ClientHandler = {
  onBody: () => true,
  onEnd: () => undefined,
  onWritable: () => undefined,
  onAbort: () => undefined,
};

async function listening(t: TestContext, options: EchoOptions = {}): Promise<EchoListener> {
  const echo = await echoListener(options);
  t.after(() => {
    echo.listener.close();
    echo.deadlines.close();
  });
  return echo;
}

function client(t: TestContext, { port }: EchoListener): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  t.after(() => session.destroy());
  return session;
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  trailers: Record<string, unknown>;
  body: Buffer;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const answer: Answer = { status: 0, headers: {}, trailers: {}, body: Buffer.alloc(0) };
  const chunks: Buffer[] = [];
  stream.on("response", (headers) => {
    answer.status = headers[":status"]!;
    answer.headers = headers;
  });
  stream.on("trailers", (trailers) => (answer.trailers = { ...trailers }));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(stream, "close");
  answer.body = Buffer.concat(chunks);
  return answer;
}

function get2(session: ClientHttp2Session, path = "/", method = "GET"): Promise<Answer> {
  return answerOf(session.request({ ":path": path, ":method": method }));
}

function answering(act: (transport: ClientTransport, head: RequestHead) => void): EchoOptions {
  return {
    onRequest: (transport, head) => {
      act(transport, head);
      return SILENT;
    },
  };
}

describe("a connection that speaks HTTP/2", () => {
  test("carries requests beside each other, with bodies and trailers", async (t) => {
    const echo = await listening(t);
    const session = client(t, echo);
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const stream = session.request(
          { ":path": `/${i}`, ":method": "POST", "x-i": String(i) },
          { waitForTrailers: true },
        );
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": String(i) }));
        stream.write("a".repeat(i * 1000));
        stream.end("z");
        return await answerOf(stream);
      }),
    );
    for (const [i, { status, body }] of answers.entries()) {
      assert.equal(status, 200);
      const seen = JSON.parse(body.toString()) as Understood;
      assert.equal(seen.target, `/${i}`);
      assert.equal(seen.version, "2");
      assert.equal(seen.body.length, i * 1000 + 1);
      assert.deepEqual(seen.trailers, [["x-end", String(i)]]);
    }
    assert.equal(echo.count.active, 1);
  });

  test("shares its port with HTTP/1.1", async (t) => {
    const echo = await listening(t);
    const wire = await WireClient.open(echo.port);
    wire.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await wire.answer())?.status, 200);
    assert.equal((await get2(client(t, echo))).status, 200);
    wire.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await wire.answer())?.status, 200);
    wire.close();
  });

  test("is taken over whole when its preface comes byte by byte", async (t) => {
    const echo = await listening(t);
    const slow = await WireClient.open(echo.port);
    for (const byte of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
      slow.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    slow.send(frame(SETTINGS, 0, 0).toString("latin1"));
    await slow.until((text) => text.length >= 9);
    assert.equal(echo.count.active, 1);
    slow.close();
  });

  test("is refused where HTTP/2 is off", async (t) => {
    const echo = await listening(t, { http: { http2: null } });
    const wire = await WireClient.open(echo.port);
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert.equal((await wire.answer())?.status, 505);
    wire.close();
  });
});

describe("an answer over HTTP/2", () => {
  test("has no body for HEAD, 204, 205 and 304, and the length that it would have", async (t) => {
    const echo = await listening(
      t,
      answering((transport, { target }) => {
        const status = Number(target.slice(1));
        transport.writeHead(status, "", new HeaderList(), 5, 5);
        transport.writeBody(Buffer.from("hello"));
        transport.writeEnd(null);
      }),
    );
    const session = client(t, echo);
    for (const [method, status, length, body] of [
      ["GET", 200, "5", "hello"],
      ["HEAD", 200, "5", ""],
      ["GET", 304, "5", ""],
      ["GET", 204, undefined, ""],
      ["GET", 205, undefined, ""],
    ] as const) {
      const answer = await get2(session, `/${status}`, method);
      assert.equal(answer.status, status);
      assert.equal(answer.headers["content-length"], length, `${method} ${status}`);
      assert.equal(answer.body.toString(), body);
    }
  });

  test("carries trailers and informational answers", async (t) => {
    const echo = await listening(
      t,
      answering((transport) => {
        transport.writeInformational(103, HeaderList.from({ Link: "</a>" }));
        transport.writeHead(
          200,
          "",
          HeaderList.from([
            ["Set-Cookie", "a"],
            ["Set-Cookie", "b"],
          ]),
          UNKNOWN_LENGTH,
          null,
        );
        transport.writeBody(Buffer.from("x"));
        transport.writeEnd(HeaderList.from({ "Grpc-Status": "0" }));
      }),
    );
    const stream = client(t, echo).request({});
    const early: unknown[] = [];
    stream.on("headers", (headers) => early.push(headers[":status"], headers.link));
    const { headers, trailers, body } = await answerOf(stream);
    assert.deepEqual(early, [103, "</a>"]);
    assert.deepEqual(headers["set-cookie"], ["a", "b"]);
    assert.equal(trailers["grpc-status"], "0");
    assert.equal(body.toString(), "x");
  });

  test("tells who waits for it to send its body", async (t) => {
    const echo = await listening(t);
    const stream = client(t, echo).request({ ":method": "PUT", expect: "100-continue" });
    await once(stream, "continue");
    stream.end("body");
    const { body } = await answerOf(stream);
    assert.equal((JSON.parse(body.toString()) as Understood).body, "body");
  });

  test("waits for a slow reader, and what was lent is not sent as it is later", async (t) => {
    const chunk = Buffer.alloc(32 * 1024);
    let transport!: ClientTransport;
    let left = 200;
    let ahead = 0;
    const write = (): boolean => {
      while (left > 0) {
        chunk.fill(left--);
        const takesMore = transport.writeBody(chunk);
        chunk.fill(0);
        if (!takesMore) return false;
        ahead += chunk.length;
      }
      transport.writeEnd(null);
      return true;
    };
    const echo = await listening(t, {
      onRequest: (given) => {
        transport = given;
        given.writeHead(200, "", new HeaderList(), left * chunk.length, null);
        assert.equal(write(), false);
        return { ...SILENT, onWritable: () => void write() };
      },
    });
    const session = client(t, echo);
    const stream = session.request({});
    await once(stream, "response");
    assert.ok(ahead < 1024 * 1024, `${ahead} bytes were written ahead`);
    const { body } = await answerOf(stream);
    assert.equal(body.length, 200 * chunk.length);
    for (let i = 0; i < 200; i++) assert.equal(body[i * chunk.length + 7], 200 - i);
  });

  const early: readonly [string, (transport: ClientTransport) => void][] = [
    ["", (transport) => transport.writeAnswer(403, "", new HeaderList(), "no")],
    [
      ", also one of unknown length",
      (transport) => {
        transport.writeHead(403, "", new HeaderList(), UNKNOWN_LENGTH, null);
        transport.writeBody(Buffer.from("no"));
        transport.writeEnd(null);
      },
    ],
    [
      ", also one with trailers",
      (transport) => {
        transport.writeHead(403, "", new HeaderList(), UNKNOWN_LENGTH, null);
        transport.writeBody(Buffer.from("no"));
        transport.writeEnd(HeaderList.from({ "x-sum": "1" }));
      },
    ],
  ];
  for (const [which, answer] of early)
    test(`that comes before the whole body is whole, and tells the client to stop${which}`, async (t) => {
      const echo = await listening(t, answering(answer));
      const raw = await FrameClient.open(echo.port);
      t.after(() => raw.socket.destroy());
      raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))));
      assert.equal(await raw.reset(1), 0);
      const own = raw.frames.filter(({ stream }) => stream === 1);
      assert.ok(own.some(({ type, payload }) => type === DATA && payload.toString() === "no"));
      assert.deepEqual(
        own.slice(-2).map(({ type, flags }) => (type === RST_STREAM ? "reset" : (flags & END_STREAM) !== 0)),
        [true, "reset"],
      );
      raw.send(get(3));
      assert.ok(await raw.until(({ type, stream }) => type === HEADERS && stream === 3));
    });

  test("may have a head of 100 KB beside others", async (t) => {
    let running!: ClientTransport;
    const echo = await listening(
      t,
      answering((transport, { target }) => {
        if (target === "/1") running = transport;
        const headers = HeaderList.from(["a", "b", "c"].map((name) => [name, "~".repeat(33_000)]));
        if (target === "/3") transport.writeAnswer(200, "", headers, "3");
      }),
    );
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1, "/1"), get(3, "/3"));
    assert.ok(await raw.until(({ type, stream }) => type === DATA && stream === 3));
    running.writeAnswer(200, "", new HeaderList(), "1");
    assert.ok(await raw.until(({ type, stream }) => type === DATA && stream === 1));
    raw.socket.destroy();
  });

  test("that is shorter or longer than its length is reset", async (t) => {
    const echo = await listening(
      t,
      answering((transport, { target }) => {
        transport.writeHead(200, "", new HeaderList(), 5, null);
        transport.writeBody(Buffer.from(target === "/short" ? "1234" : "123456"));
        transport.writeEnd(null);
      }),
    );
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1, "/short"), get(3, "/long"));
    assert.equal(await raw.reset(1), 2);
    assert.equal(await raw.reset(3), 2);
    raw.socket.destroy();
  });

  test("to a request whose exchange throws is a 500, and the connection goes on", async (t) => {
    const echo = await listening(t, {
      onRequest: (transport, { target }) => {
        if (target === "/throws") throw new Error("a fault");
        transport.writeAnswer(200, "", new HeaderList(), "ok");
        return SILENT;
      },
    });
    const session = client(t, echo);
    assert.equal((await get2(session, "/throws")).status, 500);
    assert.equal((await get2(session)).status, 200);
    assert.deepEqual(echo.refused, ["fault: Error: a fault"]);
  });
});

describe("a request over HTTP/2", () => {
  test("that its client takes back is broken off, also while its body waits", async (t) => {
    for (const takes of [true, false]) {
      const { promise, resolve } = Promise.withResolvers<string>();
      const started = Promise.withResolvers<void>();
      const echo = await listening(t, {
        onRequest: (transport) => {
          transport.readBody();
          return {
            ...SILENT,
            onBody: () => {
              started.resolve();
              return takes;
            },
            onEnd: () => resolve("complete"),
            onAbort: resolve,
          };
        },
      });
      const raw = await FrameClient.open(echo.port);
      raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))));
      raw.send(frame(DATA, 0, 1, Buffer.alloc(1000)));
      await started.promise;
      raw.send(frame(RST_STREAM, 0, 1, word(8)));
      assert.equal(await promise, "closed");
      raw.socket.destroy();
    }
  });

  test("is broken off when its connection ends", async (t) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const begun = Promise.withResolvers<void>();
    const echo = await listening(t, {
      onRequest: () => {
        begun.resolve();
        return { ...SILENT, onAbort: resolve };
      },
    });
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1));
    await begun.promise;
    raw.socket.end();
    assert.equal(await promise, "closed");
    await raw.closed();
    while (echo.count.active > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("never looks complete when its body is not", async (t) => {
    const echo = await listening(t);
    const post = (stream: number): Buffer =>
      frame(HEADERS, END_HEADERS, stream, block([...pseudo("POST", "/"), ["content-length", "5"]]));
    for (const body of ["1234", "123456"]) {
      const raw = await FrameClient.open(echo.port);
      raw.send(post(1), frame(DATA, END_STREAM, 1, Buffer.from(body)));
      await raw.until(({ type }) => type === RST_STREAM || type === GOAWAY);
      raw.socket.destroy();
    }
    const raw = await FrameClient.open(echo.port);
    raw.send(post(5), frame(DATA, 0, 5, Buffer.from("123")), frame(RST_STREAM, 0, 5, word(0)));
    raw.send(get(7));
    await raw.until(({ type, stream, flags }) => type === DATA && stream === 7 && (flags & END_STREAM) !== 0);
    assert.deepEqual(
      echo.seen.map(({ target, body }) => [target, body]),
      [["/", ""]],
    );
    raw.socket.destroy();
  });

  test("of gRPC is told in its words what is wrong with it", async (t) => {
    const echo = await listening(t, { http: { maxBodyBytes: 10 } });
    const session = client(t, echo);
    const ask = async (fields: Record<string, string>, length: number): Promise<unknown[]> => {
      const stream = session.request({
        ":method": "POST",
        "content-type": "application/grpc+proto",
        ...fields,
      });
      stream.on("error", () => undefined);
      stream.end(Buffer.alloc(length));
      const { status, headers, body } = await answerOf(stream);
      return [status, headers["content-type"], headers["grpc-status"], body.length];
    };
    const told = (status: string): unknown[] => [200, "application/grpc", status, 0];
    assert.deepEqual(await ask({ "content-length": "11" }, 11), told("8"));
    assert.deepEqual(await ask({}, 11), told("8"));
    assert.deepEqual(await ask({ "content-type": "text/plain" }, 11).then(([status]) => status), 413);
    assert.deepEqual(await ask({ host: "b.com", ":authority": "a.com" }, 0), told("13"));
  });

  test("with a body beyond the limit gets 413", async (t) => {
    const echo = await listening(t, { http: { maxBodyBytes: 1000 } });
    const session = client(t, echo);
    const declared = session.request({ ":method": "POST", "content-length": "1001" });
    declared.on("error", () => undefined);
    assert.equal((await answerOf(declared)).status, 413);
    const undeclared = session.request({ ":method": "POST" });
    undeclared.on("error", () => undefined);
    undeclared.write(Buffer.alloc(2000));
    assert.equal((await answerOf(undeclared)).status, 413);
    assert.deepEqual(echo.aborts, ["too-large"]);
  });

  test("that has two readings gets 400 and reaches nobody", async (t) => {
    const echo = await listening(t);
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1, "/", [["host", "b.com"]]), get(3, "/a b"), get(5, "/", [["te", "gzip"]]));
    for (const stream of [1, 3, 5]) {
      const end = await raw.until(
        (one) => one.stream === stream && (one.type === RST_STREAM || (one.flags & END_STREAM) !== 0),
      );
      const isReset = raw.frames.some((one) => one.type === RST_STREAM && one.stream === stream);
      assert.ok(end !== null || isReset);
    }
    raw.send(get(7));
    await raw.until((one) => one.type === DATA && one.stream === 7);
    assert.equal(echo.seen.length, 1);
    raw.socket.destroy();
  });
});

describe("time over HTTP/2", () => {
  const virtual = (): { deadlines: Deadlines; pass: (ms: number) => void } => {
    let now = 1000;
    const deadlines = new Deadlines(() => now, { sweeping: false });
    return {
      deadlines,
      pass: (ms) => {
        now += ms;
        deadlines.sweep();
      },
    };
  };

  test("ends an idle connection, with a GOAWAY", async (t) => {
    const { deadlines, pass } = virtual();
    const echo = await listening(t, { deadlines });
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1));
    await raw.until(({ type }) => type === DATA);
    await new Promise((resolve) => setImmediate(resolve));
    pass(59_000);
    assert.equal(
      raw.frames.some(({ type }) => type === GOAWAY),
      false,
    );
    pass(2000);
    assert.equal(await raw.goaway(), 0);
    await raw.closed();
    while (echo.count.active > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("refuses a body that comes too slowly, and its stream alone", async (t) => {
    const { deadlines, pass } = virtual();
    const echo = await listening(t, { deadlines });
    const session = client(t, echo);
    const slow = session.request({ ":method": "POST" });
    slow.on("error", () => undefined);
    const answer = answerOf(slow);
    slow.write("a");
    await get2(session);
    for (let i = 0; i < 61; i++) pass(1000);
    assert.equal((await answer).status, 408);
    assert.deepEqual(echo.aborts, ["timeout"]);
    assert.equal((await get2(session)).status, 200);
  });

  test("leaves a conversation alone as long as one side says something", async (t) => {
    const { deadlines, pass } = virtual();
    let transport!: ClientTransport;
    let received = 0;
    const aborts: string[] = [];
    const echo = await listening(t, {
      deadlines,
      http: { minBodyBytesPerSecond: 500, tunnelIdleTimeoutMs: 90_000 },
      onRequest: (given) => {
        transport = given;
        given.holdOpen();
        given.readBody();
        given.writeHead(200, "", new HeaderList(), UNKNOWN_LENGTH, null);
        return { ...SILENT, onBody: () => ++received > 0, onAbort: (reason) => aborts.push(reason) };
      },
    });
    const stream = client(t, echo).request({ ":method": "POST" });
    stream.on("error", () => undefined);
    stream.resume();
    for (let i = 1; i < 4; i++) {
      stream.write("a");
      while (received < i) await new Promise((resolve) => setImmediate(resolve));
      pass(80_000);
      transport.writeBody(Buffer.from("b"));
      pass(80_000);
    }
    assert.deepEqual(aborts, []);
    pass(11_000);
    assert.deepEqual(aborts, ["timeout"]);
  });

  test("resets an answer that nobody reads, whole or not", async (t) => {
    for (const isWhole of [true, false]) {
      const { deadlines, pass } = virtual();
      const aborts: string[] = [];
      const echo = await listening(t, {
        deadlines,
        onRequest: (transport) => {
          transport.writeHead(200, "", new HeaderList(), UNKNOWN_LENGTH, null);
          transport.writeBody(Buffer.alloc(200_000));
          if (isWhole) transport.writeEnd(null);
          return { ...SILENT, onAbort: (reason) => aborts.push(reason) };
        },
      });
      const raw = await FrameClient.open(echo.port);
      raw.send(get(1));
      await raw.until(({ type }) => type === DATA);
      await new Promise((resolve) => setImmediate(resolve));
      pass(61_000);
      pass(61_000);
      assert.notEqual(await raw.reset(1), null);
      assert.deepEqual(aborts, isWhole ? [] : ["timeout"]);
      raw.socket.destroy();
    }
  });
});

describe("the end of a connection over HTTP/2", () => {
  test("lets what runs finish and takes nothing more", async (t) => {
    let running!: ClientTransport;
    const echo = await listening(
      t,
      answering((transport) => (running = transport)),
    );
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1));
    while (running === undefined) await new Promise((resolve) => setImmediate(resolve));
    const drained = echo.listener.drain();
    assert.equal(await raw.goaway(), 0);
    running.writeAnswer(200, "", new HeaderList(), "late");
    assert.ok(await raw.until(({ type, payload }) => type === DATA && payload.toString() === "late"));
    await drained;
    assert.equal(echo.count.active, 0);
  });

  test("comes at once to who is idle", async (t) => {
    const echo = await listening(t);
    const session = client(t, echo);
    await get2(session);
    await echo.listener.drain();
    assert.equal(echo.count.active, 0);
  });

  test("comes after as many requests as one connection may carry", async (t) => {
    const echo = await listening(t, { http: { maxRequestsPerConnection: 3 } });
    const raw = await FrameClient.open(echo.port);
    raw.send(get(1), get(3), get(5));
    assert.equal(await raw.goaway(), 0);
    await raw.closed();
    assert.equal(echo.seen.length, 3);
  });
});

describe("floods over HTTP/2 end their connection and nothing else:", () => {
  /** Sends `parts` until the connection ends, `rounds` times at most; says with which code it did. */
  async function flood(
    t: TestContext,
    rounds: number,
    part: (round: number) => Buffer,
    options: EchoOptions = {},
  ): Promise<{ code: number | null; echo: EchoListener; rounds: number }> {
    const echo = await listening(t, options);
    const raw = await FrameClient.open(echo.port);
    let round = 0;
    for (; round < rounds && !raw.isClosed; round++) {
      raw.send(part(round));
      if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const code = await raw.goaway();
    await raw.closed();
    assert.equal((await get2(client(t, echo))).status, 200);
    return { code, echo, rounds: round };
  }

  /** What ends a connection is not that it has carried as many requests as it may. */
  const MANY_REQUESTS = { maxRequestsPerConnection: 1_000_000 };

  test("requests that are taken back at once", async (t) => {
    const { echo } = await flood(
      t,
      20_000,
      (i) => Buffer.concat([get(2 * i + 1), frame(RST_STREAM, 0, 2 * i + 1, word(8))]),
      { http: MANY_REQUESTS },
    );
    assert.ok(echo.seen.length < 1000, `${echo.seen.length} requests reached the exchange`);
  });

  test("requests that are broken by their sender's own frames", async (t) => {
    let begun = 0;
    await flood(
      t,
      20_000,
      (i) => Buffer.concat([get(2 * i + 1), frame(WINDOW_UPDATE, 0, 2 * i + 1, word(0))]),
      {
        onRequest: (transport) => {
          begun++;
          if (transport.connection.serial > 1) transport.writeAnswer(200, "", new HeaderList(), "");
          return SILENT;
        },
        http: MANY_REQUESTS,
      },
    );
    assert.ok(begun < 2000, `${begun} requests reached the exchange`);
  });

  for (const answers of [0, 1, 3000])
    test(`requests that are taken back once they have begun, after ${answers} that were answered`, async (t) => {
      let begun = 0;
      let answered = 0;
      const echo = await listening(t, {
        onRequest: (transport, { target }) => {
          if (target === "/answered") transport.writeAnswer(200, "", new HeaderList(), "");
          else begun++;
          return SILENT;
        },
        http: MANY_REQUESTS,
      });
      const raw = await FrameClient.open(echo.port);
      raw.socket.setNoDelay(true);
      raw.onFrame = ({ flags, type }) => {
        if (type === HEADERS && (flags & END_STREAM) !== 0) answered++;
      };
      let id = 1;
      for (; id < 2 * answers; id += 2) {
        raw.send(get(id, "/answered"));
        if (id % 64 === 63) while (2 * answered < id) await new Promise((resolve) => setImmediate(resolve));
      }
      while (answered < answers) await new Promise((resolve) => setImmediate(resolve));
      const startedAt = performance.now();
      while (!raw.isClosed && begun < 5000) {
        const before = begun;
        raw.send(get(id, "/waits"));
        while (begun === before && !raw.isClosed) await new Promise((resolve) => setImmediate(resolve));
        raw.send(frame(RST_STREAM, 0, id, word(8)));
        id += 2;
      }
      // 200 at once and 33 a second, and one for each answer, up to 1000; some are under way when it ends.
      const permitted = 200 + Math.min(answers, 1000);
      const later = ((performance.now() - startedAt) / 1000) * 33;
      assert.ok(begun > permitted && begun < permitted + later + 20, `${begun}, ${permitted} and ${later}`);
      assert.equal(await raw.goaway(), CALM);
    });

  test("but not requests that are taken back beside others that are answered", async (t) => {
    const echo = await listening(t, {
      onRequest: (transport, { target }) => {
        if (target === "/answered") transport.writeAnswer(403, "", new HeaderList(), "no");
        return SILENT;
      },
    });
    const raw = await FrameClient.open(echo.port);
    t.after(() => raw.socket.destroy());
    raw.socket.setNoDelay(true);
    let id = 1;
    for (let round = 0; round < 450; round++, id += 4) {
      // Who has its answer says that no more of the request follows, and that is a reset, too.
      raw.send(frame(HEADERS, END_HEADERS, id, block(pseudo("POST", "/answered"))), get(id + 2, "/waits"));
      await raw.until(({ stream, flags }) => stream === id && (flags & END_STREAM) !== 0);
      raw.send(frame(RST_STREAM, 0, id, word(0)), frame(RST_STREAM, 0, id + 2, word(8)));
      raw.frames.length = 0;
    }
    raw.send(get(id, "/answered"));
    const last = await raw.until(({ type, stream }) => type === GOAWAY || stream === id);
    assert.equal(last?.type, HEADERS);
  });

  test("pings", async (t) => {
    const { code } = await flood(t, 20_000, () => frame(PING, 0, 0, Buffer.alloc(8)));
    assert.equal(code, CALM);
  });

  test("but not pings that measure the path of an answer", async (t) => {
    const body = Buffer.alloc(8 * 1024 * 1024);
    const echo = await listening(
      t,
      answering((transport) => transport.writeAnswer(200, "", new HeaderList(), body)),
    );
    const raw = await FrameClient.open(echo.port);
    let pings = 0;
    let received = 0;
    raw.onFrame = ({ type, payload }) => {
      if (type !== DATA || payload.length === 0) return;
      pings++;
      received += payload.length;
      const more = word(payload.length);
      raw.send(
        frame(PING, 0, 0, Buffer.alloc(8)),
        frame(WINDOW_UPDATE, 0, 0, more),
        frame(WINDOW_UPDATE, 0, 1, more),
      );
    };
    raw.send(get(1));
    await raw.until(({ type, flags }) => type === GOAWAY || (type === DATA && (flags & END_STREAM) !== 0));
    assert.ok(pings > 300, `${pings} pings`);
    assert.equal(received, body.length);
    raw.socket.destroy();
  });

  test("settings", async (t) => {
    const { code } = await flood(t, 20_000, () => frame(SETTINGS, 0, 0));
    assert.equal(code, CALM);
  });

  test("empty frames of a body", async (t) => {
    await flood(t, 20_000, (i) =>
      i === 0 ? frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))) : frame(DATA, 0, 1),
    );
  });

  test("a header block without an end", async (t) => {
    await flood(t, 20_000, (i) =>
      i === 0
        ? frame(HEADERS, 0, 1, block(pseudo("GET", "/")))
        : frame(CONTINUATION, 0, 1, block([[`x-${i}`, "a".repeat(100)]])),
    );
  });

  test("more requests at the same time than were agreed", async (t) => {
    const running: ClientTransport[] = [];
    await flood(t, 2000, (i) => get(2 * i + 1), {
      onRequest: (transport) => {
        if (transport.connection.serial > 1) transport.writeAnswer(200, "", new HeaderList(), "");
        else running.push(transport);
        return SILENT;
      },
      http: { http2: { maxConcurrentStreams: 10 } },
    });
    assert.ok(running.length <= 10, `${running.length} ran`);
  });

  test("more requests at the same time from who does not acknowledge the settings", async (t) => {
    const running: ClientTransport[] = [];
    const echo = await listening(t, {
      ...answering((transport) => running.push(transport)),
      http: { http2: { maxConcurrentStreams: 10 } },
    });
    const raw = await FrameClient.openSilent(echo.port);
    for (let i = 0; i < 50; i++) raw.send(get(2 * i + 1));
    await raw.reset(99);
    assert.equal(running.length, 10);
    raw.socket.destroy();
  });

  test("a header list beyond the limit gets no further than its stream", async (t) => {
    const echo = await listening(t);
    const raw = await FrameClient.open(echo.port);
    const part = (name: string): Buffer => block([[name, "a".repeat(8000)]]);
    raw.send(
      frame(HEADERS, END_STREAM, 1, block(pseudo("GET", "/"))),
      ...["v", "w", "x", "y"].map((name) => frame(CONTINUATION, 0, 1, part(name))),
      frame(CONTINUATION, END_HEADERS, 1, part("z")),
    );
    assert.equal(await raw.reset(1), CALM);
    raw.send(get(3));
    await raw.until(({ type, stream }) => type === DATA && stream === 3);
    assert.equal(echo.seen.length, 1);
    raw.socket.destroy();
  });
});
