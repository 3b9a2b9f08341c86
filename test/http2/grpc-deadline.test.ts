/**
 * How calls of gRPC end that the gateway ends: when the time is over that their client gave them, and when their server is gone.
 * The clients here have no clock of their own.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import {
  connect,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { request as request1, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readGrpcTimeout } from "../../src/lib/grpc-timeout.ts";
import { definePlugin, Type } from "../../src/plugin/index.ts";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";

interface Origin {
  port: number;
  asked: IncomingHttpHeaders[];
  streams: ServerHttp2Stream[];
}

/** Takes calls, and leaves it to the test what becomes of them. */
async function origin(t: TestContext): Promise<Origin> {
  const asked: IncomingHttpHeaders[] = [];
  const streams: ServerHttp2Stream[] = [];
  const server = createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    stream.resume();
    asked.push(headers);
    streams.push(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const { session } of streams) session?.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked, streams };
}

async function gateway(t: TestContext, port: number, plugins: object = {}): Promise<Wired> {
  const waits = definePlugin({
    name: "waits",
    version: "1",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({
      async access() {
        await sleep(20);
      },
    }),
  });
  const upstream = { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 } };
  return await wired(t, { routes: [{ uri: "/*", plugins, upstream }], plugins: [waits] });
}

interface Answer {
  status: number;
  headers: Record<string, unknown>;
  trailers: Record<string, unknown>;
  body: string;
  /** Code of the reset; 0: none. */
  code: number;
}

/** Begins a call; the answer is complete when the stream has closed. */
function call(t: TestContext, port: number, fields: OutgoingHttpHeaders = {}): Promise<Answer> {
  const session = connect(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  const stream = session.request({
    ":method": "POST",
    ":path": "/test.Slow/Call",
    "content-type": "application/grpc",
    te: "trailers",
    ...fields,
  });
  stream.on("error", () => undefined);
  const answer: Answer = { status: 0, headers: {}, trailers: {}, body: "", code: 0 };
  stream.on("response", (headers) => {
    answer.status = headers[":status"]!;
    answer.headers = headers;
  });
  stream.on("trailers", (trailers) => (answer.trailers = trailers));
  stream.on("data", (chunk: Buffer) => (answer.body += chunk.toString("latin1")));
  stream.end();
  return new Promise((resolve) =>
    stream.on("close", () => {
      answer.code = stream.rstCode!;
      resolve(answer);
    }),
  );
}

const MESSAGE = "\0\0\0\0\x02hi";

function begin(stream: ServerHttp2Stream, body: string): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" });
  stream.write(body, "latin1");
}

describe("a call whose time is over", () => {
  test("ends with DEADLINE_EXCEEDED, at its server, too", async (t) => {
    const { port, streams } = await origin(t);
    const gate = await gateway(t, port);
    const { status, headers } = await call(t, gate.port, { "grpc-timeout": "300m" });
    assert.equal(status, 200);
    assert.equal(headers["grpc-status"], "4");
    assert.equal(headers["grpc-message"], "deadline exceeded");
    await eventually(() => streams.every(({ destroyed }) => destroyed) && gate.inFlight() === 0);
    assert.equal(gate.ended[0].response.status, 504);
  });

  test("says so behind what it has got of its answer", async (t) => {
    const { port, streams } = await origin(t);
    const gate = await gateway(t, port);
    const answering = call(t, gate.port, { "grpc-timeout": "1S" });
    await eventually(() => streams.length === 1);
    begin(streams[0], MESSAGE);
    const { body, trailers, code } = await answering;
    assert.equal(body, MESSAGE);
    assert.equal(trailers["grpc-status"], "4");
    assert.equal(code, 0);
    await eventually(() => streams[0].destroyed && gate.inFlight() === 0);
  });

  test("does not reach a server when plugins have used it up", async (t) => {
    const { port, asked } = await origin(t);
    const gate = await gateway(t, port, { waits: {} });
    const { headers } = await call(t, gate.port, { "grpc-timeout": "10m" });
    assert.equal(headers["grpc-status"], "4");
    assert.equal(asked.length, 0);
  });

  test("does not wait for plugins that wait", async (t) => {
    const { port, asked } = await origin(t);
    const hangs = definePlugin({
      name: "hangs",
      version: "1",
      priority: 1,
      config: Type.Object({}),
      compile: () => ({ rewrite: () => new Promise<void>(() => undefined) }),
    });
    const upstream = { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 } };
    const gate = await wired(t, {
      routes: [{ uri: "/*", plugins: { hangs: {} }, upstream }],
      plugins: [hangs],
    });
    const { headers } = await call(t, gate.port, { "grpc-timeout": "50m" });
    assert.equal(headers["grpc-status"], "4");
    assert.equal(asked.length, 0);
    await eventually(() => gate.inFlight() === 0);
  });

  test("leaves no clock behind when it ended in time", async (t) => {
    const { port, streams } = await origin(t);
    const gate = await gateway(t, port);
    const answering = call(t, gate.port, { "grpc-timeout": "1H" });
    await eventually(() => streams.length === 1);
    streams[0].respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": "0" },
      { endStream: true },
    );
    assert.equal((await answering).headers["grpc-status"], "0");
    await eventually(() => gate.ended.length === 1);
    assert.ok(gate.ended[0].deadlineAt < Infinity);
    assert.equal(gate.ended[0].callTimer, null);
  });
});

describe("the time of a call", () => {
  const told = async (t: TestContext, plugins: object, fields: OutgoingHttpHeaders): Promise<string> => {
    const { port, asked, streams } = await origin(t);
    const gate = await gateway(t, port, plugins);
    const answering = call(t, gate.port, fields);
    await eventually(() => asked.length === 1);
    streams[0].respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": "0" },
      { endStream: true },
    );
    await answering;
    return String(asked[0]["grpc-timeout"]);
  };

  test("is told to the server as far as it is left", async (t) => {
    const left = readGrpcTimeout(await told(t, { waits: {} }, { "grpc-timeout": "100S" }))!;
    assert.ok(left < 100_000 - 15 && left > 0, String(left));
  });

  test("is that of `deadline`, if that is less, without its reserve", async (t) => {
    const deadline = { budget_ms: 50_000, reserve_ms: 10_000 };
    for (const asked of ["100S", undefined]) {
      const left = readGrpcTimeout(await told(t, { deadline }, { ...(asked && { "grpc-timeout": asked }) }))!;
      assert.ok(left <= 40_000 && left > 0, String(left));
    }
    const own = readGrpcTimeout(await told(t, { deadline }, { "grpc-timeout": "30S" }))!;
    assert.ok(own <= 30_000 && own > 0, String(own));
  });

  test("goes on as it came where it is none", async (t) => {
    assert.equal(await told(t, {}, { "grpc-timeout": "soon" }), "soon");
    assert.equal(await told(t, {}, {}), "undefined");
    assert.equal(await told(t, {}, { "grpc-timeout": "1n", "content-type": "text/plain" }), "1n");
  });
});

test("a call whose server breaks off is told so behind what came of the answer", async (t) => {
  const { port, streams } = await origin(t);
  const gate = await gateway(t, port);
  const answering = call(t, gate.port);
  await eventually(() => streams.length === 1);
  begin(streams[0], MESSAGE);
  await eventually(() => streams[0].writableLength === 0);
  streams[0].destroy(new Error("the server is broken"));
  const { trailers, headers, body } = await answering;
  // A server whose reset overtakes its head leaves nothing to stand behind.
  assert.equal(trailers["grpc-status"] ?? headers["grpc-status"], "14");
  assert.ok(body === MESSAGE || body === "", body);
  await eventually(() => gate.inFlight() === 0);
});

describe("a call of gRPC-Web over HTTP/1.1", () => {
  interface WebAnswer {
    body: string;
    isWhole: boolean;
  }

  async function webCall(t: TestContext, sent: string): Promise<WebAnswer> {
    const { port, streams } = await origin(t);
    const gate = await gateway(t, port, { "grpc-web": {} });
    const headers = { "content-type": "application/grpc-web", "grpc-timeout": "1S" };
    const asking = request1({
      port: gate.port,
      host: "127.0.0.1",
      path: "/test.Slow/Call",
      method: "POST",
      headers,
    });
    asking.on("error", () => undefined);
    asking.end();
    await eventually(() => streams.length === 1);
    begin(streams[0], sent);
    const [response] = (await once(asking, "response")) as [IncomingMessage];
    let body = "";
    response.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
    response.on("error", () => undefined);
    await eventually(() => response.closed);
    return { body, isWhole: response.complete };
  }

  test("says in its last frame that its time is over", async (t) => {
    const { body, isWhole } = await webCall(t, MESSAGE);
    assert.equal(isWhole, true);
    assert.match(body, /^\0\0\0\0\x02hi\x80\0\0\0.grpc-status:4\r\ngrpc-message:deadline exceeded\r\n$/s);
  });

  test("breaks off in the middle of a message, which the frame would seem to complete", async (t) => {
    const { body, isWhole } = await webCall(t, "\0\0\0\0\x20hi");
    assert.equal(isWhole, false);
    assert.equal(body, "\0\0\0\0\x20hi");
  });
});
