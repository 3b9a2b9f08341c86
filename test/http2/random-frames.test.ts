/**
 * Random frames of HTTP/2, most of them nearly right, from a client and from an upstream at the same time: nothing is
 * thrown, nothing is left behind, and the next client is served.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createOrigin } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
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
  ok,
  PING,
  pseudo,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
  word,
} from "../../src/data/http2/frame-client.ts";
import { eventually, wired } from "../../src/data/wire-test-kit.ts";
import { fuzzRuns, Random } from "../fuzz/random.ts";

/** On each of two gateways. */
const CONNECTIONS = fuzzRuns(100);

const FIELDS: readonly (readonly [string, string])[] = [
  ["host", "a.com"],
  ["host", "b.com"],
  ["content-length", "0"],
  ["content-length", "5"],
  ["content-length", "5, 5"],
  ["transfer-encoding", "chunked"],
  ["te", "trailers"],
  ["expect", "100-continue"],
  ["cookie", "a=1"],
  ["connection", "x"],
  ["x-a", "b\r\nc: d"],
  ["X-A", "b"],
  ["", "b"],
  ["etag", '"a"'],
  [":path", "/b"],
  [":status", "200"],
  ["trailer", "x-a"],
  ["content-type", "application/grpc"],
  ["grpc-timeout", "50m"],
  ["x-long", "a".repeat(5000)],
];
const METHODS = ["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "get"];
const PATHS = ["/", "/a?b", "*", "a", "", "http://a.com/", "/slow"];
const STATUSES = ["100", "101", "103", "200", "200", "200", "204", "205", "304", "404", "500", "999", "20"];

function someFields(random: Random): (readonly [string, string])[] {
  return Array.from({ length: random.below(4) }, () => random.pick(FIELDS));
}

function someFlags(random: Random): number {
  return (
    (random.chance(0.5) ? END_STREAM : 0) |
    (random.chance(0.95) ? END_HEADERS : 0) |
    (random.chance(0.03) ? 8 : 0)
  );
}

/** What both sides may send. `stream`: that it may be about. */
function anyFrame(random: Random, stream: number): Buffer {
  switch (random.below(9)) {
    case 0:
      return frame(RST_STREAM, 0, stream, word(random.below(14)));
    case 1:
      return frame(
        WINDOW_UPDATE,
        0,
        random.chance(0.5) ? 0 : stream,
        word(random.pick([0, 1, 65_535, 0x7fff_ffff])),
      );
    case 2:
      return frame(PING, random.below(2), 0, Buffer.alloc(random.chance(0.95) ? 8 : 7));
    case 3:
      return frame(SETTINGS, random.below(2), 0);
    case 4:
      return frame(
        SETTINGS,
        0,
        0,
        Buffer.concat([Buffer.from([0, random.below(8)]), word(random.pick([0, 1, 100, 65_535]))]),
      );
    case 5:
      return random.chance(0.2)
        ? frame(GOAWAY, 0, 0, Buffer.concat([word(random.below(20)), word(random.below(12))]))
        : frame(PING, 0, 0, Buffer.alloc(8));
    case 6:
      return frame(CONTINUATION, END_HEADERS, stream, block(someFields(random)));
    case 7:
      return frame(HEADERS, someFlags(random), stream, block(someFields(random)));
    default:
      return frame(
        random.below(12),
        random.below(256),
        stream,
        Buffer.alloc(random.below(40), random.below(256)),
      );
  }
}

function data(random: Random, stream: number): Buffer {
  const bytes = random.pick([0, 1, 5, 5, 100, 16_384]);
  return frame(DATA, random.chance(0.4) ? END_STREAM : 0, stream, Buffer.alloc(bytes, "a"));
}

function clientFrame(random: Random, at: number): Buffer {
  const stream = random.chance(0.5) ? 2 * at + 1 : 2 * random.below(at + 1) + 1;
  if (random.chance(0.5)) {
    const head = block([
      ...pseudo(
        random.chance(0.6) ? "POST" : random.pick(METHODS),
        random.chance(0.7) ? "/" : random.pick(PATHS),
      ),
      ...someFields(random),
    ]);
    return frame(HEADERS, someFlags(random), 2 * at + 1, head);
  }
  return random.chance(0.6) ? data(random, stream) : anyFrame(random, stream);
}

function anyHead(random: Random, stream: number): Buffer {
  const fields = [[":status", random.pick(STATUSES)] as const, ...someFields(random)];
  return frame(HEADERS, someFlags(random), stream, block(fields));
}

function answer(random: Random, stream: number): Buffer[] {
  const parts: Buffer[] = [];
  while (random.chance(0.8)) {
    const kind = random.below(10);
    if (kind < 4) parts.push(ok(stream, random.chance(0.3) ? END_STREAM : 0));
    else if (kind < 7) parts.push(data(random, stream));
    else if (kind < 9) parts.push(anyHead(random, stream));
    else parts.push(anyFrame(random, stream));
  }
  return parts;
}

async function origin(t: TestContext, random: Random): Promise<number> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const peer = FrameClient.accept(socket);
    peer.onFrame = ({ type, stream }) => {
      if (type !== HEADERS && type !== DATA) return;
      if (random.chance(0.03)) socket.destroy();
      else peer.send(...answer(random, stream));
    };
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

async function plainOrigin(t: TestContext): Promise<number> {
  const server = createOrigin((request, response) => {
    request.resume();
    if (request.url === "/slow") setImmediate(() => response.end("slow"));
    else request.on("end", () => response.end("ok"));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

describe("random frames", () => {
  for (const scheme of ["http", "h2c"]) {
    test(`from clients, and from upstreams with ${scheme}, harm nobody else`, async (t) => {
      const random = Random.fromEnvironment();
      t.diagnostic(`FUZZ_SEED=${random.seed}`);
      const port = scheme === "http" ? await plainOrigin(t) : await origin(t, random);
      const upstream = {
        scheme,
        nodes: { [`127.0.0.1:${port}`]: 1 },
        timeout: { connect: 1, send: 1, read: 0.3 },
      };
      const sure = await plainOrigin(t);
      const gate = await wired(t, {
        routes: [
          { uri: "/*", upstream },
          { uri: "/sure", upstream: { nodes: { [`127.0.0.1:${sure}`]: 1 } } },
        ],
      });
      for (let round = 0; round < CONNECTIONS; round++) {
        const raw = await FrameClient.open(gate.port);
        const count = 1 + random.below(30);
        for (let at = 0; at < count && !raw.isClosed; at++) {
          const bytes = clientFrame(random, at);
          raw.send(random.chance(0.02) ? bytes.subarray(0, random.below(bytes.length)) : bytes);
          if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
        }
        if (random.chance(0.5)) raw.socket.destroy();
        else {
          if (random.chance(0.3)) raw.send(frame(GOAWAY, 0, 0, Buffer.concat([word(0), word(1)])));
          raw.socket.end();
        }
        await raw.closed();
      }
      await eventually(() => gate.inFlight() === 0 && gate.active() === 0);
      for (const { nodes } of gate.upstreams)
        assert.deepEqual(
          nodes.map(({ active }) => active),
          [0],
        );
      const last = await FrameClient.open(gate.port);
      last.send(get(1, "/sure"));
      assert.ok(await last.until(({ type, payload }) => type === DATA && payload.toString() === "ok"));
      last.socket.destroy();
    });
  }
});
