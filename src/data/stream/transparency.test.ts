/** Whatever two peers send, in whatever pieces, with whatever pauses and half-closes: it arrives as it would without a gateway. */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { eventually } from "../wire-test-kit.ts";
import { everything, node, streamKit, upstream } from "./stream-test-kit.ts";

const RUNS = 60;

/** What a peer does, in order; then it ends its side, at once or when the other has ended. */
interface Part {
  /** Lengths of what it writes; 0: it lets the loop turn instead. */
  steps: number[];
  /** It does not read before it has done all this. */
  isDeaf: boolean;
  endsFirst: boolean;
}

const part = fc.record<Part>({
  steps: fc.array(
    fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 150_000 })),
    {
      maxLength: 12,
    },
  ),
  isDeaf: fc.boolean(),
  endsFirst: fc.boolean(),
});

function bytesOf({ steps }: Part, seed: number): Buffer {
  const total = steps.reduce((sum, length) => sum + length, 0);
  return Buffer.from(Uint8Array.from({ length: total }, (_, i) => (i * 31 + seed + (i >> 8)) & 0xff));
}

async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves with what the peer received, once both sides have ended. */
async function play(socket: Socket, role: Part, sent: Buffer): Promise<Buffer> {
  const received = everything(socket);
  if (role.isDeaf) socket.pause();
  let at = 0;
  for (const length of role.steps) {
    if (length === 0) await turn();
    else socket.write(sent.subarray(at, (at += length)));
  }
  if (role.endsFirst) socket.end();
  socket.resume();
  const all = await received;
  socket.end();
  return all;
}

for (const proxyProtocolToUpstream of [false, true]) {
  test(`TCP arrives as it was sent, in both directions${proxyProtocolToUpstream ? ", behind a PROXY header" : ""}`, async (t) => {
    const kit = await streamKit(t, { listener: { proxyProtocolToUpstream } });
    let serve: (socket: Socket) => void = () => undefined;
    kit.route({ upstream: upstream(await node(t, (socket) => serve(socket))) });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(part, part, async (ofClient, ofNode) => {
        // Two that wait for each other's end wait for ever.
        const clientRole = { ...ofClient, endsFirst: ofClient.endsFirst || !ofNode.endsFirst };
        const [fromClient, fromNode] = [bytesOf(clientRole, 1), bytesOf(ofNode, 2)];
        const atNode = new Promise<Buffer>((resolve) => {
          serve = (socket) => resolve(play(socket, ofNode, fromNode));
        });
        const client = await kit.client();
        const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} ${kit.port}\r\n`;
        const expected = Buffer.concat([Buffer.from(proxyProtocolToUpstream ? header : ""), fromClient]);
        const atClient = await play(client, clientRole, fromClient);
        assert.ok(atClient.equals(fromNode), "the client got something else");
        assert.ok((await atNode).equals(expected), "the node got something else");
        await eventually(() => kit.ended.length === runs + 1);
        const ended = kit.ended[runs++];
        assert.equal(ended.stream.status, 200);
        assert.equal(ended.bytesReceived, fromClient.length);
        assert.equal(ended.bytesSent, fromNode.length);
      }),
      { numRuns: RUNS },
    );
    assert.equal(kit.active(), 0);
  });
}
