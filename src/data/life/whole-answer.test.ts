/** Plugins that put another body into a request, and those that hold an answer back until they have all of it. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { Type } from "@sinclair/typebox";
import { definePlugin, type PluginHandlers } from "../../plugin/definition.ts";
import { eventually, wired, type Wired } from "../wire-test-kit.ts";

/** A gateway before an origin, whose route has a plugin for each of `all`, the first one first in every phase. */
async function gateway(t: TestContext, origin: RequestListener, ...all: PluginHandlers[]): Promise<Wired> {
  const server = createServer(origin).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const plugins = all.map((handlers, i) =>
    definePlugin({
      name: `own-${i}`,
      version: "0.1.0",
      priority: 10 - i,
      config: Type.Object({}),
      compile: () => handlers,
    }),
  );
  const { port } = server.address() as AddressInfo;
  return await wired(t, {
    plugins,
    routes: [
      {
        uri: "/*",
        plugins: Object.fromEntries(plugins.map(({ name }) => [name, {}])),
        upstream: { nodes: { [`127.0.0.1:${port}`]: 1 } },
      },
    ],
  });
}

/** The whole answer of the gateway, which closes the connection behind it. */
async function exchange(gate: Wired, request: string): Promise<string> {
  const client = await gate.connect();
  const received = await client.write(request).ended();
  await eventually(() => gate.inFlight() === 0);
  assert.equal(gate.ended.length, 1);
  return received;
}

const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const LONG = "x".repeat(1_000_000);

test("the status of an answer may follow from its body and trailers, however long it is", async (t) => {
  const gate = await gateway(
    t,
    (_, reply) => {
      reply.writeHead(200, { trailer: "x-end" });
      for (let i = 0; i < LONG.length; i += 50_000) reply.write(LONG.slice(i, i + 50_000));
      reply.addTrailers({ "x-end": "yes" });
      reply.end();
    },
    {
      async responseHeaders(ctx) {
        const { body, trailers } = await ctx.readAnswer(LONG.length);
        ctx.response.status = 299;
        ctx.response.headers.set("X-Length", String(body?.length));
        ctx.response.headers.set("X-Trailer", String(trailers?.get("x-end")));
      },
    },
  );
  const received = await exchange(gate, GET);
  assert.match(received, /^HTTP\/1\.1 299 /);
  assert.match(received, /X-Length: 1000000\r\nX-Trailer: yes\r\n/);
  assert.ok(received.length > LONG.length);
});

test("what arrived while an earlier plugin waited is part of it", async (t) => {
  const gate = await gateway(
    t,
    (_, reply) => reply.end(LONG),
    {
      async responseHeaders() {
        for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
      },
    },
    {
      async responseHeaders(ctx) {
        const { body } = await ctx.readAnswer(LONG.length);
        ctx.response.headers.set("X-Length", String(body?.length));
      },
    },
  );
  assert.match(await exchange(gate, GET), /X-Length: 1000000\r\n/);
});

test("an answer that is too long can be replaced, and its connection is not used again", async (t) => {
  const gate = await gateway(t, (_, reply) => reply.end(LONG), {
    async responseHeaders(ctx) {
      if (ctx.response.source !== "upstream") return;
      const { body } = await ctx.readAnswer(LONG.length - 1);
      if (body === null) ctx.cutOff(ctx.answer(502, "too long"));
    },
  });
  const received = await exchange(gate, GET);
  assert.match(received, /^HTTP\/1\.1 502 /);
  assert.ok(received.endsWith("too long"));
});

for (const { name, end } of [
  { name: "breaks off", end: (reply: { destroy(): void }) => reply.destroy() },
  { name: "goes on for ever, until a plugin has enough of it", end: () => undefined },
]) {
  test(`an answer that ${name} is replaced by one of the gateway`, async (t) => {
    const gate = await gateway(
      t,
      (_, reply) => {
        reply.writeHead(200, { "content-length": "10" });
        reply.write("half", () => setImmediate(end, reply));
      },
      {
        async responseHeaders(ctx) {
          if (ctx.response.source !== "upstream") return;
          setImmediate(() => setImmediate(() => name.startsWith("goes") && ctx.cutOff(ctx.answer(504))));
          await ctx.readAnswer(100);
          ctx.response.status = 299;
        },
      },
    );
    assert.match(await exchange(gate, GET), /^HTTP\/1\.1 50[24] /);
  });
}

test("for an answer of the gateway there is nothing to wait for", async (t) => {
  const gate = await gateway(t, (_, reply) => reply.end(), {
    access: (ctx) => ctx.answer(403, "no"),
    async responseHeaders(ctx) {
      const { body } = await ctx.readAnswer(100);
      ctx.response.headers.set("X-Body", String(body));
    },
  });
  assert.match(await exchange(gate, GET), /X-Body: null\r\n/);
});

for (const request of [
  GET,
  "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nold",
  "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n0\r\n\r\n",
]) {
  for (const reads of [true, false]) {
    test(`${reads ? "read or not" : "unread"}, the body of ${JSON.stringify(request.slice(0, 70))} can be replaced`, async (t) => {
      const gate = await gateway(
        t,
        (asked, reply) => {
          const chunks: Buffer[] = [];
          asked.on("data", (chunk: Buffer) => chunks.push(chunk));
          asked.on("end", () =>
            reply.end(`${asked.headers["content-length"]} ${Buffer.concat(chunks).toString()}`),
          );
        },
        {
          async access(ctx) {
            if (reads) await ctx.readBody(100);
            ctx.request.method = "PUT";
            ctx.replaceBody(Buffer.from("another"));
          },
        },
      );
      assert.ok((await exchange(gate, request)).endsWith("7 another"));
    });
  }
}

test("later plugins see and change the body that was put in", async (t) => {
  const gate = await gateway(
    t,
    (asked, reply) => void asked.pipe(reply),
    { access: (ctx) => ctx.replaceBody(Buffer.from("another")) },
    { requestBody: (_, chunk) => Buffer.from(chunk.toString().toUpperCase()) },
  );
  assert.match(await exchange(gate, GET.replace("GET", "POST")), /ANOTHER/);
});
