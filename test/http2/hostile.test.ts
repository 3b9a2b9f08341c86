/**
 * Clients and upstreams of HTTP/2 that mean harm, or are broken, through the whole data path: what they can reach is their
 * own request at most.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Frame,
  frame,
  FrameClient,
  get,
  GOAWAY,
  HEADERS,
  ok,
  PING,
  pseudo,
  RST_STREAM,
  WINDOW_UPDATE,
  word,
} from "../../src/data/http2/frame-client.ts";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";

interface Origin {
  port: number;
  /** Connections, in order. */
  peers: FrameClient[];
}

/** An upstream that calls `act` for every frame. */
async function origin(t: TestContext, act: (peer: FrameClient, frame: Frame) => void): Promise<Origin> {
  const peers: FrameClient[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const peer = FrameClient.accept(socket);
    peers.push(peer);
    peer.onFrame = (one) => act(peer, one);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, peers };
}

async function gateway(t: TestContext, port: number, more: object = {}, config = ""): Promise<Wired> {
  const upstream = { scheme: "grpc", nodes: { [`127.0.0.1:${port}`]: 1 }, ...more };
  return await wired(t, { config, routes: [{ uri: "/*", upstream }] });
}

async function client(t: TestContext, gate: Wired): Promise<FrameClient> {
  const made = await FrameClient.open(gate.port);
  t.after(() => made.socket.destroy());
  return made;
}

const isHead = ({ type }: Frame): boolean => type === HEADERS;
const isEnd = ({ type, flags }: Frame): boolean =>
  (type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0;

describe("a request over HTTP/2 to HTTP/2", () => {
  test("may repeat fields, in its trailer section too", async (t) => {
    const { port, peers } = await origin(t, (peer, one) => {
      if (isEnd(one)) peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    const twice = [
      ["etag", '"a"'],
      ["etag", '"b"'],
    ] as const;
    raw.send(
      frame(HEADERS, END_HEADERS, 1, block([...pseudo("POST", "/"), ...twice])),
      frame(DATA, 0, 1, Buffer.from("body")),
      frame(HEADERS, END_HEADERS | END_STREAM, 1, block(twice)),
    );
    await raw.until(isEnd);
    await eventually(() => gate.inFlight() === 0);
    assert.equal(gate.ended[0].response.status, 200);
    assert.equal(peers[0].frames.filter(isHead).length, 2);
  });

  test("whose body comes byte by byte while the upstream takes nothing arrives as it was sent", async (t) => {
    let received = "";
    const { port, peers } = await origin(t, (peer, one) => {
      if (one.type === DATA) received += one.payload.toString();
      if (isEnd(one)) peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    // What the upstream permits at first: 64 KiB less one, for all requests together.
    raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))));
    const large = "a".repeat(16_384);
    for (let i = 0; i < 4; i++) raw.send(frame(DATA, 0, 1, Buffer.from(large)));
    await eventually(() => received.length > 65_000);
    const content = Array.from({ length: 15_000 }, (_, i) => String(i % 10)).join("");
    for (const byte of content) raw.send(frame(DATA, 0, 1, Buffer.from(byte)));
    raw.send(frame(DATA, END_STREAM, 1), frame(PING, 0, 0, Buffer.alloc(8)));
    await raw.until(({ type }) => type === PING);
    for (const stream of [0, 1]) peers[0].send(frame(WINDOW_UPDATE, 0, stream, word(1_000_000)));
    await raw.until(isEnd);
    assert.ok(received === large.repeat(4) + content);
  });

  test("with a head of 100 KB ends nothing that runs beside it", async (t) => {
    const { port, peers } = await origin(t, (peer, one) => {
      if (isEnd(one)) peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port, {}, "cardea: { http: { max_header_size: 200k } }");
    const raw = await client(t, gate);
    raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))));
    await eventually(() => peers.length === 1 && peers[0].frames.some(isHead));
    const large = await gate.connect();
    large.write(
      `GET / HTTP/1.1\r\nHost: a\r\n${["a", "b", "c"].map((name) => `${name}: ${"~".repeat(33_000)}\r\n`).join("")}\r\n`,
    );
    assert.match(await large.until((received) => received.includes("\r\n\r\n")), /^HTTP\/1.1 200 /);
    raw.send(frame(DATA, END_STREAM, 1));
    await raw.until(isEnd);
    await eventually(() => gate.inFlight() === 0);
    assert.equal(peers.length, 1);
  });

  test("that is taken back while its upstream connects harms nobody", async (t) => {
    const { port } = await origin(t, (peer, one) => {
      if (isHead(one)) peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    for (let stream = 1; stream < 40; stream += 2) {
      raw.send(frame(HEADERS, END_HEADERS, stream, block(pseudo("POST", "/"))));
      raw.send(frame(RST_STREAM, 0, stream, word(8)));
      await eventually(() => gate.ended.length === (stream + 1) / 2);
    }
    raw.send(get(41));
    assert.equal((await raw.until(isHead))?.stream, 41);
  });
});

describe("an upstream that speaks HTTP/2", () => {
  test("gets a request once more, whatever its method, when it says goodbye without having looked at it", async (t) => {
    const { port, peers } = await origin(t, (peer, one) => {
      if (!isEnd(one)) return;
      if (one.stream === 1) peer.send(ok(1, END_STREAM));
      else peer.send(frame(GOAWAY, 0, 0, Buffer.concat([word(1), word(0)])));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    const statuses = async (stream: number): Promise<number[]> => {
      raw.send(
        frame(HEADERS, END_HEADERS, stream, block(pseudo("POST", "/"))),
        frame(DATA, END_STREAM, stream, Buffer.from("body")),
      );
      await raw.until((one) => one.stream === stream && isEnd(one));
      await eventually(() => gate.inFlight() === 0);
      return gate.ended.map(({ response }) => response.status);
    };
    assert.deepEqual(await statuses(1), [200]);
    const failed = t.mock.method(gate.upstreams[0], "failed");
    assert.deepEqual(await statuses(3), [200, 200]);
    assert.equal(failed.mock.callCount(), 0);
    assert.equal(peers.length, 2);
  });

  test("that refuses every request is not asked for ever", async (t) => {
    let asked = 0;
    const { port } = await origin(t, (peer, one) => {
      if (!isHead(one)) return;
      asked++;
      peer.send(frame(RST_STREAM, 0, one.stream, word(7)));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    raw.send(get(1));
    await raw.until(isEnd);
    await eventually(() => gate.inFlight() === 0);
    assert.equal(gate.ended[0].response.status, 502);
    assert.equal(asked, 2);
  });

  test("may send as many fields as one that speaks HTTP/1.1", async (t) => {
    const { port } = await origin(t, (peer, one) => {
      const fields = Array.from({ length: 250 }, (_, i) => ["set-cookie", `a${i}=1`] as const);
      if (isHead(one)) peer.send(ok(one.stream, END_STREAM, fields));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    raw.send(get(1));
    await raw.until(isEnd);
    await eventually(() => gate.inFlight() === 0);
    assert.equal(gate.ended[0].response.status, 200);
    assert.equal(gate.ended[0].response.headers.getAll("set-cookie").length, 250);
  });

  test("may not send informational answers without end", async (t) => {
    const { port } = await origin(t, (peer, one) => {
      if (!isHead(one)) return;
      const early = frame(HEADERS, END_HEADERS, one.stream, block([[":status", "103"]]));
      for (let i = 0; i < 100; i++) peer.send(early);
      peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    raw.send(get(1));
    await raw.until(isEnd);
    await eventually(() => gate.inFlight() === 0);
    assert.equal(gate.ended[0].response.status, 502);
    assert.ok(raw.frames.filter(isHead).length < 30);
  });

  test("never makes a part of an answer look whole, whatever its reset says", async (t) => {
    const { port } = await origin(t, (peer, one) => {
      if (!isEnd(one)) return;
      peer.send(ok(one.stream), frame(DATA, 0, one.stream, Buffer.from("part")));
      peer.send(frame(RST_STREAM, 0, one.stream, word(0)));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    raw.send(get(1));
    assert.notEqual(await raw.reset(1), null);
    assert.equal(raw.frames.some(isEnd), false);
    await eventually(() => gate.inFlight() === 0);
  });

  test("that answers early and takes no more of the request holds no place of a connection", async (t) => {
    const { port, peers } = await origin(t, (peer, one) => {
      if (isHead(one)) peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port);
    const raw = await client(t, gate);
    for (let stream = 1; stream < 400; stream += 2) {
      raw.send(
        frame(HEADERS, END_HEADERS, stream, block(pseudo("POST", "/"))),
        frame(DATA, 0, stream, Buffer.alloc(16_384)),
        frame(DATA, END_STREAM, stream, Buffer.alloc(16_384)),
      );
      await raw.until((one) => one.stream === stream && isEnd(one));
    }
    await eventually(() => gate.inFlight() === 0);
    assert.equal(peers.length, 1);
  });

  test("that does not answer any more gets a new connection", async (t) => {
    const { port, peers } = await origin(t, (peer, one) => {
      if (isHead(one) && peers.length > 1) peer.send(ok(one.stream, END_STREAM));
    });
    const gate = await gateway(t, port, { timeout: { connect: 60, send: 60, read: 2 } });
    const raw = await client(t, gate);
    // The client of a stream that is held open keeps the connection from being idle.
    raw.send(frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/"))));
    await eventually(() => peers.length === 1);
    peers[0].onFrame = null;
    peers[0].socket.pause();
    raw.send(get(3));
    await raw.until((one) => one.stream === 3 && isEnd(one));
    raw.send(get(5));
    await raw.until((one) => one.stream === 5 && isEnd(one));
    assert.deepEqual(
      gate.ended.map(({ response }) => response.status),
      [504, 200],
    );
  });

  test(
    "is tried anew after a connection that was not there in time, whoever still waits for that one",
    { skip: hasOpenssl ? false : "there is no openssl" },
    async (t) => {
      const secure = createSecureServer(Authority.make(t).issue({ names: ["a.com"] }), (_, response) =>
        response.end("ok"),
      ).listen(0, "127.0.0.1");
      await once(secure, "listening");
      t.after(() => secure.close());
      const sockets: Socket[] = [];
      // Its first connection is accepted, and that is all.
      const server = createServer((socket) => {
        sockets.push(socket);
        socket.on("error", () => undefined);
        if (sockets.length === 1) return;
        const inner = connect((secure.address() as AddressInfo).port, "127.0.0.1");
        inner.on("error", () => undefined);
        sockets.push(inner);
        socket.pipe(inner).pipe(socket);
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      t.after(() => {
        server.close();
        for (const socket of sockets) socket.destroy();
      });
      const upstream = {
        scheme: "h2",
        nodes: { [`127.0.0.1:${(server.address() as AddressInfo).port}`]: 1 },
      };
      const gate = await wired(t, {
        routes: [
          { uri: "/patient", upstream, timeout: { connect: 60, send: 60, read: 60 } },
          { uri: "/*", upstream, timeout: { connect: 2, send: 60, read: 60 } },
        ],
      });
      const raw = await client(t, gate);
      raw.send(get(1, "/patient"));
      await eventually(() => sockets.length === 1);
      raw.send(get(3));
      await raw.until((one) => one.stream === 3 && isEnd(one));
      raw.send(get(5));
      await raw.until((one) => one.stream === 5 && isEnd(one));
      assert.deepEqual(
        gate.ended.map(({ response }) => response.status),
        [504, 200],
      );
    },
  );

  test("gets no more requests on a connection than keepalive_pool says, idle or not", async (t) => {
    const held: [FrameClient, number][] = [];
    const { port, peers } = await origin(t, (peer, one) => {
      if (isHead(one)) held.push([peer, one.stream]);
    });
    const pool = { size: 10, idle_timeout: 60, requests: 3 };
    const gate = await gateway(t, port, { keepalive_pool: pool });
    const raw = await client(t, gate);
    for (let i = 0; i < 10; i++) {
      raw.send(get(2 * i + 1));
      await eventually(() => held.length === i + 1);
      // One always runs.
      if (i === 0) continue;
      const [peer, stream] = held[i - 1];
      peer.send(ok(stream, END_STREAM));
      await eventually(() => gate.ended.length === i);
    }
    assert.deepEqual(
      peers.map((peer) => peer.frames.filter(isHead).length),
      [3, 3, 3, 1],
    );
  });
});
