/** What a client, an upstream or a plugin can do to a request's life: nothing that outlives the request. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { Type } from "@sinclair/typebox";
import { definePlugin, type PluginHandlers } from "../plugin/definition.ts";
import { HealthRegistry } from "../shared/health-registry.ts";
import { drainKey } from "../shared/health-table.ts";
import { Origin, type OriginConnection } from "./http1/upstream-test-kit.ts";
import { eventually, wired, type Wired } from "./wire-test-kit.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/** Answers `answer` to each complete request head. */
async function originOf(t: TestContext, answer: string): Promise<Origin> {
  const origin = await new Origin((connection: OriginConnection) => {
    if (!connection.received.endsWith("\r\n\r\n")) return;
    connection.received = "";
    connection.socket.write(answer, "latin1");
  }).listen();
  t.after(() => origin.close());
  return origin;
}

function pluginOf(handlers: PluginHandlers) {
  return definePlugin({
    name: "own",
    version: "0.1.0",
    priority: 1,
    config: Type.Object({}),
    compile: () => handlers,
  });
}

/** A gateway with one route whose only plugin has these handlers. */
async function withPlugin(t: TestContext, handlers: PluginHandlers, answer: string = OK): Promise<Wired> {
  const origin = await originOf(t, answer);
  return await wired(t, {
    plugins: [pluginOf(handlers)],
    routes: [
      {
        uri: "/*",
        enable_websocket: true,
        plugins: { own: {} },
        upstream: { nodes: { [`127.0.0.1:${origin.port}`]: 1 } },
      },
    ],
  });
}

/** Nothing runs and the worker answers. */
async function isEven(gateway: Wired): Promise<void> {
  await eventually(() => gateway.inFlight() === 0);
  assert.equal(gateway.life.inFlight, 0);
  for (const upstream of gateway.upstreams) {
    for (const node of upstream.nodes) assert.equal(node.active, 0, node.name);
  }
  const logs = gateway.ended.length;
  assert.equal(new Set(gateway.ended).size, logs, "an exchange ended twice");
}

const FAULTS: Record<string, PluginHandlers> = {
  "a handler of the header phase that throws": {
    responseHeaders() {
      throw new Error("on purpose");
    },
  },
  "a handler of the header phase that rejects": {
    responseHeaders: () => Promise.reject(new Error("on purpose")),
  },
  "a field with a line end": {
    responseHeaders(ctx) {
      ctx.response.headers.set("X-Own", "a\r\nSet-Cookie: b=c");
    },
  },
  "a field with a line end, set late": {
    async responseHeaders(ctx) {
      await Promise.resolve();
      ctx.response.headers.set("X-Own", "a\r\nSet-Cookie: b=c");
    },
  },
  "a field with a line end, set before there is an answer": {
    rewrite(ctx) {
      ctx.response.headers.set("X-Own", "a\r\nSet-Cookie: b=c");
    },
  },
  "a field with characters that no byte is": {
    responseHeaders(ctx) {
      ctx.response.headers.set("X-Own", "\u{1f600}");
    },
  },
};

for (const [fault, handlers] of Object.entries(FAULTS)) {
  test(`${fault} fails its request with 500, and nothing else`, async (t) => {
    const gateway = await withPlugin(t, handlers);
    const client = await gateway.connect();
    const answer = await client.write(GET).until((text) => text.includes("\r\n\r\n"));
    assert.match(answer, /^HTTP\/1\.1 500 /);
    assert.doesNotMatch(answer, /Set-Cookie/);
    await isEven(gateway);
    assert.equal(gateway.ended[0].response.status, 500);
  });

  test(`${fault}, while the gateway itself answers, fails its request with 500`, async (t) => {
    const gateway = await withPlugin(t, handlers, "garbage\r\n\r\n");
    const client = await gateway.connect();
    const answer = await client.write(GET).until((text) => text.includes("\r\n\r\n"));
    assert.match(answer, /^HTTP\/1\.1 50\d /);
    assert.doesNotMatch(answer, /Set-Cookie/);
    await isEven(gateway);
  });
}

test("a field with a line end fails a switch of protocols with 500", async (t) => {
  const gateway = await withPlugin(
    t,
    FAULTS["a field with a line end, set before there is an answer"],
    SWITCHED,
  );
  const client = await gateway.connect();
  const answer = await client.write(UPGRADE).until((text) => text.includes("\r\n\r\n"));
  assert.match(answer, /^HTTP\/1\.1 500 /);
  await isEven(gateway);
});

test("a handler of the body phase that throws never makes a part of an answer look whole", async (t) => {
  const gateway = await withPlugin(t, {
    responseBody() {
      throw new Error("on purpose");
    },
  });
  const client = await gateway.connect();
  const answer = await client.write(GET).ended();
  assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/);
  await isEven(gateway);
});

test("new addresses of a name, while a request runs on it, hurt neither it nor the next", async (t) => {
  const origin = await new Origin().listen();
  t.after(() => origin.close());
  const gateway = await wired(t, {
    routes: [{ uri: "/*", upstream: { nodes: { [`a.test:${origin.port}`]: 1 } } }],
  });
  gateway.addresses.set("a.test", ["127.0.0.1"]);
  const client = await gateway.connect();
  client.write(GET);
  await origin.until(() => origin.connections[0]?.received.endsWith("\r\n\r\n"));
  gateway.addresses.set("a.test", ["127.0.0.1", "127.0.0.2"]);
  origin.connections[0].socket.write(OK);
  assert.match(await client.until((text) => text.endsWith("ok")), /^HTTP\/1\.1 200 /);
  await isEven(gateway);
});

test("new addresses between the choice of a node and the attempt on it do not fail the request", async (t) => {
  const origin = await originOf(t, OK);
  let change = (): void => undefined;
  const gateway = await wired(t, {
    plugins: [pluginOf({ beforeProxy: () => change() })],
    routes: [{ uri: "/*", plugins: { own: {} }, upstream: { nodes: { [`a.test:${origin.port}`]: 1 } } }],
  });
  gateway.addresses.set("a.test", ["127.0.0.1"]);
  change = () => gateway.addresses.set("a.test", ["127.0.0.1", "127.0.0.2"]);
  const client = await gateway.connect();
  assert.match(await client.write(GET).until((text) => text.endsWith("ok")), /^HTTP\/1\.1 200 /);
  await isEven(gateway);
});

test("a node that is taken out while a plugin waits, after it was chosen, gets nothing", async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const [first, second] = [await originOf(t, OK), await originOf(t, OK)];
  const chosen: (string | undefined)[] = [];
  const gateway = await wired(t, {
    plugins: [
      pluginOf({
        beforeProxy(ctx) {
          chosen.push(ctx.variable("balancer_port"));
          return promise;
        },
      }),
    ],
    routes: [],
  });
  const node = (origin: Origin, priority: number) => ({
    host: "127.0.0.1",
    port: origin.port,
    weight: 1,
    priority,
  });
  gateway.put("upstream", "u", { nodes: [node(first, 1), node(second, 0)] });
  gateway.put("route", "1", { uri: "/*", plugins: { own: {} }, upstream_id: "u" });
  const client = await gateway.connect();
  client.write(GET);
  await eventually(() => chosen.length === 1);
  new HealthRegistry(gateway.shared.health).claimDrain(drainKey("/upstreams/u", "127.0.0.1", first.port));
  resolve();
  assert.match(await client.until((text) => text.endsWith("ok")), /^HTTP\/1\.1 200 /);
  assert.equal(first.connections.length, 0);
  assert.equal(second.connections.length, 1);
  await isEven(gateway);
});

test("an edited configuration leaves no listener of an inline upstream behind, and no balancer starts anew", async (t) => {
  const one = await originOf(t, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
  const two = await originOf(t, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
  const gateway = await wired(t, {
    routes: [
      {
        uri: "/*",
        plugin_config_id: "p",
        upstream: { nodes: { [`a.test:${one.port}`]: 1, [`127.0.0.1:${two.port}`]: 1 } },
      },
    ],
  });
  gateway.addresses.set("a.test", ["127.0.0.1"]);
  const client = await gateway.connect();
  const seen: string[] = [];
  for (let i = 0; i < 4; i++) {
    gateway.put("plugin_config", "p", { plugins: {}, desc: String(i) });
    client.received = "";
    seen.push((await client.write(GET).until((text) => /(?:one|two)$/.test(text))).slice(-3));
  }
  assert.equal(gateway.upstreams.length, 1);
  assert.deepEqual(seen.toSorted(), ["one", "one", "two", "two"]);
  gateway.put("route", "1", null);
  let heard = 0;
  const { addresses } = gateway;
  const { unlisten } = addresses;
  addresses.unlisten = (host, listener) => {
    heard++;
    unlisten.call(addresses, host, listener);
  };
  gateway.upstreams[0].dispose();
  assert.equal(heard, 1);
});

test("what a client did wrong in its body is what the log says, not that it left", async (t) => {
  const gateway = await withPlugin(t, {});
  const client = await gateway.connect();
  client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
  assert.match(await client.ended(), /^HTTP\/1\.1 400 /);
  await isEven(gateway);
  assert.equal(gateway.ended[0].response.status, 400);
});

test("a filter of the request body also gets what another plugin has read before", async (t) => {
  const origin = await new Origin(({ received, socket }) => {
    if (received.endsWith("0\r\n\r\n")) socket.write(OK);
  }).listen();
  t.after(() => origin.close());
  const gateway = await wired(t, {
    plugins: [
      pluginOf({
        async access(ctx) {
          await ctx.readBody(1024);
        },
        requestBody: (_ctx, chunk, last) => Buffer.from(chunk.toString().toUpperCase() + (last ? "!" : "")),
      }),
    ],
    routes: [{ uri: "/*", plugins: { own: {} }, upstream: { nodes: { [`127.0.0.1:${origin.port}`]: 1 } } }],
  });
  const client = await gateway.connect();
  client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  assert.match(await client.until((text) => text.endsWith("ok")), /^HTTP\/1\.1 200 /);
  assert.match(origin.connections[0].received, /ABC/);
  assert.match(origin.connections[0].received, /!/);
  await isEven(gateway);
});

test("an informational answer carries nothing hop-by-hop to the client", async (t) => {
  const early = "HTTP/1.1 103 Early Hints\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nLink: </a>\r\n\r\n";
  const gateway = await withPlugin(t, {}, early + OK);
  const client = await gateway.connect();
  const answer = await client.write(GET).until((text) => text.endsWith("ok"));
  assert.match(answer, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1\.1 200 /);
});

test("a trailer cannot claim to be a consumer", async (t) => {
  const origin = await new Origin(({ received, socket }) => {
    if (received.includes("\r\n0\r\n")) socket.write(OK);
  }).listen();
  t.after(() => origin.close());
  const gateway = await wired(t, {
    routes: [{ uri: "/*", upstream: { nodes: { [`127.0.0.1:${origin.port}`]: 1 } } }],
  });
  const client = await gateway.connect();
  client.write(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Consumer-Username: admin\r\nX-Other: 1\r\n\r\n",
  );
  await client.until((text) => text.endsWith("ok"));
  assert.match(origin.connections[0].received, /X-Other: 1/);
  assert.doesNotMatch(origin.connections[0].received, /X-Consumer-Username/i);
});

test("a tunnel counts as a connection until it is over, and a draining worker waits for it", async (t) => {
  const gateway = await withPlugin(t, {}, SWITCHED);
  const client = await gateway.connect();
  await client.write(UPGRADE).until((text) => text.includes("\r\n\r\n"));
  assert.equal(gateway.active(), 1);
  assert.equal(gateway.inFlight(), 1);
  let isDrained = false;
  const drained = gateway.listeners.drain(60_000).then(() => (isDrained = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isDrained, false);
  client.socket.end();
  await drained;
  await isEven(gateway);
  assert.equal(gateway.active(), 0);
  assert.equal(gateway.ended[0].response.status, 101);
});

test("a worker that cannot wait any longer ends its tunnels", async (t) => {
  const gateway = await withPlugin(t, {}, SWITCHED);
  const client = await gateway.connect();
  await client.write(UPGRADE).until((text) => text.includes("\r\n\r\n"));
  gateway.listeners.close();
  await client.ended();
  await isEven(gateway);
  await eventually(() => gateway.active() === 0);
});

test("an upstream hears that a client had ended its side before the protocols were switched", async (t) => {
  const origin = await new Origin().listen();
  t.after(() => origin.close());
  const gateway = await wired(t, {
    routes: [{ uri: "/*", enable_websocket: true, upstream: { nodes: { [`127.0.0.1:${origin.port}`]: 1 } } }],
  });
  const client = await gateway.connect();
  client.write(UPGRADE).socket.end();
  await origin.until(() => origin.connections[0]?.received.endsWith("\r\n\r\n"));
  const { socket } = origin.connections[0];
  // The client's end was read before: a later request of another client is through.
  const other = await gateway.connect();
  other.write(GET);
  await origin.until(() => origin.connections.length === 2);
  const ended = once(socket, "end");
  socket.write(SWITCHED);
  await ended;
  await client.ended();
  origin.connections[1].socket.write(OK);
  await other.until((text) => text.endsWith("ok"));
  await isEven(gateway);
});

test("no handler of the access phase runs behind the log phase, on paths without a route neither", async (t) => {
  const calls: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const gateway = await wired(t, {
    plugins: [
      pluginOf({
        rewrite: () => promise,
        access: () => void calls.push("access"),
        log: () => void calls.push("log"),
      }),
    ],
    routes: [],
  });
  gateway.put("global_rule", "1", { plugins: { own: {} } });
  const client = await gateway.connect();
  client.write(GET);
  await eventually(() => gateway.inFlight() === 1);
  client.socket.resetAndDestroy();
  await eventually(() => gateway.inFlight() === 0);
  resolve();
  await new Promise((done) => setImmediate(done));
  assert.deepEqual(calls, ["log"]);
});

for (const step of ["before the head", "within the head", "within the body"]) {
  test(`an upstream that resets ${step} leaves nothing behind`, async (t) => {
    const sent = {
      "before the head": "",
      "within the head": OK.slice(0, 20),
      "within the body": OK.slice(0, -1),
    };
    const origin = await new Origin(({ socket }) => {
      socket.write(sent[step as keyof typeof sent], () => socket.resetAndDestroy());
    }).listen();
    t.after(() => origin.close());
    const gateway = await wired(t, {
      routes: [{ uri: "/*", upstream: { nodes: { [`127.0.0.1:${origin.port}`]: 1 } } }],
    });
    const client = await gateway.connect();
    await client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ended();
    await isEven(gateway);
  });
}
