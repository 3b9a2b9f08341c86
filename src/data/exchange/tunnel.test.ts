/** Whatever a WebSocket's two ends send, in whatever pieces, with whatever pauses and half-closes: it arrives as without a gateway. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { node } from "../stream/stream-test-kit.ts";
import { eventually, wired } from "../wire-test-kit.ts";

const UPGRADE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const HEAD_END = "\r\n\r\n";
const RUNS = 60;

interface Part {
  /** Lengths of what it writes; 0: it lets the loop turn instead. */
  steps: number[];
  /** It does not read before it has done all this. */
  isDeaf: boolean;
  endsFirst: boolean;
  /** Its first bytes leave together with its head. */
  isEager: boolean;
}

const part = fc.record<Part>({
  steps: fc.array(
    fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 150_000 })),
    {
      maxLength: 10,
    },
  ),
  isDeaf: fc.boolean(),
  endsFirst: fc.boolean(),
  isEager: fc.boolean(),
});

function bytesOf({ steps }: Part, seed: number): Buffer {
  const total = steps.reduce((sum, length) => sum + length, 0);
  return Buffer.from(Uint8Array.from({ length: total }, (_, i) => (i * 37 + seed + (i >> 9)) & 0xff));
}

/** All that comes behind a head; `onHead` when that is complete. */
function behindHead(socket: Socket, onHead: () => void): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  let received = Buffer.alloc(0);
  let from = -1;
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => {
    if (from !== -1) {
      chunks.push(chunk);
      return;
    }
    received = Buffer.concat([received, chunk]);
    const at = received.indexOf(HEAD_END);
    if (at === -1) return;
    from = at + HEAD_END.length;
    chunks.push(received.subarray(from));
    onHead();
  });
  socket.on("end", () => resolve(Buffer.concat(chunks)));
  socket.on("close", () => resolve(Buffer.concat(chunks)));
  return promise;
}

async function speak(socket: Socket, role: Part, sent: Buffer): Promise<void> {
  if (role.isDeaf) socket.pause();
  let at = 0;
  for (const length of role.steps) {
    if (length > 0) socket.write(sent.subarray(at, (at += length)));
    else for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  if (role.endsFirst) socket.end();
  socket.resume();
}

test("what a WebSocket's ends send arrives as it was sent, in both directions", async (t) => {
  let serve: (socket: Socket) => void = () => undefined;
  const to = await node(t, (socket) => serve(socket));
  const gateway = await wired(t, {
    routes: [{ uri: "/*", enable_websocket: true, upstream: { nodes: { [to]: 1 } } }],
  });
  await fc.assert(
    fc.asyncProperty(part, part, async (ofClient, ofServer) => {
      // Two that wait for each other's end wait for ever.
      const before = gateway.ended.length;
      const server = { ...ofServer, endsFirst: ofServer.endsFirst || !ofClient.endsFirst };
      const [fromClient, fromServer] = [bytesOf(ofClient, 1), bytesOf(server, 2)];
      const atServer = new Promise<Buffer>((resolve) => {
        serve = (socket) => {
          const received = behindHead(socket, () => {
            if (server.isEager) socket.cork();
            socket.write(SWITCHED);
            const spoken = speak(socket, server, fromServer);
            socket.uncork();
            void Promise.all([received, spoken]).then(([bytes]) => {
              socket.end();
              resolve(bytes);
            });
          });
        };
      });
      const client = connect({ host: "127.0.0.1", port: gateway.port, allowHalfOpen: true });
      t.after(() => client.destroy());
      await once(client, "connect");
      const ready = Promise.withResolvers<void>();
      const received = behindHead(client, ready.resolve);
      client.write(UPGRADE);
      if (!ofClient.isEager) await ready.promise;
      await speak(client, ofClient, fromClient);
      const atClient = await received;
      client.end();
      assert.ok(atClient.equals(fromServer), "the client got something else");
      assert.ok((await atServer).equals(fromClient), "the server got something else");
      await eventually(() => gateway.ended.length === before + 1);
      assert.equal(gateway.ended[before].response.status, 101);
    }),
    { numRuns: RUNS },
  );
  await eventually(() => gateway.active() === 0);
  assert.equal(gateway.inFlight(), 0);
});
