/** What keeps connections of stream routes away, or ends them: blocks, and the limits of an upstream. */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { eventually } from "../wire-test-kit.ts";
import { echo, everything, node, type StreamKit, streamKit, until, upstream } from "./stream-test-kit.ts";

async function withService(t: TestContext): Promise<StreamKit> {
  const kit = await streamKit(t);
  kit.wire.put("service", "s", { upstream: upstream(await node(t, echo)) });
  kit.route({ service_id: "s" });
  return kit;
}

async function isServed(kit: StreamKit): Promise<boolean> {
  const client = await kit.client();
  client.write("x");
  const [chunk] = (await Promise.race([once(client, "data"), once(client, "end")])) as [unknown];
  client.destroy();
  return chunk !== undefined;
}

for (const target of [{ stream_route_id: "1" }, { service_id: "s" }, { addresses: ["127.0.0.0/8"] }]) {
  test(`a block of ${JSON.stringify(target)} keeps new connections away, until it is gone`, async (t) => {
    const kit = await withService(t);
    assert.equal(await isServed(kit), true);
    kit.wire.put("block", "b", target);
    assert.equal(await isServed(kit), false);
    assert.equal(kit.ended.at(-1)!.stream.status, 403);
    kit.wire.put("block", "b", null);
    assert.equal(await isServed(kit), true);
  });
}

for (const target of [{ route_id: "1" }, { stream_route_id: "2" }, { addresses: ["10.0.0.1"] }]) {
  test(`a block of ${JSON.stringify(target)} is about others`, async (t) => {
    const kit = await withService(t);
    kit.wire.put("block", "b", { ...target, close_connections: true });
    assert.equal(await isServed(kit), true);
  });
}

test("a block ends open connections if it says so, and leaves them otherwise", async (t) => {
  const kit = await withService(t);
  const client = await kit.client();
  client.write("a");
  await until(client, "a");
  kit.wire.put("block", "b", { stream_route_id: "1" });
  client.write("b");
  await until(client, "b");
  kit.wire.put("block", "b", { stream_route_id: "1", close_connections: true });
  await everything(client);
  assert.equal(kit.ended[0].stream.status, 403);
  assert.equal(kit.active(), 0);
});

test("datagrams of a client that is blocked are refused from the block on, as they are no connection", async (t) => {
  const kit = await withService(t);
  const sink = createSocket("udp4");
  const client = createSocket("udp4");
  t.after(() => [sink, client].forEach((socket) => socket.close()));
  sink.bind(0, "127.0.0.1");
  await once(sink, "listening");
  kit.wire.put("service", "s", { upstream: upstream(`127.0.0.1:${sink.address().port}`) });
  const port = await kit.listeners.addUdp("127.0.0.1", 0);
  client.send("1", port, "127.0.0.1");
  await once(sink, "message");
  kit.wire.put("block", "b", { stream_route_id: "1" });
  assert.deepEqual(
    kit.ended.map(({ stream }) => stream.status),
    [403],
  );
  client.send("2", port, "127.0.0.1");
  await eventually(() => kit.ended.length === 2);
  assert.equal(kit.ended[1].stream.status, 403);
});

test("an upstream has as many connections as its limits say; others wait in order, or are closed", async (t) => {
  const kit = await streamKit(t);
  const limits = { requests: 1, queue: 1, queue_timeout: 60 };
  kit.route({ upstream: { ...upstream(await node(t, echo)), limits } });
  const first = await kit.client();
  first.write("1");
  await until(first, "1");
  const second = await kit.client();
  second.write("2");
  await eventually(() => kit.active() === 2);
  assert.equal(await isServed(kit), false);
  assert.equal(kit.ended[0].stream.status, 503);
  first.end();
  assert.equal(await until(second, "2"), "2");
  second.end();
  await eventually(() => kit.ended.length === 3);
  assert.equal(await isServed(kit), true);
  assert.equal(kit.wire.upstreams[0].limit!.waiting, 0);
  await eventually(() => kit.wire.upstreams[0].limit!.running === 0);
});

test("a client that left while it waited takes no place", async (t) => {
  const kit = await streamKit(t);
  const limits = { requests: 1, queue: 1, queue_timeout: 60 };
  kit.route({ upstream: { ...upstream(await node(t, echo)), limits } });
  const first = await kit.client();
  first.write("1");
  await until(first, "1");
  const second = await kit.client();
  await eventually(() => kit.active() === 2);
  // A paused socket hears of a reset only when something is written to it; the listener that ends is as good.
  kit.listeners.close();
  await eventually(() => kit.active() === 0 && kit.wire.upstreams[0].limit!.running === 0);
  second.destroy();
});
