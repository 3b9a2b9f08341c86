/** Clients and nodes that behave badly in every combination: in the end nothing is left of them, and the next one is served. */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import * as fc from "fast-check";
import { Deadlines } from "../deadlines.ts";
import { eventually } from "../wire-test-kit.ts";
import { connectPacket } from "../../plugins/mqtt-proxy/packet-kit.ts";
import { deadNode, echo, node, streamKit, until, upstream } from "./stream-test-kit.ts";

const CONNECTIONS = 120;
/** Longer than any timeout of a connection. */
const LONG_MS = 3_600_000;

const CONNECT = connectPacket({ level: 4, clientId: "sensor" });

/** What a client or a node does once it is connected; it may be cut off in the middle of it. */
const BEHAVIOURS: ((socket: Socket) => void)[] = [
  (socket) => socket.end(),
  (socket) => socket.resetAndDestroy(),
  (socket) => socket.destroy(),
  (socket) => socket.end(CONNECT),
  (socket) => void socket.write(CONNECT, () => socket.resetAndDestroy()),
  (socket) => void socket.write(CONNECT),
  (socket) => void socket.write(CONNECT.subarray(0, 5)),
  (socket) => socket.end(CONNECT.subarray(0, 5)),
  (socket) => void socket.write("GET / HTTP/1.1\r\n\r\n"),
  (socket) => void socket.write(Buffer.concat([CONNECT, Buffer.alloc(3_000_000)])),
  (socket) => socket.end(Buffer.concat([CONNECT, Buffer.alloc(3_000_000)])),
  (socket) => void socket.pause().write(Buffer.concat([CONNECT, Buffer.alloc(3_000_000)])),
  (socket) => void socket.on("data", () => socket.resetAndDestroy()),
  (socket) => void socket.once("data", () => socket.end("bye")),
  () => undefined,
];

for (const plugins of [undefined, { "mqtt-proxy": { protocol_level: 4 } }]) {
  test(`whatever clients and nodes do, nothing is left behind${plugins === undefined ? "" : ", with mqtt-proxy in front"}`, async (t) => {
    let now = 1000;
    const deadlines = new Deadlines(() => now, { sweeping: false });
    const kit = await streamKit(t, { deadlines });
    const before = deadlines.size;
    let turn = 0;
    const bad = await node(t, (socket) => {
      socket.resume();
      BEHAVIOURS[(turn++ * 7) % BEHAVIOURS.length](socket);
    });
    const limits = { requests: CONNECTIONS / 2, queue: 5, queue_timeout: 0.05 };
    kit.route({
      ...(plugins !== undefined && { plugins }),
      upstream: { ...upstream(bad, await deadNode()), limits, timeout: { connect: 1, send: 1, read: 1 } },
    });
    for (let i = 0; i < CONNECTIONS; i++) {
      const client = await kit.client();
      client.resume();
      BEHAVIOURS[i % BEHAVIOURS.length](client);
    }
    while (kit.ended.length < CONNECTIONS) {
      now += LONG_MS;
      deadlines.sweep();
      await setTimeout(1);
    }
    assert.equal(kit.ended.length, CONNECTIONS);
    assert.ok(kit.ended.every((x) => x.stream.status >= 200));
    assert.equal(kit.active(), 0);
    assert.equal(deadlines.size, before);
    const [made] = kit.wire.upstreams;
    assert.deepEqual([made.limit!.running, made.limit!.waiting], [0, 0]);
    assert.ok(made.nodes.every(({ active }) => active === 0));
    kit.wire.put("stream_route", "1", { upstream: upstream(await node(t, echo)) });
    const last = await kit.client();
    last.write("still here");
    assert.equal(await until(last, "here"), "still here");
  });
}

test("whatever bytes come in front of mqtt-proxy, in whatever pieces: a good packet passes whole, others are closed", async (t) => {
  let connections = 0;
  const kit = await streamKit(t);
  kit.route({
    plugins: { "mqtt-proxy": { protocol_level: 4 } },
    upstream: upstream(
      await node(t, (socket) => {
        connections++;
        echo(socket);
      }),
    ),
  });
  const flaws: fc.Arbitrary<(packet: Buffer) => Buffer>[] = [
    fc.constant((packet: Buffer) => packet),
    fc.nat(30).map((at) => (packet: Buffer) => packet.subarray(0, Math.min(at, packet.length - 1))),
    fc.tuple(fc.nat(12), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => (packet: Buffer) => {
      const broken = Buffer.from(packet);
      broken[at] ^= flip;
      return broken;
    }),
    fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => () => Buffer.from(bytes)),
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.string({ minLength: 1, maxLength: 30 }),
      fc.oneof(...flaws),
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
      async (clientId, flaw, cuts) => {
        const sent = flaw(connectPacket({ level: 4, clientId }));
        const [before, endedBefore] = [connections, kit.ended.length];
        const client = await kit.client();
        const chunks: Buffer[] = [];
        client.on("data", (chunk: Buffer) => chunks.push(chunk));
        for (let at = 0, i = 0; at < sent.length; at += cuts[i++ % cuts.length]) {
          client.write(sent.subarray(at, at + cuts[i % cuts.length]));
          await new Promise((resolve) => setImmediate(resolve));
        }
        client.end();
        await eventually(() => kit.ended.length === endedBefore + 1);
        const { status } = kit.ended[endedBefore].stream;
        if (connections === before) assert.equal(status, 503);
        else {
          assert.equal(status, 200);
          await eventually(() => client.destroyed || client.readableEnded);
          assert.ok(Buffer.concat(chunks).equals(sent));
        }
      },
    ),
    { numRuns: 80 },
  );
  assert.equal(kit.active(), 0);
});
