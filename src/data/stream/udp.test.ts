import assert from "node:assert/strict";
import { createSocket, type RemoteInfo, Socket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { Deadlines } from "../deadlines.ts";
import { Upstream } from "../upstream/upstream.ts";
import { eventually } from "../wire-test-kit.ts";
import { streamKit, type StreamKit, type StreamKitOptions, upstream } from "./stream-test-kit.ts";
import { freePort } from "../../../test/ports/free-port.ts";

interface UdpKit extends StreamKit {
  udpPort: number;
}

async function udpKit(t: TestContext, options: StreamKitOptions = {}): Promise<UdpKit> {
  const kit = await streamKit(t, options);
  return { ...kit, udpPort: await kit.listeners.addUdp("127.0.0.1", await freePort()) };
}

async function bound(t: TestContext): Promise<Socket> {
  const socket = createSocket("udp4");
  t.after(() => socket.close());
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

/** A node that answers each datagram with its name before it. */
async function udpNode(t: TestContext, name: string): Promise<string> {
  const socket = await bound(t);
  socket.on("message", (datagram: Buffer, from: RemoteInfo) => {
    socket.send(`${name}:${String(datagram)}`, from.port, from.address);
  });
  return `127.0.0.1:${socket.address().port}`;
}

async function ask(client: Socket, port: number, text: string): Promise<string> {
  client.send(text, port, "127.0.0.1");
  const [answer] = (await once(client, "message")) as [Buffer];
  return String(answer);
}

test("datagrams of a client go to one node, and its answers back; clients are told apart", async (t) => {
  const kit = await udpKit(t);
  kit.route({ upstream: upstream(await udpNode(t, "a"), await udpNode(t, "b")) });
  const [one, two] = [await bound(t), await bound(t)];
  const first = await ask(one, kit.udpPort, "1");
  const second = await ask(two, kit.udpPort, "2");
  assert.notEqual(first[0], second[0]);
  assert.equal(await ask(one, kit.udpPort, "3"), `${first[0]}:3`);
  assert.equal(await ask(two, kit.udpPort, ""), `${second[0]}:`);
  assert.equal(kit.active(), 2);
});

test("a session ends after its silence, and the next datagram begins another", async (t) => {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const kit = await udpKit(t, { deadlines });
  kit.route({ upstream: { ...upstream(await udpNode(t, "a")), timeout: { connect: 1, send: 2, read: 3 } } });
  const client = await bound(t);
  await ask(client, kit.udpPort, "1");
  now += 2_999;
  deadlines.sweep();
  assert.equal(kit.ended.length, 0);
  now += 1;
  deadlines.sweep();
  assert.equal(kit.ended.length, 1);
  assert.equal(kit.active(), 0);
  const [ended] = kit.ended;
  assert.equal(ended.variable("protocol"), "UDP");
  assert.equal(ended.variable("status"), "200");
  assert.deepEqual([ended.bytesReceived, ended.bytesSent], [1, 3]);
  assert.equal(await ask(client, kit.udpPort, "2"), "a:2");
});

test("a node where nobody listens ends the session, so that the next datagram may find another", async (t) => {
  const kit = await udpKit(t);
  const port = await freePort();
  kit.route({ upstream: upstream(`127.0.0.1:${port}`) });
  const client = await bound(t);
  client.send("x", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].stream.status, 502);
});

test("plugins see the first datagram as the first bytes, and may refuse", async (t) => {
  const kit = await udpKit(t);
  kit.route({
    upstream: upstream(await udpNode(t, "a")),
    plugins: { "ip-restriction": { blacklist: ["127.0.0.1"] } },
  });
  (await bound(t)).send("x", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.ended.length === 1);
  assert.equal(kit.ended[0].stream.status, 403);
  assert.equal(kit.active(), 0);
});

test("beyond the bound new clients are not served, and confirmed ones go on", async (t) => {
  const kit = await udpKit(t, { config: "cardea: { stream: { max_udp_sessions: 1 } }" });
  kit.route({ upstream: upstream(await udpNode(t, "a")) });
  const [one, two] = [await bound(t), await bound(t)];
  await ask(one, kit.udpPort, "1");
  await ask(one, kit.udpPort, "2");
  two.send("x", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.wire.logged.some((line) => line.includes("as many as it may")));
  assert.equal(await ask(one, kit.udpPort, "3"), "a:3");
  assert.equal(kit.active(), 1);
});

test("a flood of made-up clients displaces its own, and neither connections nor clients that go on", async (t) => {
  const kit = await udpKit(t, {
    config: "cardea: { http: { max_connections_per_worker: 3 }, stream: { max_udp_sessions: 3 } }",
  });
  kit.route({ upstream: upstream(await udpNode(t, "a")) });
  const known = await bound(t);
  await ask(known, kit.udpPort, "1");
  await ask(known, kit.udpPort, "2");
  for (let i = 0; i < 20; i++) (await bound(t)).send("x", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.ended.length === 18);
  assert.ok(kit.ended.every(({ stream }) => stream.status === 503));
  assert.equal(await ask(known, kit.udpPort, "3"), "a:3");
  assert.equal(await ask(await bound(t), kit.udpPort, "4"), "a:4");
  assert.equal(kit.active(), 3);
  const client = await kit.client();
  await eventually(() => kit.ended.some(({ stream }) => stream.protocol === "TCP") || kit.active() === 4);
  client.destroy();
});

test("what comes before there is a node waits within a bound of bytes", async (t) => {
  const kit = await udpKit(t);
  const seen: number[] = [];
  const socket = await bound(t);
  socket.on("message", (datagram: Buffer) => seen.push(datagram.length));
  kit.route({ upstream: { type: "roundrobin", nodes: { [`late.test:${socket.address().port}`]: 1 } } });
  const client = await bound(t);
  for (let i = 0; i < 4; i++) client.send(Buffer.alloc(10_000), kit.udpPort, "127.0.0.1");
  client.send(Buffer.alloc(1), kit.udpPort, "127.0.0.1");
  await eventually(() => kit.active() === 1);
  // All of them are there: a datagram of another client that was sent after them is.
  (await bound(t)).send("x", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.active() === 2);
  kit.wire.addresses.set("late.test", ["127.0.0.1"]);
  await eventually(() => seen.length >= 5);
  assert.deepEqual(
    seen.sort((a, b) => a - b),
    [1, 1, 10_000, 10_000, 10_000],
  );
});

test("a datagram from port 0, to which nothing can be sent, harms nobody", async (t) => {
  const sockets: Socket[] = [];
  const { bind } = Socket.prototype;
  t.mock.method(Socket.prototype, "bind", function (this: Socket, ...args: Parameters<typeof bind>) {
    sockets.push(this);
    return bind.apply(this, args);
  });
  const kit = await udpKit(t);
  const [listening] = sockets;
  kit.route({ upstream: upstream(await udpNode(t, "a")) });
  listening.emit("message", Buffer.from("x"), { address: "127.0.0.1", port: 0, family: "IPv4", size: 1 });
  assert.equal(await ask(await bound(t), kit.udpPort, "1"), "a:1");
  assert.equal(kit.active(), 1);
});

test("passive checks learn from answers and refusals, not from what was sent", async (t) => {
  const kit = await udpKit(t);
  const port = await freePort();
  const failed = t.mock.method(Upstream.prototype, "failed", () => undefined);
  const answered = t.mock.method(Upstream.prototype, "answered", () => undefined);
  kit.route({ server_addr: "127.0.0.1", upstream: upstream(`127.0.0.1:${port}`) });
  const client = await bound(t);
  client.send("x", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.ended.length === 1);
  assert.deepEqual([failed.mock.callCount(), answered.mock.callCount()], [1, 0]);
  kit.wire.put("stream_route", "1", { upstream: upstream(await udpNode(t, "a")) });
  await ask(client, kit.udpPort, "1");
  await ask(client, kit.udpPort, "2");
  assert.deepEqual([failed.mock.callCount(), answered.mock.callCount()], [1, 1]);
});

test("a drain ends all sessions at once", async (t) => {
  const kit = await udpKit(t);
  kit.route({ upstream: upstream(await udpNode(t, "a")) });
  await ask(await bound(t), kit.udpPort, "1");
  await kit.listeners.drain(60_000);
  assert.equal(kit.ended.length, 1);
  assert.equal(kit.active(), 0);
});

/** A node that answers with the port that it was asked from. */
async function portTeller(t: TestContext): Promise<string> {
  const socket = await bound(t);
  socket.on("message", (_, from) =>
    socket.send(`${socket.address().port} ${from.port}`, from.port, from.address),
  );
  return `127.0.0.1:${socket.address().port}`;
}

test("a client that goes on is known to the next worker: its node sees the same port, and nothing begins anew", async (t) => {
  const kit = await udpKit(t);
  kit.route({ upstream: upstream(await portTeller(t), await portTeller(t), await portTeller(t)) });
  const [known, once_] = [await bound(t), await bound(t)];
  const before = await ask(known, kit.udpPort, "1");
  await ask(known, kit.udpPort, "2");
  const fleeting = await ask(once_, kit.udpPort, "1");
  kit.listeners.close();
  assert.equal(kit.ended.length, 2);
  await kit.listeners.addUdp("127.0.0.1", kit.udpPort);
  assert.equal(await ask(known, kit.udpPort, "3"), before);
  assert.notEqual(await ask(once_, kit.udpPort, "2"), fleeting);
});

test("what is remembered of a client ends with its session, and is no use where its node or its port is gone", async (t) => {
  let now = 1000;
  const deadlines = new Deadlines(() => now, { sweeping: false });
  const kit = await udpKit(t, { deadlines });
  const [first, second] = [await portTeller(t), await portTeller(t)];
  kit.route({ upstream: { ...upstream(first), timeout: { connect: 1, send: 5, read: 5 } } });
  const client = await bound(t);
  const before = await ask(client, kit.udpPort, "1");
  await ask(client, kit.udpPort, "2");
  // Its port is taken.
  kit.listeners.close();
  const taker = createSocket("udp4");
  taker.bind({ port: Number(before.split(" ")[1]), exclusive: true });
  await once(taker, "listening");
  await kit.listeners.addUdp("127.0.0.1", kit.udpPort);
  const moved = await ask(client, kit.udpPort, "3");
  assert.equal(moved.split(" ")[0], before.split(" ")[0]);
  assert.notEqual(moved, before);
  taker.close();
  // Its node is gone.
  kit.listeners.close();
  kit.wire.put("stream_route", "1", { upstream: upstream(second) });
  await kit.listeners.addUdp("127.0.0.1", kit.udpPort);
  assert.equal((await ask(client, kit.udpPort, "4")).split(" ")[0], second.split(":")[1]);
  // Its session ended by itself.
  const last = await ask(client, kit.udpPort, "5");
  now += 60_000;
  deadlines.sweep();
  assert.notEqual(await ask(client, kit.udpPort, "6"), last);
});
