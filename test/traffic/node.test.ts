/** What steers traffic, on a node with two workers and real sockets: shares, breakers, blocks, copies and the fallback. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { RealNode } from "../promises/real-node.ts";
import { freePort } from "../ports/free-port.ts";

const LOOK_MS = 20;

async function origin(t: TestContext, listener: RequestListener): Promise<{ port: number; server: Server }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

interface Answer {
  status: number;
  text: string;
}

/** On a connection of its own, so that the requests of a test come to both workers. */
function call(
  node: RealNode,
  path: string,
  host = "localhost",
  method = "GET",
  body?: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: "127.0.0.1", port: node.port("http"), path, method, agent: false, headers: { host } },
      (answer: IncomingMessage) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part: string) => (text += part));
        answer.on("end", () => resolve({ status: answer.statusCode!, text }));
        answer.on("error", reject);
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

async function metric(node: RealNode, start: string): Promise<number> {
  const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
  const line = page.split("\n").find((one) => one.startsWith(start));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(" ") + 1));
}

/** The page shows what was counted; workers count behind their answers. */
async function metricReaches(node: RealNode, start: string, value: number): Promise<void> {
  let found = await metric(node, start);
  while (found < value) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    found = await metric(node, start);
  }
  assert.equal(found, value, start);
}

test("shares of traffic-split are exact over the workers", async (t) => {
  const node = await RealNode.start(t);
  const canary = await origin(t, (_, answer) => answer.end("canary"));
  const stable = await origin(t, (_, answer) => answer.end("stable"));
  await node.put("/upstreams/canary", { nodes: { [`localhost:${canary.port}`]: 1 } });
  await node.put("/routes/1", {
    uri: "/*",
    plugins: {
      "traffic-split": {
        rules: [
          {
            weighted_upstreams: [
              { upstream_id: "canary", weight: 2 },
              { upstream: { nodes: { [`localhost:${stable.port}`]: 1 } }, weight: 3 },
              { weight: 5 },
            ],
          },
        ],
      },
    },
    upstream: { nodes: { [`127.0.0.1:${stable.port}`]: 1 } },
  });
  const taken: string[] = [];
  while (taken.length < 400) {
    const { status, text } = await call(node, "/");
    assert.equal(status, 200, text);
    taken.push(text);
  }
  assert.equal(taken.slice(0, 10).filter((text) => text === "canary").length, 2);
  // One cycle, whichever workers take its requests: were each to count by itself, shares would be right in the long run only.
  assert.deepEqual(taken.slice(10), taken.slice(0, -10));
  const refused = await node.admin("DELETE", "/upstreams/canary");
  assert.equal(refused.status, 400, "a plugin of a route uses it");
});

test("an api-breaker opens after its failures, whichever worker saw them", async (t) => {
  const node = await RealNode.start(t);
  let arrived = 0;
  const { port } = await origin(t, (_, answer) => {
    arrived++;
    answer.writeHead(500).end();
  });
  await node.put("/routes/1", {
    uri: "/*",
    plugins: { "api-breaker": { break_response_code: 503, unhealthy: { failures: 7 } } },
    upstream: { nodes: { [`127.0.0.1:${port}`]: 1 } },
  });
  const statuses: number[] = [];
  for (let i = 0; i < 20; i++) statuses.push((await call(node, "/")).status);
  assert.equal(arrived, 7);
  assert.deepEqual(statuses, [
    ...Array.from({ length: 7 }, () => 500),
    ...Array.from({ length: 13 }, () => 503),
  ]);
});

test("a block holds on all workers when it is answered, closes WebSockets if asked, and is undone exactly", async (t) => {
  const node = await RealNode.start(t);
  const { server, port } = await origin(t, (_, answer) => answer.end("ok"));
  server.on("upgrade", (_, socket: Socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  const upstream = { nodes: { [`127.0.0.1:${port}`]: 1 } };
  await node.put("/routes/1", { uri: "/1", enable_websocket: true, upstream });
  await node.put("/routes/2", { uri: "/2", enable_websocket: true, upstream });
  const [blocked, open] = [await webSocket(t, node, "/1"), await webSocket(t, node, "/2")];
  const closed = once(blocked, "close");
  const made = await node.admin("POST", "/block", { route_id: "1", status: 410, close_connections: true });
  assert.equal(made.status, 201);
  for (let i = 0; i < 20; i++) assert.equal((await call(node, "/1")).status, 410);
  assert.equal((await call(node, "/2")).status, 200);
  await closed;
  open.write("still here");
  assert.equal(String((await once(open, "data"))[0]), "still here");
  await node.admin("DELETE", `/block/${made.body.value.id}`);
  for (let i = 0; i < 20; i++) assert.equal((await call(node, "/1")).status, 200);
});

async function webSocket(t: TestContext, node: RealNode, path: string): Promise<Socket> {
  const socket = connect(node.port("http"), "127.0.0.1");
  t.after(() => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1.1 101/);
  return socket;
}

test("copies of requests hold nothing up: a mirror that reads nothing, and one that is not there", async (t) => {
  const node = await RealNode.start(t);
  let received = 0;
  const { port } = await origin(t, (incoming, answer) => {
    incoming.on("data", (part: Buffer) => (received += part.length));
    incoming.on("end", () => answer.end("main"));
  });
  const deaf = createTcpServer((socket) => {
    socket.pause();
    socket.on("error", () => socket.destroy());
    t.after(() => socket.destroy());
  }).listen(0, "127.0.0.1");
  await once(deaf, "listening");
  t.after(() => deaf.close());
  const deafPort = (deaf.address() as AddressInfo).port;
  const mirroring = (mirror: string) => ({
    uri: "/*",
    plugins: { "proxy-mirror": { host: mirror } },
    upstream: { nodes: { [`127.0.0.1:${port}`]: 1 } },
  });
  await node.put("/routes/1", mirroring(`http://127.0.0.1:${deafPort}`));
  const body = Buffer.alloc(16 * 1024 ** 2, "x");
  assert.equal((await call(node, "/", "localhost", "POST", body)).text, "main");
  assert.equal(received, body.length);
  await metricReaches(node, 'apisix_mirrored_requests_total{outcome="dropped"}', 1);

  deaf.close();
  await node.put("/routes/1", mirroring(`http://127.0.0.1:${await freePort()}`));
  for (let i = 0; i < 10; i++) assert.equal((await call(node, "/")).text, "main");
  await metricReaches(node, 'apisix_mirrored_requests_total{outcome="failed"}', 10);
});

test("a copy whose request ended before its body is dropped, and waits for nothing", async (t) => {
  const node = await RealNode.start(t);
  const { port } = await origin(t, (_, answer) => answer.end("early"));
  const mirror = await origin(t, (incoming) => incoming.resume());
  await node.put("/routes/1", {
    uri: "/*",
    plugins: { "proxy-mirror": { host: `http://127.0.0.1:${mirror.port}` } },
    upstream: { nodes: { [`127.0.0.1:${port}`]: 1 } },
  });
  const client = connect(node.port("http"), "127.0.0.1");
  t.after(() => client.destroy());
  client.on("error", () => client.destroy());
  client.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n1");
  assert.match(String((await once(client, "data"))[0]), /^HTTP\/1.1 200 /);
  await metricReaches(node, 'apisix_mirrored_requests_total{outcome="dropped"}', 1);
});

test("a deadline breaks off an answer that has begun, and answers in the place of one that has not", async (t) => {
  const node = await RealNode.start(t);
  const { port } = await origin(t, ({ url }, answer) => {
    if (url === "/begun") answer.write("a part");
  });
  await node.put("/routes/1", {
    uri: "/*",
    plugins: { deadline: { budget_ms: 2000 } },
    upstream: { nodes: { [`127.0.0.1:${port}`]: 1 } },
  });
  assert.deepEqual(await call(node, "/silent"), { status: 504, text: '{"error_msg":"deadline exceeded"}\n' });
  await assert.rejects(call(node, "/begun"), { code: "ECONNRESET" });
  await metricReaches(node, 'apisix_deadline_exceeded_total{outcome="cut"}', 1);
  await metricReaches(node, 'apisix_deadline_exceeded_total{outcome="broken"}', 1);
});

test("what no route knows goes to the fallback, by name, and is counted per host", async (t) => {
  const legacy = await origin(t, ({ headers, url }, answer) => answer.end(`legacy ${headers.host} ${url}`));
  const node = await RealNode.start(t, {
    change(config) {
      config.fallback = {
        nodes: [{ host: "localhost", port: legacy.port, weight: 1, priority: 0 }],
        scheme: "http",
        type: "roundrobin",
        hash_on: "vars",
        pass_host: "pass",
      };
    },
  });
  const moved = await origin(t, (_, answer) => answer.end("moved"));
  assert.equal((await call(node, "/a?b=1", "a.example")).text, "legacy a.example /a?b=1");
  await node.put("/routes/1", {
    uri: "/*",
    host: "a.example",
    upstream: { nodes: { [`127.0.0.1:${moved.port}`]: 1 } },
  });
  assert.equal((await call(node, "/a", "a.example")).text, "moved");
  for (let i = 0; i < 5; i++) assert.equal((await call(node, "/", "b.example")).text, "legacy b.example /");
  await metricReaches(node, 'apisix_fallback_requests_total{host="a.example"}', 1);
  await metricReaches(node, 'apisix_fallback_requests_total{host="b.example"}', 5);
});
