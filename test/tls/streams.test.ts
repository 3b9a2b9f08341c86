/** What flows through a TLS connection arrives as over TCP: in any cut, at any pace, and after a half-close. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { array, assert as holds, asyncProperty, nat } from "fast-check";
import { wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "./certificate-authority.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };
const LARGE_BYTES = 3 * 1024 * 1024;

/** Answers with what it got, or with as many bytes as the path says. */
async function gateway(t: TestContext) {
  const server = createServer((request, response) => {
    const wanted = Number(/^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1] ?? -1);
    if (wanted >= 0) response.end(Buffer.alloc(wanted, "b"));
    else request.pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  const upstream = {
    type: "roundrobin",
    nodes: { [`127.0.0.1:${(server.address() as AddressInfo).port}`]: 1 },
  };
  const gate = await wired(t, { routes: [{ uri: "/*", upstream }] });
  gate.put("ssl", "1", { sni: "a.com", ...Authority.make(t).issue({ names: ["a.com"] }) });
  return gate;
}

async function secured(t: TestContext, port: number): Promise<TLSSocket> {
  const socket = connect({
    host: "127.0.0.1",
    port,
    servername: "a.com",
    rejectUnauthorized: false,
    allowHalfOpen: true,
  } as ConnectionOptions);
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

async function untilEnd(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("latin1");
}

const bodiesOf = (text: string): string[] => text.split(/HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)+\r\n/).slice(1);

/** The origin may get the body, and send it back, in parts. */
const withoutChunks = (text: string): string => text.replaceAll(/[0-9a-f]+\r\n(.*?)\r\n/gs, "$1").trim();

test("pipelined requests in any cut are answered in order", options, async (t) => {
  const { tlsPort } = await gateway(t);
  const requests = Buffer.from(
    [
      "GET /bytes/3 HTTP/1.1\r\nHost: a.com\r\n\r\n",
      "POST /e HTTP/1.1\r\nHost: a.com\r\nContent-Length: 5\r\n\r\nhello",
    ]
      .concat("GET /bytes/1 HTTP/1.1\r\nHost: a.com\r\nConnection: close\r\n\r\n")
      .join(""),
  );
  await holds(
    asyncProperty(array(nat(requests.length), { maxLength: 6 }), async (cuts) => {
      const socket = await secured(t, tlsPort);
      const answers = untilEnd(socket);
      let from = 0;
      for (const at of [...cuts.sort((a, b) => a - b), requests.length]) {
        socket.write(requests.subarray(from, at));
        from = at;
        await new Promise((resolve) => setImmediate(resolve));
      }
      const bodies = bodiesOf(await answers);
      assert.equal(bodies[0], "bbb");
      assert.equal(withoutChunks(bodies[1]), "hello");
      assert.equal(bodies[2], "b");
      socket.destroy();
    }),
    { numRuns: 30 },
  );
});

test("a large body goes up and comes back, however late the client reads", options, async (t) => {
  const { tlsPort } = await gateway(t);
  const socket = await secured(t, tlsPort);
  const body = Buffer.alloc(LARGE_BYTES, "0123456789");
  socket.write(
    `POST /e HTTP/1.1\r\nHost: a.com\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  // Nobody reads yet: the gateway has to stop, too.
  socket.write(body);
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  const text = await untilEnd(socket);
  const received = text
    .slice(text.indexOf("\r\n\r\n") + 4)
    .replace(/\r\n0\r\n\r\n$|\r\n[0-9a-f]+\r\n|^[0-9a-f]+\r\n/g, "");
  assert.equal(received.length, LARGE_BYTES);
  assert.equal(Buffer.compare(Buffer.from(received.replace(/[^0-9]/g, "")), body), 0);
});

test("a client that has ended its side still gets its answer, and the end of TLS", options, async (t) => {
  const { tlsPort, active } = await gateway(t);
  const socket = await secured(t, tlsPort);
  socket.end("GET /bytes/200000 HTTP/1.1\r\nHost: a.com\r\n\r\n");
  const [body] = bodiesOf(await untilEnd(socket));
  assert.equal(body.length, 200_000);
  while (active() > 0) await new Promise((resolve) => setImmediate(resolve));
});

test("an upstream that breaks off is seen as a truncation, not as an end", options, async (t) => {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-length": 1000 });
    response.write("some", () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  const upstream = {
    type: "roundrobin",
    nodes: { [`127.0.0.1:${(server.address() as AddressInfo).port}`]: 1 },
  };
  const gate = await wired(t, { routes: [{ uri: "/*", upstream }] });
  gate.put("ssl", "1", { sni: "a.com", ...Authority.make(t).issue({ names: ["a.com"] }) });
  const socket = await secured(t, gate.tlsPort);
  socket.on("error", () => undefined);
  const closed = once(socket, "close");
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  socket.write("GET / HTTP/1.1\r\nHost: a.com\r\n\r\n");
  await once(socket, "end").catch(() => undefined);
  socket.destroy();
  await closed;
  assert.match(text, /content-length: 1000\r\n/i);
  while (gate.active() > 0) await new Promise((resolve) => setImmediate(resolve));
});
