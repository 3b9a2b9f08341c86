/** Nodes taken out by hand: what the answer promises is true, under load and with requests that last. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { RealNode } from "../promises/real-node.ts";
import { freePort } from "../ports/free-port.ts";

interface Origin {
  server: Server;
  node: { host: string; port: number; weight: number };
  /** Answers that are held back: those to paths that begin with /held. */
  held: ServerResponse[];
  requests: number;
  running: number;
}

async function startOrigin(t: TestContext): Promise<Origin> {
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    origin.requests++;
    origin.running++;
    response.on("close", () => origin.running--);
    if (request.url!.startsWith("/held")) held.push(response);
    else response.end();
    server.emit("taken");
  });
  server.listen(await freePort(), "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const node = { host: "127.0.0.1", port: (server.address() as AddressInfo).port, weight: 1 };
  const origin: Origin = { server, node, held, requests: 0, running: 0 };
  return origin;
}

interface Answer {
  status: number;
  body: { drained: boolean; in_flight: number; workers: { worker: number; in_flight: number | null }[] };
}

async function drain(node: RealNode, method: string, place: string, query = ""): Promise<Answer> {
  const url = `${node.url("control")}/v1/upstreams/1/nodes/${place}/drain${query}`;
  const response = await fetch(url, { method });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}

async function start(
  t: TestContext,
): Promise<{ node: RealNode; stays: Origin; goes: Origin; place: string }> {
  const [stays, goes] = [await startOrigin(t), await startOrigin(t)];
  const node = await RealNode.start(t);
  await node.put("/upstreams/1", { nodes: [stays.node, goes.node] });
  await node.put("/routes/1", { uri: "/*", upstream_id: "1" });
  return { node, stays, goes, place: `127.0.0.1:${goes.node.port}` };
}

test("the answer comes when the last request on the node has ended, and the undo brings it back", async (t) => {
  const { node, stays, goes, place } = await start(t);
  const requests: Promise<{ status: number }>[] = [];
  while (goes.held.length === 0) {
    const taken = Promise.race([once(goes.server, "taken"), once(stays.server, "taken")]);
    requests.push(node.get("/held"));
    await taken;
  }
  const late = await drain(node, "POST", place, "?wait=drained&timeout=2");
  assert.equal(late.status, 504);
  assert.equal(late.body.drained, false);
  assert.equal(late.body.in_flight, 1);
  assert.equal(late.body.workers.length, 1);
  let isAnswered = false;
  const drained = drain(node, "POST", place, "?wait=drained&timeout=20").then((answer) => {
    isAnswered = true;
    return answer;
  });
  const before = goes.requests;
  for (let i = 0; i < 20; i++) assert.equal((await node.get("/", { connection: "close" })).status, 200);
  assert.equal(goes.requests, before);
  assert.equal(isAnswered, false);
  for (const response of [...goes.held, ...stays.held]) response.end();
  assert.deepEqual(await drained, { status: 200, body: { drained: true, in_flight: 0, workers: [] } });
  for (const request of requests) assert.equal((await request).status, 200);
  assert.deepEqual((await node.control("/v1/drains")).total, 1);
  assert.equal((await drain(node, "DELETE", place)).status, 200);
  while (goes.requests === before) await node.get("/");
});

test("under load, twenty deploys lose no request", async (t) => {
  const { node, goes, place } = await start(t);
  let isOver = false;
  const wrong: number[] = [];
  let answered = 0;
  const client = async (): Promise<void> => {
    while (!isOver) {
      const { status } = await node.get("/");
      answered++;
      if (status !== 200) wrong.push(status);
    }
  };
  const clients = Array.from({ length: 16 }, client);
  for (let i = 0; i < 20; i++) {
    const { status, body } = await drain(node, "POST", place, "?wait=drained&timeout=20");
    assert.deepEqual([status, body.drained], [200, true]);
    assert.equal(goes.running, 0);
    const { requests } = goes;
    goes.server.closeAllConnections();
    await new Promise<void>((resolve) => {
      goes.server.close(() => resolve());
    });
    assert.equal(goes.requests, requests);
    goes.server.listen(goes.node.port, "127.0.0.1");
    await once(goes.server, "listening");
    await drain(node, "DELETE", place);
    while (goes.requests === requests) await once(goes.server, "taken");
  }
  isOver = true;
  await Promise.all(clients);
  assert.deepEqual(wrong, []);
  assert.ok(answered > 100);
});

test("a drain outlives a restart of the node, and ends when the node leaves the upstream", async (t) => {
  const { node, stays, goes, place } = await start(t);
  assert.equal((await drain(node, "POST", place)).status, 200);
  await node.stop();
  const next = await RealNode.start(t, { folder: node.folder });
  for (let i = 0; i < 10; i++) assert.equal((await next.get("/")).status, 200);
  assert.equal(goes.requests, 0);
  await next.put("/upstreams/1", { nodes: [stays.node] });
  assert.equal((await next.control("/v1/drains")).total, 0);
  await next.put("/upstreams/1", { nodes: [stays.node, goes.node] });
  while (goes.requests === 0) await next.get("/");
});

test("what cannot be drained is refused with what was expected", async (t) => {
  const { node, stays, place } = await start(t);
  const cases: readonly (readonly [string, string, number])[] = [
    ["nonsense", "", 400],
    ["127.0.0.1:1", "", 404],
    [place, "?wait=live", 400],
    [place, "?wait=drained&timeout=x", 400],
  ];
  for (const [each, query, expected] of cases) {
    assert.equal((await drain(node, "POST", each, query)).status, expected, each + query);
  }
  assert.equal((await drain(node, "DELETE", place)).status, 404);
  assert.equal((await drain(node, "POST", place)).status, 200);
  const last = `127.0.0.1:${stays.node.port}`;
  assert.equal((await drain(node, "POST", last)).status, 409);
  assert.equal((await drain(node, "POST", last, "?force=true")).status, 200);
  assert.equal((await node.get("/")).status, 503);
});
