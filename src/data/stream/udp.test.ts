import assert from "node:assert/strict";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { Deadlines } from "../deadlines.ts";
import { eventually } from "../wire-test-kit.ts";
import { streamKit, type StreamKit, type StreamKitOptions, upstream } from "./stream-test-kit.ts";

interface UdpKit extends StreamKit {
  udpPort: number;
}

async function udpKit(t: TestContext, options: StreamKitOptions = {}): Promise<UdpKit> {
  const kit = await streamKit(t, options);
  return { ...kit, udpPort: await kit.listeners.addUdp("127.0.0.1", 0) };
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
  const gone = createSocket("udp4");
  gone.bind(0, "127.0.0.1");
  await once(gone, "listening");
  const { port } = gone.address();
  gone.close();
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

test("beyond the bound new clients are not served, and known ones go on", async (t) => {
  const kit = await udpKit(t, { config: "cardea: { http: { max_connections_per_worker: 1 } }" });
  kit.route({ upstream: upstream(await udpNode(t, "a")) });
  const [one, two] = [await bound(t), await bound(t)];
  await ask(one, kit.udpPort, "1");
  two.send("2", kit.udpPort, "127.0.0.1");
  await eventually(() => kit.wire.logged.some((line) => line.includes("as many as it may")));
  assert.equal(await ask(one, kit.udpPort, "3"), "a:3");
  assert.equal(kit.active(), 1);
});

test("a drain ends all sessions at once", async (t) => {
  const kit = await udpKit(t);
  kit.route({ upstream: upstream(await udpNode(t, "a")) });
  await ask(await bound(t), kit.udpPort, "1");
  await kit.listeners.drain(60_000);
  assert.equal(kit.ended.length, 1);
  assert.equal(kit.active(), 0);
});
