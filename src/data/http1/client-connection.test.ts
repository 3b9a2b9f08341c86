import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HeaderList } from "../../lib/headers.ts";
import { echoListener, type EchoListener, type EchoOptions } from "../../../test/shapes/echo-listener.ts";
import { WireClient } from "../../../test/shapes/wire-client.ts";
import type { ClientHandler, ClientTransport, RequestHead } from "../transport.ts";
import { UNKNOWN_LENGTH } from "../transport.ts";
import { InvalidFieldError } from "./errors.ts";

const NO_HEADERS = new HeaderList();
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** An exchange that does nothing by itself: tests drive its transport and look at what it was told. */
class Manual implements ClientHandler {
  readonly transport: ClientTransport;
  readonly head: RequestHead;
  readonly chunks: Buffer[] = [];
  readonly events: string[] = [];
  takes = true;
  #wake: (() => void) | null = null;

  constructor(transport: ClientTransport, head: RequestHead) {
    this.transport = transport;
    this.head = head;
  }

  get body(): string {
    return Buffer.concat(this.chunks).toString("latin1");
  }

  onBody(chunk: Buffer): boolean {
    this.chunks.push(chunk);
    this.#tell("body");
    return this.takes;
  }

  onEnd(): void {
    this.#tell("end");
  }

  onWritable(): void {
    this.#tell("writable");
  }

  onAbort(reason: string): void {
    this.#tell(`abort ${reason}`);
  }

  answer(text: string, status = 200): void {
    this.transport.writeAnswer(status, "", new HeaderList(), text);
  }

  async told(event: string): Promise<void> {
    while (!this.events.includes(event)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #tell(event: string): void {
    this.events.push(event);
    this.#wake?.();
  }
}

class Bench {
  readonly exchanges: Manual[] = [];
  echo!: EchoListener;
  #wake: (() => void) | null = null;

  static async open(options: EchoOptions = {}, onBegin?: (exchange: Manual) => void): Promise<Bench> {
    const bench = new Bench();
    bench.echo = await echoListener({
      ...options,
      onRequest: (transport, head) => {
        const exchange = new Manual(transport, head);
        bench.exchanges.push(exchange);
        onBegin?.(exchange);
        bench.#wake?.();
        return exchange;
      },
    });
    return bench;
  }

  async exchange(index: number): Promise<Manual> {
    while (this.exchanges.length <= index) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.exchanges[index];
  }

  client(): Promise<WireClient> {
    return WireClient.open(this.echo.port);
  }

  close(): void {
    this.echo.listener.close();
    this.echo.deadlines.close();
  }
}

/** Runs `body` with a bench that is closed whatever happens. */
async function withBench(
  body: (bench: Bench, client: WireClient) => Promise<void>,
  options: EchoOptions = {},
  onBegin?: (exchange: Manual) => void,
): Promise<void> {
  const bench = await Bench.open(options, onBegin);
  const client = await bench.client();
  try {
    await body(bench, client);
  } finally {
    client.close();
    bench.close();
  }
}

describe("order and life of a connection", () => {
  test("pipelined requests are answered in order, the next one begins when the exchange before is over", () =>
    withBench(async (bench, client) => {
      client.send(GET + GET.replace("/", "/2") + GET.replace("/", "/3"));
      const first = await bench.exchange(0);
      assert.equal(bench.exchanges.length, 1);
      first.answer("one");
      assert.equal(bench.exchanges.length, 1, "the first exchange may still have to end");
      (await bench.exchange(1)).answer("two");
      (await bench.exchange(2)).answer("three");
      assert.equal((await client.answer())?.body, "one");
      assert.equal((await client.answer())?.body, "two");
      assert.equal((await client.answer())?.body, "three");
      assert.equal(bench.exchanges[2].transport.connection.requests, 3);
    }));

  test("what a client sends far ahead of its turn stops the reading, and nothing of it is lost", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const first = await bench.exchange(0);
      const ahead = `POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n`;
      client.send(ahead);
      client.send(Buffer.alloc(8_000_000, "x"));
      first.answer("one");
      const second = await bench.exchange(1);
      // More than we hold and the kernel buffers: it can only be complete if reading stopped and goes on.
      second.transport.readBody();
      await second.told("end");
      assert.equal(second.body.length, 8_000_000);
      second.answer("two");
      assert.equal((await client.answer())?.body, "one");
      assert.equal((await client.answer())?.body, "two");
    }));

  test("an empty line that comes alone is told apart from what the read buffer held before", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
      const first = await bench.exchange(0);
      first.transport.readBody();
      client.send("xx\r\n\r\n");
      await first.told("end");
      first.answer("one");
      assert.equal((await client.answer())?.body, "one");
      client.send("\r\n");
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      client.send(GET);
      (await bench.exchange(1)).answer("two");
      assert.equal((await client.answer())?.body, "two");
    }));

  test("Connection: close ends the connection after the answer, on both sides", () =>
    withBench(async (bench, client) => {
      client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      (await bench.exchange(0)).answer("bye");
      const text = await client.rest();
      assert.match(text, /\r\nConnection: close\r\n\r\nbye$/);
    }));

  test("HTTP/1.0 keeps the connection only if asked to", () =>
    withBench(async (bench, client) => {
      client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
      (await bench.exchange(0)).answer("one");
      assert.match((await client.answer())!.head, /\r\nConnection: keep-alive/);
      client.send("GET / HTTP/1.0\r\n\r\n");
      (await bench.exchange(1)).answer("two");
      assert.match(await client.rest(), /\r\nConnection: close\r\n\r\ntwo$/);
    }));

  test("the last permitted request of a connection gets Connection: close", () =>
    withBench(
      async (bench, client) => {
        client.send(GET + GET + GET);
        (await bench.exchange(0)).answer("one");
        (await bench.exchange(1)).answer("two");
        assert.match((await client.answer())!.head, /keep-alive/);
        assert.match((await client.answer())!.head, /Connection: close/);
        assert.equal(await client.rest(), "");
        assert.equal(bench.exchanges.length, 2);
      },
      { http: { maxRequestsPerConnection: 2 } },
    ));

  test("a client that shut down its sending side still gets its answer", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      client.socket.end();
      const exchange = await bench.exchange(0);
      await new Promise((resolve) => setImmediate(resolve));
      exchange.answer("late");
      const text = await client.rest();
      assert.match(text, /\r\n\r\nlate$/);
      assert.deepEqual(exchange.events, []);
    }));

  test("half a request followed by the end is dropped, and the exchange is told", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
      const exchange = await bench.exchange(0);
      exchange.transport.readBody();
      client.socket.end();
      await exchange.told("abort closed");
      assert.equal(await client.rest(), "");
    }));

  test("a client that resets the connection aborts the exchange, once", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const exchange = await bench.exchange(0);
      client.socket.resetAndDestroy();
      await exchange.told("abort closed");
      exchange.answer("nobody reads this");
      exchange.transport.abort();
      assert.deepEqual(exchange.events, ["abort closed"]);
    }));

  test("a throwing request listener gives a 500 and a fault", () =>
    withBench(
      async (bench, client) => {
        client.send(GET);
        assert.equal((await client.answer())?.status, 500);
        assert.deepEqual(bench.echo.refused, ["fault: Error: boom"]);
      },
      {},
      () => {
        throw new Error("boom");
      },
    ));

  test("an exchange that throws while it takes the body ends alone", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
      const exchange = await bench.exchange(0);
      exchange.onBody = () => {
        throw new Error("boom");
      };
      exchange.transport.readBody();
      client.send("hi");
      assert.equal((await client.answer())?.status, 500);
      await exchange.told("abort closed");
      assert.deepEqual(bench.echo.refused, ["fault: Error: boom"]);
    }));

  test("drain ends busy connections after their answer, and idle ones that bring no request soon", () =>
    withBench(async (bench, idle) => {
      idle.send(GET);
      (await bench.exchange(0)).answer("x");
      await idle.answer();
      const busy = await bench.client();
      busy.send(GET);
      const exchange = await bench.exchange(1);
      const drained = bench.echo.listener.drain();
      exchange.answer("last");
      assert.match(await busy.rest(), /\r\nConnection: close\r\n\r\nlast$/);
      assert.equal(await idle.rest(), "");
      busy.close();
      idle.close();
      await drained;
      assert.equal(bench.echo.count.active, 0);
    }));

  test("a request that meets the drain of its idle connection is answered, as the last", () =>
    withBench(async (bench, idle) => {
      idle.send(GET);
      (await bench.exchange(0)).answer("x");
      await idle.answer();
      const drained = bench.echo.listener.drain();
      idle.send(GET);
      (await bench.exchange(1)).answer("on its way");
      assert.match(await idle.rest(), /\r\nConnection: close\r\n\r\non its way$/);
      idle.close();
      await drained;
    }));

  test("connections over the cap are turned away", () =>
    withBench(
      async (bench, client) => {
        client.send(GET);
        await bench.exchange(0);
        const second = await bench.client();
        assert.equal(await second.rest(), "");
        assert.deepEqual(bench.echo.refused, ["over-limit"]);
        second.close();
      },
      { http: { maxConnectionsPerWorker: 1 } },
    ));
});

describe("request bodies", () => {
  test("100 Continue is sent when the body is wanted, not before", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
      const exchange = await bench.exchange(0);
      assert.ok(exchange.head.expectsContinue);
      assert.equal(client.received, "");
      exchange.transport.readBody();
      await client.until((text) => text === "HTTP/1.1 100 Continue\r\n\r\n");
      client.received = "";
      client.send("hi");
      await exchange.told("end");
      exchange.answer("ok");
      assert.match((await client.answer())!.head, /keep-alive/);
    }));

  test("an answer without the 100 that was waited for closes: the body may or may not come", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
      (await bench.exchange(0)).answer("no", 403);
      const text = await client.rest();
      assert.match(text, /^HTTP\/1\.1 403 Forbidden\r\n/);
      assert.match(text, /Connection: close/);
    }));

  test("back-pressure: a consumer that says stop gets no more until it resumes", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
      const exchange = await bench.exchange(0);
      exchange.takes = false;
      exchange.transport.readBody();
      client.send(Buffer.alloc(3_000_000, "b"));
      await exchange.told("body");
      const { length } = exchange.chunks;
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(exchange.chunks.length, length);
      exchange.takes = true;
      exchange.transport.resumeBody();
      await exchange.told("end");
      assert.equal(exchange.body.length, 3_000_000);
    }));

  for (const framing of ["length", "chunked"] as const) {
    test(`an early answer: a short rest of a body by ${framing} is drained and the connection lives on`, () =>
      withBench(async (bench, client) => {
        const field = framing === "length" ? "Content-Length: 10" : "Transfer-Encoding: chunked";
        client.send(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`);
        const exchange = await bench.exchange(0);
        if (framing === "chunked") exchange.transport.readBody();
        exchange.answer("early");
        assert.equal((await client.answer())?.body, "early");
        client.send(framing === "length" ? "0123456789" : "a\r\n0123456789\r\n0\r\n\r\n");
        client.send(GET);
        (await bench.exchange(1)).answer("next");
        assert.equal((await client.answer())?.body, "next");
        assert.deepEqual(exchange.events, []);
      }));
  }

  test("an early answer to a long body closes the connection, and the client can read it", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
      (await bench.exchange(0)).answer("early", 413);
      client.send(Buffer.alloc(400_000, "x"));
      const text = await client.rest();
      assert.match(text, /^HTTP\/1\.1 413 /);
      assert.match(text, /early$/);
    }));

  test("an endless chunked body behind an early answer is cut off", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
      (await bench.exchange(0)).answer("early");
      const chunk = Buffer.from(`10000\r\n${"x".repeat(65_536)}\r\n`);
      for (let i = 0; i < 64 && !client.hasEnded; i++) client.send(chunk);
      assert.match(await client.rest(), /early$/);
      assert.equal(bench.exchanges.length, 1);
    }));

  test("a body that breaks its framing is answered with 400 and aborts the exchange", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
      const exchange = await bench.exchange(0);
      exchange.transport.readBody();
      client.send("zz\r\n");
      await exchange.told("abort malformed");
      assert.match(await client.rest(), /^HTTP\/1\.1 400 [^]*malformed chunk size/);
    }));

  test("a body that breaks its framing after the answer's head breaks off the answer", () =>
    withBench(async (bench, client) => {
      client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
      const exchange = await bench.exchange(0);
      exchange.transport.readBody();
      exchange.transport.writeHead(200, "OK", NO_HEADERS, UNKNOWN_LENGTH, null);
      await client.until((text) => text.includes("\r\n\r\n"));
      client.send("zz\r\n");
      await exchange.told("abort malformed");
      assert.doesNotMatch(await client.rest(), /0\r\n\r\n$/);
    }));

  test("limits: a long body is refused before any exchange, a chunked one when it gets too long", () =>
    withBench(
      async (bench, client) => {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        const exchange = await bench.exchange(0);
        exchange.transport.readBody();
        client.send("8\r\n01234567\r\n8\r\n01234567\r\n");
        await exchange.told("abort too-large");
        assert.match(await client.rest(), /^HTTP\/1\.1 413 /);
        const second = await bench.client();
        second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
        assert.equal((await second.answer())?.status, 413);
        assert.equal(bench.exchanges.length, 1);
        second.close();
      },
      { http: { maxBodyBytes: 10 } },
    ));
});

describe("answers", () => {
  test("framing follows the body length, the method, the status and the version", () =>
    withBench(async (bench, client) => {
      const rows: [request: string, status: number, length: number, keep: number | null, expected: RegExp][] =
        [
          [GET, 200, 3, null, /\r\nContent-Length: 3\r\n[^]*\r\n\r\nabc$/],
          [
            GET,
            200,
            UNKNOWN_LENGTH,
            null,
            /\r\nTransfer-Encoding: chunked\r\n[^]*\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/,
          ],
          [GET, 204, UNKNOWN_LENGTH, null, /^((?!Content-Length|Transfer-Encoding)[^])*\r\n\r\n$/],
          [GET, 304, UNKNOWN_LENGTH, 77, /\r\nContent-Length: 77\r\n[^]*\r\n\r\n$/],
          [GET.replace("GET", "HEAD"), 200, UNKNOWN_LENGTH, 99, /\r\nContent-Length: 99\r\n[^]*\r\n\r\n$/],
          [GET.replace("GET", "HEAD"), 200, 3, null, /^((?!Content-Length|Transfer-Encoding)[^])*\r\n\r\n$/],
          [
            "GET / HTTP/1.0\r\n\r\n",
            200,
            UNKNOWN_LENGTH,
            null,
            /^((?!Transfer-Encoding)[^])*Connection: close\r\n\r\nabc$/,
          ],
        ];
      for (const [index, [request, status, length, keep, expected]] of rows.entries()) {
        client.received = "";
        client.send(request);
        const { transport } = await bench.exchange(index);
        transport.writeHead(status, "", NO_HEADERS, length, keep);
        transport.writeBody(Buffer.from("abc"));
        transport.writeEnd(null);
        await client.until((text) => expected.test(text));
        assert.match(client.received, expected);
      }
    }));

  test("trailers go out behind the last chunk", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const { transport } = await bench.exchange(0);
      transport.writeHead(200, "", NO_HEADERS, UNKNOWN_LENGTH, null);
      transport.writeEnd(HeaderList.from({ "X-Sum": "1" }));
      await client.until((text) => text.endsWith("\r\n0\r\nX-Sum: 1\r\n\r\n"));
    }));

  test("informational answers come before the final one", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const exchange = await bench.exchange(0);
      exchange.transport.writeInformational(103, HeaderList.from({ Link: "</a>" }));
      exchange.answer("x");
      assert.equal((await client.answer())?.head, "HTTP/1.1 103 Early Hints\r\nLink: </a>");
      assert.equal((await client.answer())?.status, 200);
    }));

  for (const size of [1, 1000, 2048, 2049, 20_000, 70_000, 1_000_000]) {
    test(`bytes of ${size} arrive as they were, counted exactly`, () =>
      withBench(async (bench, client) => {
        const body = Buffer.alloc(size);
        for (let i = 0; i < size; i++) body[i] = i * 7;
        client.send(GET + GET);
        for (let i = 0; i < 2; i++) {
          const { transport } = await bench.exchange(i);
          transport.writeHead(200, "", NO_HEADERS, size, null);
          transport.writeBody(body);
          transport.writeEnd(null);
          assert.equal(transport.bodyBytesSent, size);
          const answer = await client.answer();
          assert.ok(Buffer.from(answer!.body, "latin1").equals(body));
          assert.equal(transport.bytesSent, size + answer!.head.length + 4);
        }
      }));
  }

  test("a slow reader makes writeBody answer false, and onWritable follows", () =>
    withBench(async (bench, client) => {
      client.socket.pause();
      client.send(GET);
      const exchange = await bench.exchange(0);
      const chunk = Buffer.alloc(65_536, "z");
      const total = 400;
      exchange.transport.writeHead(200, "", NO_HEADERS, total * chunk.length, null);
      let written = 0;
      let waits = 0;
      client.socket.resume();
      while (written < total) {
        written++;
        if (exchange.transport.writeBody(chunk)) continue;
        waits++;
        exchange.events.length = 0;
        await exchange.told("writable");
      }
      exchange.transport.writeEnd(null);
      assert.ok(waits > 0);
      const answer = await client.answer();
      assert.equal(answer?.body.length, total * chunk.length);
    }));

  test("an aborted answer is not mistaken for a whole one", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const { transport } = await bench.exchange(0);
      transport.writeHead(200, "", NO_HEADERS, UNKNOWN_LENGTH, null);
      transport.writeBody(Buffer.from("part"));
      await client.until((text) => text.includes("part"));
      transport.abort();
      transport.abort();
      assert.doesNotMatch(await client.rest(), /0\r\n\r\n$/);
    }));

  test("breaking off one answer does not take back the one before", () =>
    withBench(
      async (_bench, client) => {
        client.send(GET + GET);
        assert.equal((await client.answer())?.body, "one");
        assert.equal(await client.rest(), "");
      },
      {},
      (exchange) => {
        if (exchange.transport.connection.requests === 1) exchange.answer("one");
        else exchange.transport.abort();
      },
    ));

  test("fewer and more bytes than announced break the connection off", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const first = (await bench.exchange(0)).transport;
      first.writeHead(200, "", NO_HEADERS, 5, null);
      first.writeBody(Buffer.from("abc"));
      first.writeEnd(null);
      assert.doesNotMatch(await client.rest(), /abc./);
      const second = await bench.client();
      second.send(GET);
      const { transport } = await bench.exchange(1);
      transport.writeHead(200, "", NO_HEADERS, 2, null);
      transport.writeBody(Buffer.from("abcdef"));
      assert.doesNotMatch(await second.rest(), /abc/);
      second.close();
    }));

  test("a field that would break the head throws, and another answer can be given", () =>
    withBench(async (bench, client) => {
      client.send(GET);
      const exchange = await bench.exchange(0);
      const evil = HeaderList.from({ X: "a\r\nSet-Cookie: b" });
      assert.throws(() => exchange.transport.writeHead(200, "", evil, 0, null), InvalidFieldError);
      exchange.answer("saved", 500);
      const answer = await client.answer();
      assert.equal(answer?.status, 500);
      assert.doesNotMatch(answer.head, /Set-Cookie/);
    }));

  test("an upgrade hands over the socket with what was read beyond the head", () =>
    withBench(
      async (bench, client) => {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
        const exchange = await bench.exchange(0);
        await client.until((text) => text.includes("EARLY"));
        assert.match(
          client.received,
          /^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n/i,
        );
        client.send("more");
        await client.until((text) => text.endsWith("MORE"));
        client.socket.end();
        await client.rest();
        assert.deepEqual(exchange.events, []);
        assert.equal(bench.echo.count.active, 0);
      },
      {},
      ({ transport }) => {
        transport.writeHead(101, "", HeaderList.from({ Upgrade: "websocket" }), 0, null);
        const { socket, rest } = transport.takeSocket();
        socket.write(rest.toString("latin1").toUpperCase());
        socket.on("data", (chunk: Buffer) => socket.write(chunk.toString("latin1").toUpperCase()));
        socket.on("end", () => socket.end());
        socket.on("error", () => undefined);
      },
    ));
});

for (const [framing, field, frame] of [
  ["a length", (body: string) => `Content-Length: ${body.length}`, (body: string) => body],
  [
    "chunks",
    () => "Transfer-Encoding: chunked",
    (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  ],
] as const) {
  test(`a body with ${framing}, wanted and answered before the listener returns, is no request`, async () => {
    await withBench(
      async (bench, client) => {
        const body = GET.replace("/", "/within");
        client.send(`POST / HTTP/1.1\r\nHost: a\r\n${field(body)}\r\n\r\n${frame(body)}`);
        client.send(GET.replace("/", "/next"));
        assert.equal((await client.answer())?.status, 200);
        assert.equal((await client.answer())?.status, 200);
        assert.deepEqual(
          bench.exchanges.map(({ head }) => head.target),
          ["/", "/next"],
        );
      },
      {},
      (exchange) => {
        exchange.transport.readBody();
        exchange.answer("early");
      },
    );
  });
}
