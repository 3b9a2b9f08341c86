/** Clients of HTTP/2 that hold what they have for ever: windows that stay shut, ends that never come, sockets nobody reads. */

import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { type EchoListener, echoListener, type EchoOptions } from "../../../test/shapes/echo-listener.ts";
import { HeaderList } from "../../lib/headers.ts";
import { Deadlines } from "../deadlines.ts";
import type { ClientHandler, ClientTransport } from "../transport.ts";
import { eventually } from "../wire-test-kit.ts";
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  FrameClient,
  get,
  HEADERS,
  PING,
  pseudo,
  SETTINGS,
  WINDOW_UPDATE,
  word,
} from "./frame-client.ts";

const SILENT: ClientHandler = {
  onBody: () => true,
  onEnd: () => undefined,
  onWritable: () => undefined,
  onAbort: () => undefined,
};

/** SETTINGS_INITIAL_WINDOW_SIZE. */
function windowOf(bytes: number): Buffer {
  return frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), word(bytes)]));
}

interface Stage {
  echo: EchoListener;
  raw: FrameClient;
  /** Milliseconds go by, by the second. */
  pass: (ms: number) => Promise<void>;
}

async function stage(t: TestContext, options: EchoOptions = {}): Promise<Stage> {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const echo = await echoListener({ ...options, deadlines });
  const raw = await FrameClient.open(echo.port);
  t.after(() => {
    raw.socket.destroy();
    echo.listener.close();
  });
  const pass = async (ms: number): Promise<void> => {
    for (const end = now + ms; now < end;) {
      now += 1000;
      deadlines.sweep();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { echo, raw, pass };
}

describe("a body in frames of a byte each", () => {
  const content = Array.from({ length: 20_000 }, (_, i) => String(i % 10)).join("");

  for (const isRead of [false, true]) {
    test(`waits in few parts while ${isRead ? "its reader is busy" : "nobody reads it"}`, async (t) => {
      let transport!: ClientTransport;
      const parts: Buffer[] = [];
      const ended = Promise.withResolvers<void>();
      const { raw } = await stage(t, {
        onRequest: (given) => {
          transport = given;
          if (isRead) given.readBody();
          const onBody = (chunk: Buffer): boolean => parts.push(chunk) > 1;
          return { ...SILENT, onBody, onEnd: () => ended.resolve() };
        },
      });
      raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))));
      for (const byte of content) raw.send(frame(DATA, 0, 1, Buffer.from(byte)));
      raw.send(frame(DATA, END_STREAM, 1), frame(PING, 0, 0, Buffer.alloc(8)));
      await raw.until(({ type }) => type === PING);
      if (isRead) transport.resumeBody();
      else transport.readBody();
      // The first part was busy work.
      await eventually(() => parts.length > 0);
      transport.resumeBody();
      await ended.promise;
      assert.equal(Buffer.concat(parts).toString(), content);
      assert.ok(parts.length < 200, `${parts.length} parts`);
    });
  }
});

describe("a client of HTTP/2 cannot keep a connection", () => {
  test("by not taking what is said to a request that was refused", async (t) => {
    const { echo, raw, pass } = await stage(t);
    raw.send(
      windowOf(0),
      get(1, "/", [["host", "b.com"]]),
      frame(HEADERS, END_HEADERS, 3, block([...pseudo("POST", "/"), ["host", "b.com"]])),
    );
    await eventually(() => echo.refused.length === 2);
    await pass(62_000);
    assert.notEqual(await raw.reset(1), null);
    assert.notEqual(await raw.reset(3), null);
    await pass(70_000);
    await raw.closed();
    await eventually(() => echo.count.active === 0);
  });

  test("by not ending a request without a body", async (t) => {
    const { echo, raw, pass } = await stage(t);
    raw.send(frame(HEADERS, END_HEADERS, 1, block([...pseudo("GET", "/"), ["content-length", "0"]])));
    await raw.until(({ type, flags }) => type === DATA && (flags & END_STREAM) !== 0);
    assert.equal(await raw.reset(1), 0);
    await pass(70_000);
    await raw.closed();
    await eventually(() => echo.count.active === 0);
  });

  test("by not reading its socket", async (t) => {
    const small: ClientTransport[] = [];
    const large: ClientTransport[] = [];
    const { echo, raw, pass } = await stage(t, {
      onRequest: (transport, { target }) => {
        (target === "/small" ? small : large).push(transport);
        return SILENT;
      },
    });
    raw.send(windowOf(0x7fff_ffff), frame(WINDOW_UPDATE, 0, 0, word(0x7fff_0000)));
    for (let stream = 1; stream < 20; stream += 2) raw.send(get(stream, "/small"));
    raw.send(get(21, "/large"));
    await eventually(() => large.length === 1);
    raw.socket.pause();
    large[0].writeAnswer(200, "", new HeaderList(), Buffer.alloc(64 * 1024 * 1024));
    // By then the socket is full.
    for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve));
    for (const transport of small) transport.writeAnswer(204, "", new HeaderList(), "");
    await pass(200_000);
    assert.equal(echo.count.active, 0);
  });
});

test("a client that reads slowly, but reads, gets all of many answers", async (t) => {
  const count = 60;
  const chunk = Buffer.alloc(64 * 1024);
  const chunks = 16;
  const aborts: string[] = [];
  const { raw, pass } = await stage(t, {
    http: { sendTimeoutMs: 10_000 },
    onRequest: (transport) => {
      let left = chunks;
      const write = (): void => {
        while (left-- > 0) if (!transport.writeBody(chunk)) return;
        transport.writeEnd(null);
      };
      transport.writeHead(200, "", new HeaderList(), chunks * chunk.length, null);
      write();
      return { ...SILENT, onWritable: write, onAbort: (reason) => aborts.push(reason) };
    },
  });
  const { socket } = raw;
  socket.on("data", () => socket.pause());
  raw.send(windowOf(0x7fff_ffff), frame(WINDOW_UPDATE, 0, 0, word(0x7fff_0000)));
  for (let i = 0; i < count; i++) raw.send(get(2 * i + 1));
  const bytes = count * chunks * chunk.length;
  while (socket.bytesRead < bytes && !raw.isClosed && aborts.length === 0) {
    // Some 256 KB a second.
    for (let read = 0; read < 4 && socket.bytesRead < bytes; read++) {
      const before = socket.bytesRead;
      socket.resume();
      await eventually(() => socket.bytesRead > before || raw.isClosed);
    }
    await pass(1000);
  }
  assert.deepEqual(aborts, []);
  assert.ok(socket.bytesRead >= bytes);
});
