/** Stream routes on a whole node: written through the Admin API, served by all workers, and while those change. */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { addStreams, RealNode } from "../promises/real-node.ts";
import { freePort } from "../ports/free-port.ts";

async function echoServer(t: TestContext): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function startNode(t: TestContext, worker?: string): Promise<{ node: RealNode; port: number }> {
  const port = await freePort();
  const node = await RealNode.start(t, {
    ...(worker !== undefined && { worker }),
    change(config) {
      addStreams(config, port);
      config.stream.accessLog = {
        path: "logs/streams.log",
        format: "$protocol $status $bytes_sent $bytes_received $route_id",
        escape: "default",
        bufferBytes: 1,
      };
    },
  });
  return { node, port };
}

async function client(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port });
  t.after(() => socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** What is sent comes back. */
async function ping(socket: Socket): Promise<boolean> {
  if (socket.closed) return false;
  socket.write("ping");
  const [chunk] = (await Promise.race([once(socket, "data"), once(socket, "close")])) as [unknown];
  return String(chunk) === "ping";
}

test("a stream route is live when its write is answered, checked by health checks, and logged", async (t) => {
  const { node, port } = await startNode(t);
  const to = await echoServer(t);
  const checks = { active: { type: "tcp", healthy: { interval: 1, successes: 1 } } };
  const upstream = { type: "roundrobin", nodes: { [to]: 1 }, checks };
  await node.put("/stream_routes/1", { server_port: port, upstream });
  const first = await client(t, port);
  assert.ok(await ping(first));
  first.end();
  await once(first, "close");
  const infos = (await (await fetch(`${node.url("control")}/v1/healthcheck`)).json()) as { name: string }[];
  assert.deepEqual(
    infos.map(({ name }) => name),
    ["/apisix/stream_routes/1"],
  );
  const log = join(node.folder, "logs/streams.log");
  let text = "";
  while (!text.endsWith("\n")) {
    await setTimeout(20);
    try {
      text = readFileSync(log, "utf8");
    } catch {
      // Not yet.
    }
  }
  assert.equal(text, "TCP 200 4 4 1\n");
  const refused = await node.admin("PUT", "/stream_routes/2", { plugins: { "key-auth": {} } });
  assert.equal(refused.status, 400);
  assert.match(refused.text, /unknown plugin \[key-auth\]/);
});

test("when a worker dies its connections end, those of the other go on, and every new one is served", async (t) => {
  const { node, port } = await startNode(t, "faulty-worker.ts");
  await node.put("/stream_routes/1", {
    upstream: { type: "roundrobin", nodes: { [await echoServer(t)]: 1 } },
  });
  const open: Socket[] = [];
  for (let i = 0; i < 40; i++) open.push(await client(t, port));
  for (const socket of open) assert.ok(await ping(socket));
  writeFileSync(join(node.folder, "fault-0"), "throw");
  await node.logged("a thread died and is started again");
  const alive = await Promise.all(open.map((socket) => ping(socket)));
  assert.ok(alive.includes(true) && alive.includes(false), String(alive));
  for (let i = 0; i < 20; i++) assert.ok(await ping(await client(t, port)));
});

test("a UDP client that goes on keeps its node, and the port that the node sees, when the worker with the port dies", async (t) => {
  const port = await freePort();
  const node = await RealNode.start(t, {
    worker: "faulty-worker.ts",
    change(config) {
      config.admin.streamRoutes = true;
      config.listeners.push({ ...config.listeners[0], purpose: "stream-udp", port });
    },
  });
  const nodes: Record<string, number> = {};
  for (let i = 0; i < 3; i++) {
    const server = createSocket("udp4");
    t.after(() => server.close());
    server.on("message", (_, from) =>
      server.send(`${server.address().port} ${from.port}`, from.port, from.address),
    );
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    nodes[`127.0.0.1:${server.address().port}`] = 1;
  }
  await node.put("/stream_routes/1", { server_port: port, upstream: { type: "roundrobin", nodes } });
  const socket = createSocket("udp4");
  t.after(() => socket.close());
  let answer = "";
  socket.on("message", (datagram: Buffer) => (answer = String(datagram)));
  socket.on("error", () => undefined);
  const ask = async (): Promise<string> => {
    answer = "";
    // Datagrams may be lost, and are while nobody has the port.
    while (answer === "") {
      socket.send("x", port, "127.0.0.1");
      await setTimeout(20);
    }
    return answer;
  };
  const before = await ask();
  await ask();
  writeFileSync(join(node.folder, "fault-0"), "throw");
  await node.logged("a thread died and is started again");
  assert.equal(await ask(), before);
});
