import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { definePlugin, Type } from "../../plugin/index.ts";
import { Deadlines } from "../deadlines.ts";
import { eventually } from "../wire-test-kit.ts";
import { deadNode, echo, everything, node, streamKit, until, upstream } from "./stream-test-kit.ts";

test("bytes pass both ways as they are, in whatever pieces they come, and the end after them", async (t) => {
  const kit = await streamKit(t);
  kit.route({ upstream: upstream(await node(t, echo)) });
  const sent = randomBytes(3_000_000);
  const client = await kit.client();
  const received = everything(client);
  for (let at = 0, size = 1; at < sent.length; at += size, size = (size * 7) % 65_537) {
    if (!client.write(sent.subarray(at, at + size))) await once(client, "drain");
  }
  client.end();
  assert.ok((await received).equals(sent));
  await eventually(() => kit.ended.length === 1);
  const [ended] = kit.ended;
  assert.equal(ended.stream.status, 200);
  assert.equal(ended.bytesReceived, sent.length);
  assert.equal(ended.bytesSent, sent.length);
  assert.equal(kit.active(), 0);
});

test("who ended may still be answered: the client", async (t) => {
  const kit = await streamKit(t);
  kit.route({
    upstream: upstream(
      await node(t, (socket) => {
        socket.resume();
        socket.on("end", () => socket.end("late"));
      }),
    ),
  });
  const client = await kit.client();
  const received = everything(client);
  client.end("early");
  assert.equal(String(await received), "late");
});

test("who ended may still be answered: the node", async (t) => {
  const seen = Promise.withResolvers<Buffer>();
  const kit = await streamKit(t);
  kit.route({
    upstream: upstream(
      await node(t, (socket) => {
        seen.resolve(everything(socket));
        socket.end("bye");
      }),
    ),
  });
  const client = await kit.client();
  assert.equal(String(await everything(client)), "bye");
  client.end("still here");
  assert.equal(String(await seen.promise), "still here");
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].stream.status, 200);
});

test("a node that does not read holds its client back, and gets everything in the end", async (t) => {
  const total = 64 * 1024 * 1024;
  let atNode: Socket | null = null;
  const kit = await streamKit(t);
  kit.route({
    upstream: upstream(
      await node(t, (socket) => {
        socket.pause();
        atNode = socket;
      }),
    ),
  });
  const client = await kit.client();
  const piece = Buffer.alloc(1024 * 1024, 1);
  let written = 0;
  while (written < total && client.write(piece)) written += piece.length;
  for (let i = written; i < total - piece.length; i += piece.length) client.write(piece);
  client.end();
  await eventually(() => atNode !== null);
  // Nothing more moves: what was read of the client stands in bounded buffers.
  let waiting = client.writableLength;
  let turnsAtRest = 0;
  await eventually(() => {
    turnsAtRest = client.writableLength === waiting ? turnsAtRest + 1 : 0;
    waiting = client.writableLength;
    return turnsAtRest === 500;
  });
  assert.ok(client.writableLength > total / 2, `${client.writableLength} bytes wait at the client`);
  let received = 0;
  atNode!.on("data", (chunk: Buffer) => (received += chunk.length));
  atNode!.resume();
  await once(atNode!, "end");
  assert.ok(received > total / 2);
  atNode!.end();
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].bytesReceived, received);
});

test("what no route takes is closed", async (t) => {
  const kit = await streamKit(t);
  kit.route({ server_port: 1, upstream: upstream(await node(t, echo)) });
  const client = await kit.client();
  assert.equal((await everything(client)).length, 0);
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].stream.status, 500);
  assert.equal(kit.active(), 0);
});

test("a node that cannot be reached is passed over, and every connection succeeds", async (t) => {
  const kit = await streamKit(t);
  const [dead, alive] = [await deadNode(), await node(t, echo)];
  kit.route({ upstream: upstream(dead, alive) });
  for (let i = 0; i < 4; i++) {
    const client = await kit.client();
    client.write("hello");
    assert.equal(await until(client, "hello"), "hello");
    client.end();
  }
  await eventually(() => kit.ended.length === 4);
  assert.ok(kit.ended.some((x) => x.variable("upstream_addr") === `${dead}, ${alive}`));
  assert.deepEqual(
    kit.wire.upstreams[0].nodes.map(({ active }) => active),
    [0, 0],
  );
});

test("where no node can be reached the connection is closed, after each was tried once", async (t) => {
  const kit = await streamKit(t);
  const nodes = [await deadNode(), await deadNode()];
  kit.route({ upstream: upstream(...nodes) });
  assert.equal((await everything(await kit.client())).length, 0);
  await eventually(() => kit.ended.length === 1);
  const [ended] = kit.ended;
  assert.equal(ended.stream.status, 502);
  assert.deepEqual(ended.upstreamAddresses.split(", ").sort(), nodes.sort());
});

test("with `retries: 0` there is one attempt", async (t) => {
  const kit = await streamKit(t);
  kit.route({ upstream: { ...upstream(await deadNode(), await deadNode()), retries: 0 } });
  await everything(await kit.client());
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].upstreamAddresses.split(", ").length, 1);
});

test("silence in both directions ends a connection after the timeout of its upstream", async (t) => {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const kit = await streamKit(t, { deadlines });
  kit.route({ upstream: { ...upstream(await node(t, echo)), timeout: { connect: 1, send: 5, read: 9 } } });
  const client = await kit.client();
  client.write("a");
  await until(client, "a");
  now += 8_000;
  client.write("b");
  await until(client, "b");
  now += 8_999;
  deadlines.sweep();
  assert.equal(kit.ended.length, 0);
  now += 1;
  deadlines.sweep();
  assert.equal(kit.ended.length, 1);
  assert.equal(kit.ended[0].stream.status, 502);
  await everything(client);
});

test("a change of the route is for new connections; those that run keep their node", async (t) => {
  const kit = await streamKit(t);
  const [first, second] = [
    await node(t, (socket) => socket.on("data", (chunk) => socket.write(`1${String(chunk)}`))),
    await node(t, (socket) => socket.on("data", (chunk) => socket.write(`2${String(chunk)}`))),
  ];
  kit.wire.put("stream_route", "r", { upstream: upstream(first) });
  const before = await kit.client();
  before.write("a");
  await until(before, "1a");
  kit.wire.put("stream_route", "r", { upstream: upstream(second) });
  const after = await kit.client();
  after.write("b");
  assert.equal(await until(after, "b"), "2b");
  before.write("c");
  assert.equal(await until(before, "c"), "1c");
  kit.wire.put("stream_route", "r", null);
  assert.equal((await everything(await kit.client())).length, 0);
});

test("a route has the plugins and the upstream of its service; without it, connections are closed", async (t) => {
  const kit = await streamKit(t);
  kit.route({ service_id: "s" });
  assert.equal((await everything(await kit.client())).length, 0);
  kit.wire.put("service", "s", { upstream: upstream(await node(t, echo)), plugins: { "key-auth": {} } });
  const client = await kit.client();
  client.write("x");
  assert.equal(await until(client, "x"), "x");
  kit.wire.put("service", "s", {
    upstream: upstream(await node(t, echo)),
    plugins: { "ip-restriction": { blacklist: ["127.0.0.1"] } },
  });
  assert.equal((await everything(await kit.client())).length, 0);
  assert.equal(kit.ended.at(-1)!.stream.status, 403);
  assert.equal(kit.ended.at(-1)!.variable("service_id"), "s");
});

test("a plugin that nobody knows closes connections, since it may have been a guard", async (t) => {
  const kit = await streamKit(t);
  kit.route({ upstream: upstream(await node(t, echo)), plugins: { "no-such-plugin": {} } });
  assert.equal((await everything(await kit.client())).length, 0);
  assert.equal(kit.ended[0].stream.status, 503);
});

test("a draining listener takes nobody, and waits for those that run", async (t) => {
  const kit = await streamKit(t);
  kit.route({ upstream: upstream(await node(t, echo)) });
  const client = await kit.client();
  client.write("x");
  await until(client, "x");
  let isDrained = false;
  const drained = kit.listeners.drain(60_000).then(() => (isDrained = true));
  client.write("y");
  await until(client, "y");
  assert.equal(isDrained, false);
  client.end();
  await drained;
  assert.equal(kit.active(), 0);
});

test("at the end of a drain's time what still runs is cut off", async (t) => {
  const kit = await streamKit(t);
  kit.route({ upstream: upstream(await node(t, echo)) });
  const client = await kit.client();
  client.write("x");
  await until(client, "x");
  await kit.listeners.drain(1);
  await everything(client);
  assert.equal(kit.active(), 0);
});

const order: string[] = [];
const watcher = definePlugin({
  name: "watcher",
  version: "0.1.0",
  priority: 1,
  subsystems: ["stream"],
  config: Type.Object({}),
  compile: () => ({
    async preread(ctx) {
      order.push(`preread ${String(await ctx.stream.peek(3))}`);
    },
    beforeProxy(ctx) {
      order.push(`beforeProxy ${ctx.nodeAddress}`);
    },
    log(ctx) {
      order.push(`log ${ctx.stream?.status}`);
    },
  }),
});

test("the phases run in order; what a plugin looked at comes to the node all the same", async (t) => {
  order.length = 0;
  const kit = await streamKit(t, { plugins: [watcher] });
  kit.route({ upstream: upstream(await deadNode(), await node(t, echo)), plugins: { watcher: {} } });
  const client = await kit.client();
  client.write("ab");
  client.write("cdef");
  assert.equal(await until(client, "f"), "abcdef");
  client.end();
  await eventually(() => kit.ended.length === 1);
  const proxied = order.filter((step) => step === "beforeProxy 127.0.0.1").length;
  assert.ok(proxied >= 1);
  assert.match(order[0], /^preread abc/);
  assert.equal(order.at(-1), "log 200");
  assert.equal(order.length, proxied + 2);
});

test("a client that leaves while a plugin waits for it ends with its log phase, once", async (t) => {
  order.length = 0;
  const kit = await streamKit(t, { plugins: [watcher] });
  kit.route({ upstream: upstream(await node(t, echo)), plugins: { watcher: {} } });
  const client = await kit.client();
  client.write("a");
  await eventually(() => kit.active() === 1);
  client.resetAndDestroy();
  await eventually(() => kit.ended.length === 1);
  assert.equal(order.filter((step) => step.startsWith("log")).length, 1);
  assert.equal(kit.active(), 0);
});

test("a client that is silent in front of a plugin is not waited for longer than 30 seconds", async (t) => {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  order.length = 0;
  const kit = await streamKit(t, { plugins: [watcher], deadlines });
  kit.route({ upstream: upstream(await node(t, echo)), plugins: { watcher: {} } });
  const client = await kit.client();
  await eventually(() => kit.active() === 1);
  now += 30_000;
  await eventually(() => {
    deadlines.sweep();
    return order.length > 0;
  });
  assert.equal(order[0], "preread null");
  client.destroy();
});

const piecemeal = definePlugin({
  name: "piecemeal",
  version: "0.1.0",
  priority: 1,
  subsystems: ["stream"],
  config: Type.Object({}),
  compile: () => ({
    async preread(ctx) {
      for (let length = 1; length < 100; length++) {
        if ((await ctx.stream.peek(length)) === null) return ctx.answer(403);
      }
      return undefined;
    },
  }),
});

test("a client that drips in front of a plugin has 30 seconds in all, however often the plugin asks", async (t) => {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const kit = await streamKit(t, { plugins: [piecemeal], deadlines });
  kit.route({ upstream: upstream(await node(t, echo)), plugins: { piecemeal: {} } });
  const client = await kit.client();
  const closed = everything(client);
  await eventually(() => kit.active() === 1);
  for (let i = 0; i < 2; i++) {
    client.write("a");
    // Read, and asked for more: nothing of it is left in the kernel.
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
    now += 15_000;
    deadlines.sweep();
  }
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].stream.status, 403);
  await closed;
});

test("what is cut off with bytes unsent is reset, so that nobody takes the rest for the whole", async (t) => {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const kit = await streamKit(t, { deadlines });
  const body = Buffer.alloc(64 * 1024 * 1024);
  kit.route({
    upstream: {
      ...upstream(await node(t, (socket) => socket.end(body))),
      timeout: { connect: 1, send: 5, read: 5 },
    },
  });
  const client = await kit.client();
  client.pause();
  let before = -1;
  let turnsAtRest = 0;
  const { metrics } = kit.wire.shared;
  const bandwidth = metrics.counter("stream_bandwidth", ["listen_addr", "type", "side"]);
  const toClients = bandwidth.series(["127.0.0.1:9100", "egress", "downstream"]);
  await eventually(() => {
    const passed = bandwidth.value(toClients);
    turnsAtRest = passed === before && passed > 0 ? turnsAtRest + 1 : 0;
    before = passed;
    return turnsAtRest === 500;
  });
  const failed = new Promise<Error>((resolve) => client.on("error", resolve));
  now += 5_001;
  deadlines.sweep();
  assert.equal(kit.ended.length, 1);
  client.resume();
  assert.match(String(await failed), /ECONNRESET/);
});

test("limit-conn counts the connections that are open", async (t) => {
  const kit = await streamKit(t);
  const plugins = { "limit-conn": { conn: 1, burst: 0, default_conn_delay: 0.1, key: "remote_addr" } };
  kit.route({ upstream: upstream(await node(t, echo)), plugins });
  const first = await kit.client();
  first.write("x");
  await until(first, "x");
  assert.equal((await everything(await kit.client())).length, 0);
  assert.equal(kit.ended[0].stream.status, 503);
  first.end();
  await eventually(() => kit.ended.length === 2);
  const third = await kit.client();
  third.write("y");
  assert.equal(await until(third, "y"), "y");
});

test("traffic-split sends connections elsewhere", async (t) => {
  const kit = await streamKit(t);
  const other = await node(t, (socket) => socket.end("other"));
  const rules = [{ weighted_upstreams: [{ upstream: upstream(other), weight: 1 }] }];
  kit.route({ upstream: upstream(await node(t, echo)), plugins: { "traffic-split": { rules } } });
  assert.equal(String(await everything(await kit.client())), "other");
});

test("the metrics of listeners and of the plugin prometheus count sessions, ends and bytes", async (t) => {
  const kit = await streamKit(t);
  const address = await node(t, echo);
  kit.route({ upstream: upstream(address), plugins: { prometheus: {} } });
  const client = await kit.client();
  client.write("12345");
  await until(client, "5");
  client.end();
  await eventually(() => kit.ended.length === 1);
  const { metrics } = kit.wire.shared;
  const value = (name: string, labels: Record<string, string>): number => {
    const family = name.endsWith("connections")
      ? metrics.gauge(name, Object.keys(labels))
      : metrics.counter(name, Object.keys(labels));
    return family.value(family.series(Object.values(labels)));
  };
  const listen_addr = "127.0.0.1:9100";
  assert.equal(value("stream_active_connections", { listen_addr }), 0);
  assert.equal(value("stream_connection_total", { route: "1" }), 1);
  assert.equal(value("stream_status", { code: "200", listen_addr, node: address }), 1);
  for (const side of ["downstream", "upstream"]) {
    assert.equal(value("stream_bandwidth", { listen_addr, type: "ingress", side }), 5);
    assert.equal(value("stream_bandwidth", { listen_addr, type: "egress", side }), 5);
  }
});
