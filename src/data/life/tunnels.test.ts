/** What becomes of open WebSockets when their route changes, a block comes, they are silent, or the worker ends. */

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { Deadlines } from "../deadlines.ts";
import { Origin } from "../http1/upstream-test-kit.ts";
import { eventually, wired, type WireClient, type Wired } from "../wire-test-kit.ts";

const UPGRADE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const GOING_AWAY = "\x88\x02\x03\xe9";

interface Bench {
  gateway: Wired;
  origin: Origin;
  /** "127.0.0.1:port" of the origin. */
  node: string;
  deadlines: Deadlines;
  pass(ms: number): void;
}

async function bench(t: TestContext, config?: string): Promise<Bench> {
  const origin = await new Origin(({ received, socket }) => {
    if (received.endsWith("\r\n\r\n")) socket.write(SWITCHED);
  }).listen();
  t.after(() => origin.close());
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const gateway = await wired(t, { routes: [], deadlines, ...(config !== undefined && { config }) });
  const pass = (ms: number): void => {
    now += ms;
    deadlines.sweep();
  };
  return { gateway, origin, node: `127.0.0.1:${origin.port}`, deadlines, pass };
}

const to = (node: string): object => ({ nodes: { [node]: 1 } });

async function open({ gateway }: Bench): Promise<WireClient> {
  const client = await gateway.connect();
  await client.write(UPGRADE).until((text) => text.endsWith("\r\n\r\n"));
  client.received = "";
  return client;
}

function server({ origin }: Bench, i = 0): Socket {
  return origin.connections[i].socket;
}

/** The frame that the server got last, unmasked: its first byte and the status. */
function lastFrame(received: string): number[] {
  const bytes = Buffer.from(received, "latin1").subarray(-8);
  return [bytes[0], bytes[1], bytes[6] ^ bytes[2], bytes[7] ^ bytes[3]];
}

/** It is open: what is sent arrives. */
async function isOpen(b: Bench, client: WireClient, i = 0): Promise<void> {
  client.received = "";
  server(b, i).write("\x81\x02hi", "latin1");
  assert.equal(await client.until((text) => text.length >= 4), "\x81\x02hi");
}

function closedFor(gateway: Wired, reason: string): number {
  const family = gateway.shared.metrics.counter("tunnels_closed_total", ["reason"]);
  return family.value(family.series([reason]));
}

function openTunnels(gateway: Wired): number {
  const family = gateway.shared.metrics.gauge("tunnels", []);
  return family.value(family.series([]));
}

const edits: [name: string, edit: (b: Bench) => void][] = [
  ["is edited", (b) => b.gateway.put("route", "1", route(b, { name: "other" }))],
  ["is removed", (b) => b.gateway.put("route", "1", null)],
  ["is disabled", (b) => b.gateway.put("route", "1", route(b, { status: 0 }))],
  ["loses the node", (b) => b.gateway.put("route", "1", { ...route(b), upstream: to("127.0.0.2:1") })],
];

function route({ node }: Bench, more: object = {}): Record<string, unknown> {
  return {
    uri: "/*",
    enable_websocket: true,
    websocket: { on_change: "close" },
    upstream: to(node),
    ...more,
  };
}

for (const [name, edit] of edits) {
  test(`with \`close\`, both sides of a WebSocket are told when its route ${name}`, async (t) => {
    const b = await bench(t);
    b.gateway.put("route", "1", route(b));
    const client = await open(b);
    assert.equal(openTunnels(b.gateway), 1);
    edit(b);
    assert.equal(await client.ended(), GOING_AWAY);
    await eventually(() => server(b).readableEnded);
    assert.deepEqual(lastFrame(b.origin.connections[0].received), [0x88, 0x82, 0x03, 0xe9]);
    client.socket.end();
    server(b).end();
    await eventually(() => b.gateway.inFlight() === 0);
    assert.equal(closedFor(b.gateway, "change"), 1);
    assert.equal(openTunnels(b.gateway), 0);
    assert.equal(b.gateway.ended[0].response.status, 101);
  });
}

test("a frame that is on its way arrives whole before the goodbye, and nothing behind it", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b));
  const client = await open(b);
  server(b).write("\x82\x05ab", "latin1");
  await client.until((text) => text.length >= 4);
  b.gateway.put("route", "1", null);
  server(b).write("cde\x82\x01x", "latin1");
  assert.equal(await client.ended(), `\x82\x05abcde${GOING_AWAY}`);
  client.socket.destroy();
});

test("a peer that never finishes its frame, or never answers, is cut off after five seconds", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b));
  const client = await open(b);
  server(b).write("\x82\x05ab", "latin1");
  await client.until((text) => text.length >= 4);
  b.gateway.put("route", "1", null);
  b.pass(4_999);
  assert.equal(b.gateway.inFlight(), 1);
  b.pass(1);
  await client.ended();
  assert.equal(client.received, "\x82\x05ab");
  await eventually(() => b.gateway.inFlight() === 0);
});

test("with `keep`, which is the default, a WebSocket outlives its route", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b, { websocket: undefined }));
  const client = await open(b);
  b.gateway.put("route", "1", null);
  b.pass(30_000);
  await isOpen(b, client);
});

test("with `drain` it goes on, and is closed within the time for it", async (t) => {
  const b = await bench(t, "cardea: { http: { tunnel_idle_timeout: 1h } }");
  b.gateway.put("route", "1", route(b, { websocket: { on_change: "drain", drain_time: 20 } }));
  const clients = [await open(b), await open(b), await open(b)];
  b.gateway.put("route", "1", null);
  b.pass(9_999);
  for (const [i, client] of clients.entries()) await isOpen(b, client, i);
  b.pass(10_001);
  for (const client of clients) assert.match(await client.ended(), /\x88\x02\x03\xe9$/);
});

test("the policy of the new version counts, that of the service where the route has none", async (t) => {
  const b = await bench(t);
  b.gateway.put("service", "s", { upstream: to(b.node), enable_websocket: true });
  b.gateway.put("route", "1", { uri: "/*", service_id: "s" });
  const client = await open(b);
  b.gateway.put("service", "s", {
    upstream: to(b.node),
    enable_websocket: true,
    websocket: { on_change: "close" },
  });
  assert.equal(await client.ended(), GOING_AWAY);
});

test("new nodes and other fields of an upstream touch no WebSocket; a node that leaves it does", async (t) => {
  const b = await bench(t);
  b.gateway.put("upstream", "u", to(b.node) as Record<string, unknown>);
  b.gateway.put("route", "1", route(b, { upstream: undefined, upstream_id: "u" }));
  const client = await open(b);
  b.gateway.put("upstream", "u", { nodes: { [b.node]: 5, "127.0.0.2:1": 1 }, retries: 1 });
  await isOpen(b, client);
  client.received = "";
  b.gateway.put("upstream", "u", { nodes: { "127.0.0.2:1": 1 } });
  assert.equal(await client.ended(), GOING_AWAY);
});

test("nodes that join the upstream of the route itself touch no WebSocket", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b));
  const client = await open(b);
  b.gateway.put("route", "1", route(b, { upstream: { nodes: { [b.node]: 1, "127.0.0.2:1": 1 } } }));
  await isOpen(b, client);
});

test("silence in both directions ends it after the time of its route, and bytes in one keep it", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b, { websocket: { idle_timeout: 5 } }));
  const client = await open(b);
  b.pass(4_000);
  await isOpen(b, client);
  b.pass(4_000);
  await isOpen(b, client);
  b.pass(5_000);
  await client.ended();
  await eventually(() => b.gateway.inFlight() === 0);
  assert.equal(closedFor(b.gateway, "idle"), 1);
});

test("what is no WebSocket is cut off where a WebSocket is told", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b));
  const client = await b.gateway.connect();
  await client.write(UPGRADE.replace("websocket", "other")).until((text) => text.endsWith("\r\n\r\n"));
  client.received = "";
  b.gateway.put("route", "1", null);
  assert.equal(await client.ended(), "");
});

test("a worker that ends tells its WebSockets before, in the time that it has", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b, { websocket: undefined }));
  const client = await open(b);
  b.gateway.life.drainTunnels(10_000);
  b.pass(3_999);
  await isOpen(b, client);
  client.received = "";
  b.pass(4_001);
  assert.equal(await client.ended(), GOING_AWAY);
  client.socket.end();
  server(b).end();
  await eventually(() => b.gateway.inFlight() === 0);
  assert.equal(closedFor(b.gateway, "drain"), 1);
});

for (const deaf of ["client", "upstream"] as const) {
  test(`the ${deaf} that does not read holds the other side back, and gets the rest when it reads`, async (t) => {
    const b = await bench(t);
    b.gateway.put("route", "1", route(b));
    const client = await open(b);
    const socket = server(b);
    const [reader, sender] = deaf === "client" ? [client.socket, socket] : [socket, client.socket];
    reader.pause();
    const huge = Buffer.alloc(64 * 1024 * 1024);
    huge.writeUInt8(0x82, 0);
    huge.writeUInt8(127, 1);
    huge.writeBigUInt64BE(BigInt(huge.length), 2);
    sender.write(huge);
    await comesToRest(sender);
    assert.ok(sender.writableLength > huge.length / 2, `${sender.writableLength} bytes wait at the sender`);
    // Nobody need gather it.
    reader.removeAllListeners("data").resume();
    await eventually(() => sender.writableLength === 0);
  });
}

/** Nothing more of what it wrote leaves, for many turns of the loop. */
async function comesToRest(socket: Socket): Promise<void> {
  let waiting = -1;
  let turnsAtRest = 0;
  await eventually(() => {
    turnsAtRest = socket.writableLength === waiting ? turnsAtRest + 1 : 0;
    waiting = socket.writableLength;
    return turnsAtRest === 500;
  });
}

test("a client that does not read holds its upstream back, also while it is told goodbye", async (t) => {
  const b = await bench(t);
  b.gateway.put("route", "1", route(b));
  const client = await open(b);
  client.socket.pause();
  const socket = server(b);
  const huge = Buffer.alloc(64 * 1024 * 1024);
  huge.writeUInt8(0x82, 0);
  huge.writeUInt8(127, 1);
  huge.writeBigUInt64BE(BigInt(huge.length), 2);
  socket.on("error", () => undefined);
  socket.write(huge);
  await eventually(() => client.socket.readableLength > 0);
  b.gateway.put("route", "1", null);
  await comesToRest(socket);
  assert.ok(socket.writableLength > huge.length / 2, `${socket.writableLength} bytes wait at the upstream`);
  b.pass(5_000);
  await eventually(() => socket.destroyed && b.gateway.inFlight() === 0);
});

test("whenever a WebSocket is closed, what arrived is whole frames and the goodbye", async (t) => {
  const b = await bench(t);
  let i = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 12 }),
      fc.nat(20),
      async (lengths, cuts, closesAfter) => {
        b.gateway.put("route", "1", route(b));
        const client = await open(b);
        const socket = server(b, i++);
        const frames = lengths.map((length) =>
          Buffer.concat([Buffer.from([0x82, 126, length >> 8, length & 255]), Buffer.alloc(length, 7)]),
        );
        const bytes = Buffer.concat(frames);
        let closed = false;
        for (let at = 0, piece = 0; at < bytes.length; piece++) {
          if (piece === closesAfter) {
            b.gateway.put("route", "1", null);
            closed = true;
          }
          socket.write(bytes.subarray(at, (at += cuts[piece % cuts.length])));
          await new Promise((resolve) => setImmediate(resolve));
        }
        if (!closed) b.gateway.put("route", "1", null);
        const received = await client.ended();
        const ends = [0];
        for (const frame of frames) ends.push(ends.at(-1)! + frame.length);
        const passed = received.length - GOING_AWAY.length;
        assert.ok(ends.includes(passed), `${passed} bytes before the goodbye`);
        assert.equal(received, bytes.toString("latin1", 0, passed) + GOING_AWAY);
        client.socket.destroy();
        socket.destroy();
        await eventually(() => b.gateway.inFlight() === 0);
      },
    ),
    { numRuns: 60 },
  );
});
