/** Limits of an upstream in a worker: who waits is served in turn, and who leaves leaves no count behind. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Type } from "@sinclair/typebox";
import { definePlugin, type PluginDefinition } from "../plugin/definition.ts";
import type { Exchange } from "../plugin/exchange.ts";
import { Origin, type OriginConnection } from "./http1/upstream-test-kit.ts";
import { eventually, wired, type Wired } from "./wire-test-kit.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** A gateway before an origin that answers when it is told to. */
async function limited(
  t: TestContext,
  limits: object,
  plugins: PluginDefinition[] = [],
): Promise<{ gateway: Wired; held: OriginConnection[] }> {
  const held: OriginConnection[] = [];
  const origin = await new Origin((connection) => {
    if (!connection.received.endsWith("\r\n\r\n")) return;
    connection.received = "";
    held.push(connection);
  }).listen();
  t.after(() => origin.close());
  const upstream = { nodes: { [`127.0.0.1:${origin.port}`]: 1 }, limits };
  const own = Object.fromEntries(plugins.map(({ name }) => [name, {}]));
  return { gateway: await wired(t, { plugins, routes: [{ uri: "/*", plugins: own, upstream }] }), held };
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

test("a request that is cut off while it waits goes nowhere, even while its answer is still made", async (t) => {
  const waiting: Exchange[] = [];
  const { promise: answerMade, resolve: makeAnswer } = Promise.withResolvers<void>();
  const plugin = definePlugin({
    name: "cutter",
    version: "0.1.0",
    priority: 1,
    config: Type.Object({}),
    compile: () => ({
      access: (ctx) => void waiting.push(ctx),
      responseHeaders: (ctx) => (ctx.response.source === "gateway" ? answerMade : undefined),
    }),
  });
  const { gateway, held } = await limited(t, { requests: 1, queue: 1, queue_timeout: 60 }, [plugin]);
  const first = (await gateway.connect()).write(GET);
  await eventually(() => held.length === 1);
  const second = (await gateway.connect()).write(GET);
  const { limit } = gateway.upstreams[0];
  await eventually(() => limit!.waiting === 1);
  waiting[1].cutOff(waiting[1].answer(504, "late"));
  held[0].socket.write(OK);
  await first.until((text) => text.endsWith("ok"));
  await eventually(() => limit!.running === 0);
  makeAnswer();
  assert.match(await second.until((text) => text.endsWith("late")), /^HTTP\/1\.1 504 /);
  assert.equal(held.length, 1);
  assert.equal(gateway.upstreams[0].nodes[0].active, 0);
});
