/** Deadlines of client connections, on a virtual clock: nothing here waits for real time. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { echoListener, type EchoListener } from "../../../test/shapes/echo-listener.ts";
import { WireClient } from "../../../test/shapes/wire-client.ts";
import { Deadlines } from "../deadlines.ts";
import type { ClientHandler, ClientTransport } from "../transport.ts";
import { HeaderList } from "../../lib/headers.ts";
import { UNKNOWN_LENGTH } from "../transport.ts";

class Clock {
  nowMs = 0;
  readonly deadlines = new Deadlines(() => this.nowMs, { sweeping: false });

  pass(ms: number): void {
    this.nowMs += ms;
    this.deadlines.sweep();
  }
}

interface Scene {
  clock: Clock;
  echo: EchoListener;
  client: WireClient;
}

async function scene(
  body: (scene: Scene) => Promise<void>,
  onRequest?: (transport: ClientTransport) => ClientHandler,
): Promise<void> {
  const clock = new Clock();
  const echo = await echoListener({
    deadlines: clock.deadlines,
    http: {
      minBodyBytesPerSecond: 10,
      bodyTimeoutMs: 5000,
      headerTimeoutMs: 10_000,
      idleTimeoutMs: 60_000,
      sendTimeoutMs: 20_000,
    },
    ...(onRequest === undefined ? {} : { onRequest }),
  });
  const client = await WireClient.open(echo.port);
  try {
    await body({ clock, echo, client });
  } finally {
    client.close();
    echo.listener.close();
    clock.deadlines.close();
  }
}

/** Sends and waits until the listener has read it: a second connection made afterwards was served. */
async function sent({ echo, client }: Scene, text: string): Promise<void> {
  client.send(text);
  const probe = await WireClient.open(echo.port);
  probe.send("GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  await probe.rest();
  probe.close();
}

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

describe("P6: slow clients", () => {
  test("a head that has begun and does not end gets a 408, however often bytes come", () =>
    scene(async (at) => {
      await sent(at, "GET / HTTP/1.1\r\n");
      at.clock.pass(9000);
      await sent(at, "X: 1\r\n");
      at.clock.pass(999);
      assert.equal(at.client.hasEnded, false);
      at.clock.pass(1);
      const text = await at.client.rest();
      assert.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n[^]*Connection: close/);
      assert.deepEqual(at.echo.refused, ["head-timeout"]);
    }));

  test("a connection without a request is closed silently when it is idle too long", () =>
    scene(async (at) => {
      at.client.send(GET);
      assert.equal((await at.client.answer())?.status, 200);
      at.clock.pass(59_999);
      at.client.send(GET);
      assert.equal((await at.client.answer())?.status, 200);
      at.clock.pass(60_000);
      assert.equal(await at.client.rest(), "");
    }));

  for (const [waitedMs, received] of [
    [999, /^HTTP\/1\.1 200 [^]*\r\nConnection: close\r\n/],
    [1000, /^$/],
  ] as const) {
    test(`P3: an idle connection whose worker drains may still bring a request for a second: after ${waitedMs} ms`, () =>
      scene(async (at) => {
        at.client.send(GET);
        assert.equal((await at.client.answer())?.status, 200);
        const drained = at.echo.listener.drain();
        at.clock.pass(waitedMs);
        if (waitedMs < 1000) at.client.send(GET);
        assert.match(await at.client.rest(), received);
        at.client.close();
        await drained;
      }));
  }

  test("a body that stops coming gets a 408, and the exchange is told", () =>
    scene(async (at) => {
      await sent(at, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
      at.clock.pass(5000);
      assert.match(await at.client.rest(), /^HTTP\/1\.1 408 /);
      assert.deepEqual(at.echo.aborts, ["timeout"]);
    }));

  test("a body below the minimum rate is cut off although bytes keep coming", () =>
    scene(async (at) => {
      await sent(at, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
      for (let second = 0; second < 4; second++) {
        at.clock.pass(1000);
        await sent(at, "x");
      }
      assert.equal(at.client.hasEnded, false);
      at.clock.pass(1000);
      assert.match(await at.client.rest(), /^HTTP\/1\.1 408 /);
    }));

  test("a body above the minimum rate may take as long as it likes", () =>
    scene(async (at) => {
      await sent(at, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n");
      for (let second = 0; second < 30; second++) {
        at.clock.pass(1000);
        await sent(at, "x".repeat(20));
      }
      assert.equal((await at.client.answer())?.status, 200);
    }));

  test("time in which the exchange takes no body does not count against the client", async () => {
    const transports: ClientTransport[] = [];
    const aborts: string[] = [];
    const handler: ClientHandler = {
      onBody: () => false,
      onEnd: () => undefined,
      onWritable: () => undefined,
      onAbort: (reason) => aborts.push(reason),
    };
    await scene(
      async ({ clock, client }) => {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
        await begun(transports);
        clock.pass(3_600_000);
        transports[0].writeAnswer(200, "", new HeaderList(), "fine");
        assert.equal((await client.answer())?.status, 200);
        assert.deepEqual(aborts, []);
      },
      (transport) => {
        transports.push(transport);
        transport.readBody();
        return handler;
      },
    );
  });

  test("a client that does not read its answer is cut off", async () => {
    const transports: ClientTransport[] = [];
    let aborted: (reason: string) => void;
    const abort = new Promise<string>((resolve) => {
      aborted = resolve;
    });
    const handler: ClientHandler = {
      onBody: () => true,
      onEnd: () => undefined,
      onWritable: () => undefined,
      onAbort: (reason) => aborted(reason),
    };
    await scene(
      async ({ clock, client }) => {
        client.socket.pause();
        client.send(GET);
        await begun(transports);
        const [transport] = transports;
        transport.writeHead(200, "", new HeaderList(), UNKNOWN_LENGTH, null);
        // 64 MB are more than the kernel takes for a client that does not read.
        for (let i = 0; i < 64; i++) transport.writeBody(Buffer.alloc(1024 * 1024));
        clock.pass(19_999);
        clock.pass(20_001);
        clock.pass(20_001);
        assert.equal(await abort, "timeout");
      },
      (transport) => {
        transports.push(transport);
        return handler;
      },
    );
  });

  test("after the last answer a client that does not close is closed", () =>
    scene(async (at) => {
      at.client.send("BAD\r\n\r\n");
      const text = await at.client.rest();
      assert.match(text, /^HTTP\/1\.1 400 /);
      at.clock.pass(5000);
      const { active } = at.echo.count;
      assert.ok(active <= 1);
      await closedAll(at.echo);
    }));
});

async function begun(transports: ClientTransport[]): Promise<void> {
  while (transports.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

async function closedAll(echo: EchoListener): Promise<void> {
  while (echo.count.active > 0) await new Promise((resolve) => setImmediate(resolve));
}
