/** Limits of an upstream in a worker: who waits is served in turn, and who leaves leaves no count behind. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Origin, type OriginConnection } from "./http1/upstream-test-kit.ts";
import { eventually, wired, type Wired } from "./wire-test-kit.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** A gateway before an origin that answers when it is told to. */
async function limited(
  t: TestContext,
  limits: object,
): Promise<{ gateway: Wired; held: OriginConnection[] }> {
  const held: OriginConnection[] = [];
  const origin = await new Origin((connection) => {
    if (!connection.received.endsWith("\r\n\r\n")) return;
    connection.received = "";
    held.push(connection);
  }).listen();
  t.after(() => origin.close());
  const upstream = { nodes: { [`127.0.0.1:${origin.port}`]: 1 }, limits };
  return { gateway: await wired(t, { routes: [{ uri: "/*", upstream }] }), held };
}

test("requests beyond the limit wait in turn, and beyond the queue get 503", async (t) => {
  const { gateway, held } = await limited(t, { requests: 1, queue: 1, queue_timeout: 60 });
  const first = (await gateway.connect()).write(GET);
  await eventually(() => held.length === 1);
  const second = (await gateway.connect()).write(GET);
  await eventually(() => gateway.upstreams[0].limit!.waiting === 1);
  const third = (await gateway.connect()).write(GET);
  const refused = await third.until((text) => text.includes("\r\n\r\n"));
  assert.match(refused, /^HTTP\/1\.1 503 [^]*retry-after: 1/i);
  assert.equal(held.length, 1);
  held[0].socket.write(OK);
  await first.until((text) => text.endsWith("ok"));
  await eventually(() => held.length === 2);
  held[1].socket.write(OK);
  assert.match(await second.until((text) => text.endsWith("ok")), /^HTTP\/1\.1 200 /);
  await eventually(() => gateway.upstreams[0].limit!.running === 0);
});

test("a client that leaves while it waits takes nothing, and one that runs gives its place back", async (t) => {
  const { gateway, held } = await limited(t, { requests: 1, queue: 2, queue_timeout: 60 });
  const first = (await gateway.connect()).write(GET);
  await eventually(() => held.length === 1);
  const second = (await gateway.connect()).write(GET);
  await eventually(() => gateway.upstreams[0].limit!.waiting === 1);
  const third = (await gateway.connect()).write(GET);
  await eventually(() => gateway.upstreams[0].limit!.waiting === 2);
  second.socket.resetAndDestroy();
  await eventually(() => gateway.ended.length === 1);
  first.socket.resetAndDestroy();
  await eventually(() => held.length === 2);
  held[1].socket.write(OK);
  await third.until((text) => text.endsWith("ok"));
  const { limit } = gateway.upstreams[0];
  await eventually(() => limit!.running === 0 && limit!.waiting === 0);
});
