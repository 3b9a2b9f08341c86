/**
 * Clients and upstreams of HTTP/2 that mean harm, or are broken, through the whole data path: what they can reach is their
 * own request at most.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
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
  HEADERS,
  ok,
  pseudo,
  RST_STREAM,
  word,
} from "../../src/data/http2/frame-client.ts";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";

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
