/** gRPC through the data path with its own client and server: calls of all four kinds, deadlines, and what the gateway says. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import {
  type ChannelCredentials,
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  block,
  DATA,
  END_HEADERS,
  frame,
  FrameClient,
  HEADERS,
  pseudo,
  RST_STREAM,
  word,
} from "../../src/data/http2/frame-client.ts";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";

/** RFC 9113 section 7. */
const INTERNAL_ERROR = 2;
const REFUSED_STREAM = 7;
const DEADLINE_MS = 1500;

const same = (value: Buffer): Buffer => value;
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

const SERVICE: ServiceDefinition = {
  echo: method("/test.Echo/Echo", false, false),
  fails: method("/test.Echo/Fails", false, false),
  hangs: method("/test.Echo/Hangs", false, false),
  counts: method("/test.Echo/Counts", false, true),
  collects: method("/test.Echo/Collects", true, false),
  talks: method("/test.Echo/Talks", true, true),
  takesOne: method("/test.Echo/TakesOne", true, false),
  hasEnough: method("/test.Echo/HasEnough", true, true),
};

type Unary = ServerUnaryCall<Buffer, Buffer>;
type Done = sendUnaryData<Buffer>;

interface Origin {
  port: number;
  server: Server;
  hanging: () => number;
  cancelled: () => number;
}

async function origin(t: TestContext, secure?: ServerCredentials): Promise<Origin> {
  const server = new Server();
  let hanging = 0;
  let cancelled = 0;
  const service: UntypedServiceImplementation = {
    echo: (call: Unary, done: Done) => {
      const trailers = new Metadata();
      trailers.set("x-seen", String(call.metadata.get("x-asked")[0]));
      done(null, call.request, trailers);
    },
    fails: (_: Unary, done: Done) => done({ code: status.ALREADY_EXISTS, details: "there is one" }),
    hangs: (call: Unary) => {
      hanging++;
      call.on("cancelled", () => cancelled++);
    },
    counts: (call: ServerWritableStream<Buffer, Buffer>) => {
      for (let i = 0; i < 1000; i++) call.write(Buffer.from(String(i)));
      call.end();
    },
    collects: (call: ServerReadableStream<Buffer, Buffer>, done: Done) => {
      let bytes = 0;
      call.on("data", (part: Buffer) => (bytes += part.length));
      call.on("end", () => done(null, Buffer.from(String(bytes))));
    },
    talks: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on("data", (part: Buffer) => call.write(Buffer.concat([part, Buffer.from("!")])));
      call.on("end", () => call.end());
    },
    takesOne: (call: ServerReadableStream<Buffer, Buffer>, done: Done) =>
      call.once("data", (part: Buffer) => done(null, part)),
    hasEnough: (call: ServerDuplexStream<Buffer, Buffer>) =>
      call.once("data", (part: Buffer) => {
        call.write(part);
        call.emit("error", { code: status.RESOURCE_EXHAUSTED, details: "enough" });
      }),
  };
  server.addService(SERVICE, service);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", secure ?? ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return { port, server, hanging: () => hanging, cancelled: () => cancelled };
}

async function gateway(t: TestContext, port: number, more: object = {}): Promise<Wired> {
  const upstream = { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 }, ...more };
  return await wired(t, { routes: [{ uri: "/test.Echo/*", upstream }] });
}

function client(t: TestContext, port: number, more?: ChannelCredentials, options = {}): Client {
  const made = new Client(`127.0.0.1:${port}`, more ?? credentials.createInsecure(), options);
  t.after(() => made.close());
  return made;
}

interface Reply {
  error: ServiceError | null;
  value: Buffer | undefined;
  trailers?: Metadata;
}

function call(
  made: Client,
  path: string,
  value: Buffer,
  metadata = new Metadata(),
  deadline?: number,
): Promise<Reply> {
  return new Promise((resolve) => {
    let trailers: Metadata | undefined;
    const options = deadline === undefined ? {} : { deadline };
    made
      .makeUnaryRequest(path, same, same, value, metadata, options, (error, reply) =>
        setImmediate(() => resolve({ error, value: reply, trailers })),
      )
      .on("status", (end) => (trailers = end.metadata));
  });
}

describe("gRPC through the gateway", () => {
  test("carries single calls with what they bring along, many beside each other", async (t) => {
    const { port } = await origin(t);
    const gate = await gateway(t, port);
    const made = client(t, gate.port);
    const asked = new Metadata();
    asked.set("x-asked", "yes");
    const replies = await Promise.all(
      Array.from({ length: 200 }, (_, i) => call(made, "/test.Echo/Echo", Buffer.alloc(i * 100, i), asked)),
    );
    for (const [i, { error, value, trailers }] of replies.entries()) {
      assert.equal(error, null);
      assert.deepEqual(value, Buffer.alloc(i * 100, i));
      assert.deepEqual(trailers?.get("x-seen"), ["yes"]);
    }
    assert.equal(gate.ended.length, 200);
    assert.equal(gate.ended[0].variable("upstream_scheme"), "grpc");
  });

  test("passes on what the server says of a failed call", async (t) => {
    const { port } = await origin(t);
    const gate = await gateway(t, port);
    const { error } = await call(client(t, gate.port), "/test.Echo/Fails", Buffer.from("x"));
    assert.equal(error?.code, status.ALREADY_EXISTS);
    assert.equal(error?.details, "there is one");
  });

  test("carries streams from the server, from the client, and both at the same time", async (t) => {
    const { port } = await origin(t);
    const gate = await gateway(t, port);
    const made = client(t, gate.port);

    const counting = made.makeServerStreamRequest("/test.Echo/Counts", same, same, Buffer.from(""));
    const counted: string[] = [];
    counting.on("data", (part: Buffer) => counted.push(part.toString()));
    await once(counting, "end");
    assert.deepEqual(
      counted,
      Array.from({ length: 1000 }, (_, i) => String(i)),
    );

    const collected = Promise.withResolvers<string>();
    const collecting = made.makeClientStreamRequest("/test.Echo/Collects", same, same, (error, value) =>
      error === null ? collected.resolve(value!.toString()) : collected.reject(error),
    );
    for (let i = 0; i < 100; i++) collecting.write(Buffer.alloc(10_000));
    collecting.end();
    assert.equal(await collected.promise, "1000000");

    const talking = made.makeBidiStreamRequest("/test.Echo/Talks", same, same);
    for (const word of ["a", "b", "c"]) {
      talking.write(Buffer.from(word));
      const [answer] = (await once(talking, "data")) as [Buffer];
      assert.equal(answer.toString(), `${word}!`);
    }
    talking.end();
    talking.resume();
    await once(talking, "end");
    await eventually(() => gate.inFlight() === 0);
  });

  test("tells a client that would go on how its server ended the call", async (t) => {
    const { port } = await origin(t);
    const gate = await gateway(t, port);
    const made = client(t, gate.port);

    const taken = Promise.withResolvers<string>();
    const taking = made.makeClientStreamRequest("/test.Echo/TakesOne", same, same, (error, value) =>
      error === null ? taken.resolve(value!.toString()) : taken.reject(error),
    );
    taking.write(Buffer.from("a"));
    assert.equal(await taken.promise, "a");

    const talking = made.makeBidiStreamRequest("/test.Echo/HasEnough", same, same);
    const heard: string[] = [];
    talking.on("data", (part: Buffer) => heard.push(part.toString()));
    talking.write(Buffer.from("b"));
    const [error] = (await once(talking, "error")) as [ServiceError];
    assert.equal(error.code, status.RESOURCE_EXHAUSTED);
    assert.equal(error.details, "enough");
    assert.deepEqual(heard, ["b"]);
    await eventually(() => gate.inFlight() === 0);
  });

  test("ends a call at the server when its client does not wait any longer", async (t) => {
    const { port, hanging, cancelled } = await origin(t);
    const gate = await gateway(t, port);
    const made = client(t, gate.port);
    // On a busy machine the time of a call may be over before it has come to the server.
    while (hanging() === 0) {
      const { error } = await call(
        made,
        "/test.Echo/Hangs",
        Buffer.from(""),
        undefined,
        Date.now() + DEADLINE_MS,
      );
      assert.equal(error?.code, status.DEADLINE_EXCEEDED);
    }
    await eventually(() => cancelled() === hanging() && gate.inFlight() === 0);
  });

  test("never makes a part of a request look whole at the server", async (t) => {
    const ends: string[] = [];
    let hasCome = false;
    const server = createServer();
    server.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.on("aborted", () => ends.push("aborted"));
      stream.on("end", () => ends.push("end"));
      stream.on("data", () => (hasCome = true));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const gate = await gateway(t, (server.address() as AddressInfo).port);
    const raw = await FrameClient.open(gate.port);
    t.after(() => raw.socket.destroy());
    raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/test.Echo/Collects"))));
    raw.send(frame(DATA, 0, 1, Buffer.alloc(10_000)));
    await eventually(() => hasCome);
    raw.send(frame(RST_STREAM, 0, 1, word(8)));
    await eventually(() => ends.length > 0 && gate.inFlight() === 0);
    assert.equal(ends[0], "aborted");
  });

  test("says in gRPC's words what is wrong: no route, nobody there, too late", async (t) => {
    const { port } = await origin(t);
    const gate = await gateway(t, port, { timeout: { connect: 60, send: 60, read: 0.2 } });
    const made = client(t, gate.port);
    const unknown = await call(made, "/other.Echo/Echo", Buffer.from(""));
    assert.equal(unknown.error?.code, status.UNIMPLEMENTED);
    assert.equal(unknown.error?.details, "404 Route Not Found");
    const late = await call(made, "/test.Echo/Hangs", Buffer.from(""));
    assert.equal(late.error?.code, status.DEADLINE_EXCEEDED);
    const gone = await gateway(t, 1);
    const refused = await call(client(t, gone.port), "/test.Echo/Echo", Buffer.from(""));
    assert.equal(refused.error?.code, status.UNAVAILABLE);
    assert.deepEqual(
      [...gate.ended, ...gone.ended].map(({ response }) => response.status),
      [404, 504, 502],
    );
  });

  test("tries another node when one is not there", async (t) => {
    const { port } = await origin(t);
    const gate = await gateway(t, port, { nodes: { "127.0.0.1:1": 1, [`127.0.0.1:${port}`]: 1 } });
    const made = client(t, gate.port);
    for (let i = 0; i < 6; i++) {
      const { error } = await call(made, "/test.Echo/Echo", Buffer.from("x"));
      assert.equal(error, null);
    }
  });

  test("repeats a call that a server has not looked at, and no other", async (t) => {
    const { port } = await origin(t);
    let code = REFUSED_STREAM;
    const broken = createServer();
    broken.on("stream", (stream) => {
      stream.on("error", () => undefined);
      stream.close(code);
    });
    broken.listen(0, "127.0.0.1");
    await once(broken, "listening");
    t.after(() => broken.close());
    const { port: brokenPort } = broken.address() as AddressInfo;
    const gate = await gateway(t, port, {
      nodes: { [`127.0.0.1:${brokenPort}`]: 1, [`127.0.0.1:${port}`]: 1 },
    });
    const made = client(t, gate.port);
    const results = async (): Promise<number[]> => {
      const codes = new Set<number>();
      for (let i = 0; i < 6; i++) {
        const { error } = await call(made, "/test.Echo/Echo", Buffer.from("x"));
        codes.add(error?.code ?? 0);
      }
      return [...codes].sort((a, b) => a - b);
    };
    assert.deepEqual(await results(), [status.OK]);
    code = INTERNAL_ERROR;
    assert.deepEqual(await results(), [status.OK, status.UNAVAILABLE]);
  });

  test("opens a new connection when the server has restarted", async (t) => {
    const first = await origin(t);
    const gate = await gateway(t, first.port);
    const made = client(t, gate.port);
    assert.equal((await call(made, "/test.Echo/Echo", Buffer.from("1"))).error, null);
    first.server.forceShutdown();
    const second = new Server();
    second.addService(SERVICE, { echo: (asked: Unary, done: Done) => done(null, asked.request) });
    t.after(() => second.forceShutdown());
    await new Promise<void>((resolve, reject) =>
      second.bindAsync(`127.0.0.1:${first.port}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
    assert.equal((await call(made, "/test.Echo/Echo", Buffer.from("2"))).error, null);
  });

  test("goes over TLS on both sides", { skip: hasOpenssl ? false : "there is no openssl" }, async (t) => {
    const ca = Authority.make(t);
    const pair = ca.issue({ names: ["grpc.test"] });
    const { port } = await origin(
      t,
      ServerCredentials.createSsl(null, [
        { private_key: Buffer.from(pair.key), cert_chain: Buffer.from(pair.cert) },
      ]),
    );
    const gate = await gateway(t, port, { scheme: "grpcs" });
    gate.put("ssl", "1", { snis: ["grpc.test"], ...pair });
    const made = client(t, gate.tlsPort, credentials.createSsl(Buffer.from(ca.pair.cert)), {
      "grpc.ssl_target_name_override": "grpc.test",
      "grpc.default_authority": "grpc.test",
    });
    const { error, value } = await call(made, "/test.Echo/Echo", Buffer.from("secret"));
    assert.equal(error, null);
    assert.equal(value?.toString(), "secret");
    assert.equal(gate.ended[0].variable("upstream_scheme"), "grpcs");
  });
});
