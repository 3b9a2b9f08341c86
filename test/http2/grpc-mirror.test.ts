/** Copies of calls of gRPC: what their mirror is told, with its real server, and what never comes back from it. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";

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

type Unary = ServerUnaryCall<Buffer, Buffer>;
type Done = sendUnaryData<Buffer>;
type Talk = ServerDuplexStream<Buffer, Buffer>;

interface Origin {
  port: number;
  /** Messages of unary calls, in order. */
  asked: string[];
  metadata: Metadata[];
  /** Messages of calls that talk, and "end" when their client had said all. */
  said: string[];
  cancelled: () => number;
}

/** `answers`: what becomes of a unary call. */
async function origin(
  t: TestContext,
  answers: (call: Unary, done: Done) => void,
  secure?: ServerCredentials,
): Promise<Origin> {
  const server = new Server();
  const asked: string[] = [];
  const metadata: Metadata[] = [];
  const said: string[] = [];
  let cancelled = 0;
  server.addService(
    {
      echo: method("/test.Echo/Echo", false, false),
      talks: method("/test.Echo/Talks", true, true),
      counts: method("/test.Echo/Counts", false, true),
    },
    {
      echo: (call: Unary, done: Done) => {
        asked.push(call.request.toString());
        metadata.push(call.metadata);
        answers(call, done);
      },
      talks: (call: Talk) => {
        call.on("data", (part: Buffer) => {
          said.push(part.toString());
          call.write(part);
        });
        call.on("cancelled", () => cancelled++);
        call.on("error", () => undefined);
        call.on("end", () => {
          said.push("end");
          call.end();
        });
      },
      counts: (call: ServerWritableStream<Buffer, Buffer>) => {
        said.push("asked");
        call.write(Buffer.from("1"));
        call.on("cancelled", () => cancelled++);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", secure ?? ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return { port, asked, metadata, said, cancelled: () => cancelled };
}

const echoes = (call: Unary, done: Done): void => done(null, call.request);

async function gateway(
  t: TestContext,
  port: number,
  mirror: string,
  more: Record<string, object> = {},
): Promise<Wired> {
  return await wired(t, {
    routes: [
      {
        uri: "/*",
        plugins: { "proxy-mirror": { host: mirror, path: "/elsewhere" }, ...more },
        upstream: { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 } },
      },
    ],
  });
}

function client(t: TestContext, port: number): Client {
  const made = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => made.close());
  return made;
}

function call(
  made: Client,
  value: string,
  metadata = new Metadata(),
  path = "/test.Echo/Echo",
): Promise<string> {
  return new Promise((resolve, reject) => {
    made.makeUnaryRequest(
      path,
      same,
      same,
      Buffer.from(value),
      metadata,
      (error: ServiceError | null, reply?: Buffer) =>
        error === null ? resolve(reply!.toString()) : reject(error),
    );
  });
}

/** Copies of this outcome. */
function copies({ shared }: Wired, outcome: string): number {
  const family = shared.metrics.counter("mirrored_requests_total", ["outcome"]);
  return family.value(family.series([outcome]));
}

interface Bare {
  port: number;
  sessions: ServerHttp2Session[];
  heads: IncomingHttpHeaders[];
}

/** A server of HTTP/2 that leaves it to the test what becomes of streams. */
async function bare(t: TestContext, onStream: (stream: ServerHttp2Stream) => void): Promise<Bare> {
  const sessions: ServerHttp2Session[] = [];
  const heads: IncomingHttpHeaders[] = [];
  const server = createServer();
  server.on("session", (session) => sessions.push(session));
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    heads.push(headers);
    onStream(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sessions, heads };
}

/** Accepts connections and reads nothing. */
async function deaf(t: TestContext): Promise<number> {
  const sockets: Socket[] = [];
  const server = createTcp({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => undefined);
    sockets.push(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

describe("copies of calls of gRPC", () => {
  test("have message and metadata, while the client gets its server's answer", async (t) => {
    const main = await origin(t, echoes);
    const mirror = await origin(t, (_, done) =>
      done({ code: status.INTERNAL, details: "nobody hears this" }),
    );
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${mirror.port}`);
    const metadata = new Metadata();
    metadata.set("x-asked", "yes");
    metadata.set("x-data-bin", Buffer.from([0, 255]));
    const made = client(t, gate.port);
    const large = "x".repeat(500_000);
    assert.equal(await call(made, "hello", metadata), "hello");
    assert.equal(await call(made, large, metadata), large);
    await eventually(() => copies(gate, "answered") === 2);
    assert.deepEqual(mirror.asked.sort(), ["hello", large]);
    assert.deepEqual(mirror.metadata[0].get("x-asked"), ["yes"]);
    assert.deepEqual(mirror.metadata[0].get("x-data-bin"), [Buffer.from([0, 255])]);
  });

  test("have the path that goes upstream, and the fields of a call", async (t) => {
    const main = await origin(t, echoes);
    const mirror = await bare(t, (stream) => stream.respond({ ":status": 200 }, { endStream: true }));
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${mirror.port}`, {
      "proxy-rewrite": { regex_uri: ["^/old/Echo", "/test.Echo/Echo"] },
    });
    assert.equal(await call(client(t, gate.port), "a", undefined, "/old/Echo"), "a");
    await eventually(() => copies(gate, "answered") === 1);
    const [head] = mirror.heads;
    assert.equal(head[":path"], "/test.Echo/Echo");
    assert.equal(head[":method"], "POST");
    assert.equal(head[":authority"], `127.0.0.1:${gate.port}`);
    assert.equal(head["te"], "trailers");
    assert.equal(head["content-type"], "application/grpc");
  });

  test("are what grpc-web made of a browser's call", async (t) => {
    const [main, mirror] = [await origin(t, echoes), await origin(t, echoes)];
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${mirror.port}`);
    gate.put("route", "1", {
      uri: "/web/*",
      plugins: { "grpc-web": {}, "proxy-mirror": { host: `grpc://127.0.0.1:${mirror.port}` } },
      upstream: { scheme: "grpc", nodes: { [`127.0.0.1:${main.port}`]: 1 } },
    });
    const answer = await fetch(`http://127.0.0.1:${gate.port}/web/test.Echo/Echo`, {
      method: "POST",
      headers: { "content-type": "application/grpc-web-text" },
      body: Buffer.from([0, 0, 0, 0, 2, 104, 105]).toString("base64"),
    });
    await answer.text();
    await eventually(() => copies(gate, "answered") === 1);
    assert.deepEqual([main.asked, mirror.asked], [["hi"], ["hi"]]);
  });

  test("are streams, too: what is said comes to the mirror as it is said", async (t) => {
    const [main, mirror] = [await origin(t, echoes), await origin(t, echoes)];
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${mirror.port}`);
    const talking = client(t, gate.port).makeBidiStreamRequest("/test.Echo/Talks", same, same);
    for (const word of ["a", "b", "c"]) {
      talking.write(Buffer.from(word));
      const [answer] = (await once(talking, "data")) as [Buffer];
      assert.equal(answer.toString(), word);
      await eventually(() => mirror.said.at(-1) === word);
    }
    talking.end();
    talking.resume();
    await once(talking, "end");
    await eventually(() => copies(gate, "answered") === 1);
    assert.deepEqual(mirror.said, ["a", "b", "c", "end"]);
  });

  test("are taken back with the call, half said or half answered", async (t) => {
    const [main, mirror] = [await origin(t, echoes), await origin(t, echoes)];
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${mirror.port}`);
    const made = client(t, gate.port);
    const talking = made.makeBidiStreamRequest("/test.Echo/Talks", same, same);
    const counting = made.makeServerStreamRequest("/test.Echo/Counts", same, same, Buffer.from(""));
    for (const stream of [talking, counting]) stream.on("error", () => undefined);
    talking.write(Buffer.from("a"));
    counting.resume();
    await eventually(() => mirror.said.length === 2 && main.said.length === 2);
    talking.cancel();
    counting.cancel();
    await eventually(() => mirror.cancelled() === 2 && copies(gate, "dropped") === 2);
    await eventually(() => gate.inFlight() === 0);
    assert.ok(!mirror.said.includes("end"));
  });

  test("hold nothing up when the mirror never reads: what it has no room for is dropped", async (t) => {
    const main = await origin(t, echoes);
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${await deaf(t)}`);
    const made = client(t, gate.port);
    const large = "x".repeat(3_000_000);
    assert.equal(await call(made, large), large);
    await eventually(() => copies(gate, "dropped") === 1);
    for (let i = 0; i < 200; i++) assert.equal(await call(made, "small"), "small");
  });

  test("fail alone when nobody is there, or when the mirror resets them", async (t) => {
    const main = await origin(t, echoes);
    const gate = await gateway(t, main.port, "grpc://127.0.0.1:1");
    const made = client(t, gate.port);
    for (let i = 0; i < 3; i++) assert.equal(await call(made, "a"), "a");
    await eventually(() => copies(gate, "failed") === 3);
    const resetting = await bare(t, (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    const other = await gateway(t, main.port, `grpc://127.0.0.1:${resetting.port}`);
    assert.equal(await call(client(t, other.port), "a"), "a");
    await eventually(() => copies(other, "failed") === 1);
    assert.equal(resetting.heads.length, 1);
  });

  test("share no connection with calls, even to the same server", async (t) => {
    const both: Bare = await bare(t, (stream) => {
      // The copies are never read: their connection has no room for more.
      if (stream.session !== both.sessions[0]) return;
      stream.resume();
      stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(Buffer.from([0, 0, 0, 0, 1, 97]));
      });
    });
    const gate = await gateway(t, both.port, `grpc://127.0.0.1:${both.port}`);
    const made = client(t, gate.port);
    for (let i = 0; i < 10; i++) assert.equal(await call(made, "x".repeat(100_000)), "a");
    assert.equal(both.sessions.length, 2);
  });

  test("an answer without end is cut off, and its connection stays", async (t) => {
    const main = await origin(t, echoes);
    let resets = 0;
    const mirror = await bare(t, (stream) => {
      stream.on("close", () => resets++);
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write(Buffer.alloc(200_000));
    });
    const gate = await gateway(t, main.port, `grpc://127.0.0.1:${mirror.port}`);
    const made = client(t, gate.port);
    for (let i = 1; i <= 3; i++) {
      assert.equal(await call(made, "a"), "a");
      await eventually(() => copies(gate, "answered") === i && resets === i);
    }
    assert.equal(mirror.sessions.length, 1);
  });

  test("go over TLS", { skip: hasOpenssl ? false : "there is no openssl" }, async (t) => {
    const pair = Authority.make(t).issue({ names: ["grpc.test"] });
    const main = await origin(t, echoes);
    const mirror = await origin(
      t,
      echoes,
      ServerCredentials.createSsl(null, [
        { private_key: Buffer.from(pair.key), cert_chain: Buffer.from(pair.cert) },
      ]),
    );
    const gate = await gateway(t, main.port, `grpcs://127.0.0.1:${mirror.port}`);
    assert.equal(await call(client(t, gate.port), "secret"), "secret");
    await eventually(() => copies(gate, "answered") === 1);
    assert.deepEqual(mirror.asked, ["secret"]);
  });

  test("go to mirrors of gRPC alone, and nothing else goes there", async (t) => {
    const main = await origin(t, echoes);
    const seen: string[] = [];
    const http = createHttp((request, answer) => {
      seen.push(request.url!);
      answer.end();
    }).listen(0, "127.0.0.1");
    await once(http, "listening");
    t.after(() => {
      http.closeAllConnections();
      http.close();
    });
    const { port } = http.address() as AddressInfo;
    const gate = await gateway(t, main.port, `http://127.0.0.1:${port}`);
    assert.equal(await call(client(t, gate.port), "a"), "a");
    assert.equal(copies(gate, "dropped"), 1);
    gate.put("route", "1", {
      uri: "/*",
      plugins: { "proxy-mirror": { host: `grpc://127.0.0.1:${main.port}` } },
      upstream: { nodes: { [`127.0.0.1:${port}`]: 1 } },
    });
    assert.equal((await fetch(`http://127.0.0.1:${gate.port}/plain`)).status, 200);
    assert.equal(copies(gate, "dropped"), 2);
    assert.deepEqual(seen, ["/plain"]);
    assert.deepEqual(main.asked, ["a"]);
  });
});
