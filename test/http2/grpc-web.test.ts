/** Calls of gRPC-Web through the gateway to a real server of gRPC: in bytes and in base64, over HTTP/1.1 and HTTP/2. */

import assert from "node:assert/strict";
import { request as request1, type IncomingMessage } from "node:http";
import { connect } from "node:http2";
import { describe, test, type TestContext } from "node:test";
import {
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";

const same = (value: Buffer): Buffer => value;
const method = (path: string, responseStream: boolean) => ({
  path,
  requestStream: false,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

interface Origin {
  port: number;
  server: Server;
  /** The stream of the last call of `Counts`. */
  counting: () => ServerWritableStream<Buffer, Buffer> | null;
  cancelled: () => number;
}

async function origin(t: TestContext): Promise<Origin> {
  const server = new Server();
  let counting: ServerWritableStream<Buffer, Buffer> | null = null;
  let cancelled = 0;
  server.addService(
    {
      echo: method("/test.Web/Echo", false),
      fails: method("/test.Web/Fails", false),
      counts: method("/test.Web/Counts", true),
    },
    {
      echo: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const trailers = new Metadata();
        trailers.set("x-asked", String(call.metadata.get("x-asking")[0]));
        done(null, call.request, trailers);
      },
      fails: (_: unknown, done: sendUnaryData<Buffer>) =>
        done({ code: status.ALREADY_EXISTS, details: "there is one: ä" }),
      counts: (call: ServerWritableStream<Buffer, Buffer>) => {
        counting = call;
        call.on("cancelled", () => cancelled++);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return { port, server, counting: () => counting, cancelled: () => cancelled };
}

async function gateway(t: TestContext, port: number): Promise<Wired> {
  const upstream = { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 } };
  return await wired(t, { routes: [{ uri: "/web/*", plugins: { "grpc-web": {} }, upstream }] });
}

function message(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** Takes an answer apart as it comes: messages, and what the last frame says. */
class Answer {
  readonly messages: string[] = [];
  trailers = "";
  isEnded = false;
  status = 0;
  headers: Record<string, unknown> = {};
  httpTrailers: Record<string, unknown> = {};
  leave: () => void = () => undefined;
  readonly #isText: boolean;
  #digits = "";
  #bytes: Buffer = Buffer.alloc(0);

  constructor(isText: boolean) {
    this.#isText = isText;
  }

  take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, this.#isText ? this.#decoded(chunk) : chunk]);
    while (this.#bytes.length >= 5) {
      const end = 5 + this.#bytes.readUInt32BE(1);
      if (this.#bytes.length < end) return;
      const text = this.#bytes.toString("latin1", 5, end);
      if (this.#bytes[0] === 0x80) this.trailers += text;
      else this.messages.push(text);
      this.#bytes = this.#bytes.subarray(end);
    }
  }

  #decoded(chunk: Buffer): Buffer {
    const digits = this.#digits + chunk.toString("latin1");
    const whole = digits.length - (digits.length % 4);
    this.#digits = digits.slice(whole);
    const groups = digits.slice(0, whole).match(/.{4}/g) ?? [];
    return Buffer.concat(groups.map((group) => Buffer.from(group, "base64")));
  }

  async ended(): Promise<this> {
    await eventually(() => this.isEnded);
    assert.equal(this.#bytes.length + this.#digits.length, 0, "half a frame");
    return this;
  }
}

type Send = (t: TestContext, port: number, path: string, type: string, body: Buffer) => Answer;

const overHttp1: Send = (t, port, path, type, body) => {
  const answer = new Answer(type.includes("-text"));
  const asking = request1({
    port,
    path,
    host: "127.0.0.1",
    method: "POST",
    headers: { "content-type": type, "x-asking": "me" },
  });
  asking.on("error", () => undefined);
  // With a reset: who only ends its side may still wait for its answer.
  answer.leave = () => asking.socket!.resetAndDestroy();
  t.after(() => asking.destroy());
  asking.on("response", (response: IncomingMessage) => {
    answer.status = response.statusCode!;
    answer.headers = response.headers;
    response.on("data", (chunk: Buffer) => answer.take(chunk));
    response.on("end", () => {
      answer.httpTrailers = response.trailers;
      answer.isEnded = true;
    });
  });
  asking.end(body);
  return answer;
};

const overHttp2: Send = (t, port, path, type, body) => {
  const answer = new Answer(type.includes("-text"));
  const session = connect(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  const stream = session.request({
    ":path": path,
    ":method": "POST",
    "content-type": type,
    "x-asking": "me",
  });
  answer.leave = () => session.destroy();
  stream.on("response", (headers) => {
    answer.status = headers[":status"]!;
    answer.headers = headers;
  });
  stream.on("trailers", (trailers) => (answer.httpTrailers = trailers));
  stream.on("data", (chunk: Buffer) => answer.take(chunk));
  stream.on("end", () => (answer.isEnded = true));
  stream.end(body);
  return answer;
};

for (const [version, send] of [
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
] as const) {
  for (const type of ["application/grpc-web+proto", "application/grpc-web-text"]) {
    const bodyOf = (text: string): Buffer =>
      type.includes("-text") ? Buffer.from(message(text).toString("base64")) : message(text);

    describe(`gRPC-Web over ${version}, ${type}`, () => {
      test("carries a call, and its trailers as the last frame of the body", async (t) => {
        const { port } = await origin(t);
        const gate = await gateway(t, port);
        const text = "hello ".repeat(30_000);
        const answer = await send(t, gate.port, "/web/test.Web/Echo", type, bodyOf(text)).ended();
        assert.equal(answer.status, 200);
        assert.equal(answer.headers["content-type"], type);
        assert.deepEqual(answer.messages, [text]);
        assert.match(answer.trailers, /^grpc-status:0\r\ngrpc-message:/);
        assert.match(answer.trailers, /\r\nx-asked:me\r\n/);
        assert.deepEqual({ ...answer.httpTrailers }, {});
      });

      test("passes on what the server says of a failed call", async (t) => {
        const { port } = await origin(t);
        const gate = await gateway(t, port);
        const answer = await send(t, gate.port, "/web/test.Web/Fails", type, bodyOf("")).ended();
        const { headers, trailers } = answer;
        assert.equal(answer.status, 200);
        // In the header or behind the body, as the server has it.
        const said =
          trailers === "" ? `${String(headers["grpc-status"])} ${String(headers["grpc-message"])}` : trailers;
        assert.match(said, /6/);
        assert.match(decodeURIComponent(said), /there is one: ä/);
      });

      test("passes on each message as it comes", async (t) => {
        const { port, counting } = await origin(t);
        const gate = await gateway(t, port);
        const answer = send(t, gate.port, "/web/test.Web/Counts", type, bodyOf(""));
        await eventually(() => counting() !== null);
        // The next one is written when the one before has arrived: who waits for more waits for ever.
        for (let i = 1; i <= 5; i++) {
          counting()!.write(Buffer.from("x".repeat(i)));
          await eventually(() => answer.messages.length === i);
        }
        counting()!.end();
        await answer.ended();
        assert.deepEqual(
          answer.messages.map(({ length }) => length),
          [1, 2, 3, 4, 5],
        );
        assert.match(answer.trailers, /^grpc-status:0\r\n/);
      });
    });
  }

  test(`a client over ${version} that leaves ends its call at the server`, async (t) => {
    const { port, counting, cancelled } = await origin(t);
    const gate = await gateway(t, port);
    const answer = send(t, gate.port, "/web/test.Web/Counts", "application/grpc-web", message(""));
    await eventually(() => counting() !== null);
    counting()!.write(Buffer.from("x"));
    await eventually(() => answer.messages.length === 1);
    answer.leave();
    await eventually(() => cancelled() === 1 && gate.inFlight() === 0);
  });

  test(`over ${version}, a server that is not there is told in gRPC's words`, async (t) => {
    const gate = await gateway(t, 1);
    const answer = send(t, gate.port, "/web/test.Web/Echo", "application/grpc-web", message(""));
    await eventually(() => answer.isEnded);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "application/grpc-web");
    assert.equal(answer.headers["grpc-status"], "14");
    assert.equal(answer.headers["grpc-message"], "502 Bad Gateway");
    assert.equal(gate.ended[0].response.status, 502);
    assert.equal(answer.headers["access-control-allow-origin"], "*");
  });
}
