/** Upstreams that speak HTTP/2 (`h2c`, and `h2` over TLS) behind clients of both versions: requests of all kinds, not only calls. */

import assert from "node:assert/strict";
import { once } from "node:events";
import {
  createServer as createHttp1Server,
  request as request1,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from "node:http";
import {
  connect,
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders as IncomingHttp2Headers,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";
import { freePort } from "../ports/free-port.ts";

type Act = (stream: ServerHttp2Stream, headers: IncomingHttp2Headers) => void;

interface Origin {
  port: number;
  sessions: number;
}

async function serving(t: TestContext, server: Http2Server, act: Act): Promise<Origin> {
  const origin = { port: 0, sessions: 0 };
  server.on("session", (session) => {
    origin.sessions++;
    t.after(() => session.destroy());
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    act(stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  origin.port = (server.address() as AddressInfo).port;
  return origin;
}

const plain = (t: TestContext, act: Act): Promise<Origin> => serving(t, createServer(), act);

async function gateway(t: TestContext, port: number, more: object = {}, route: object = {}): Promise<Wired> {
  const upstream = { scheme: "h2c", nodes: { [`127.0.0.1:${port}`]: 1 }, ...more };
  return await wired(t, { routes: [{ uri: "/*", ...route, upstream }] });
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  trailers: Record<string, unknown>;
  body: Buffer;
  early: number[];
}

interface Asked {
  method?: string;
  headers?: Record<string, string | string[]>;
  body?: Buffer;
}

type Send = (t: TestContext, port: number, asked?: Asked) => Promise<Answer>;

const overHttp1: Send = async (_, port, { method = "GET", headers = {}, body } = {}) => {
  const length = body === undefined ? {} : { "content-length": String(body.length) };
  const asking = request1({
    port,
    host: "127.0.0.1",
    path: "/a?b=c",
    method,
    headers: { ...length, ...headers },
  });
  const early: number[] = [];
  asking.on("information", ({ statusCode }) => early.push(statusCode));
  asking.end(body);
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode, headers: fields, trailers } = response;
  return { status: statusCode!, headers: fields, trailers, body: Buffer.concat(chunks), early };
};

const overHttp2: Send = async (t, port, { method = "GET", headers = {}, body } = {}) => {
  const session = connect(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  const stream = session.request({ ":method": method, ":path": "/a?b=c", ...headers });
  const answer: Answer = { status: 0, headers: {}, trailers: {}, body: Buffer.alloc(0), early: [] };
  stream.on("response", (fields) => {
    answer.status = fields[":status"]!;
    answer.headers = fields;
  });
  stream.on("headers", (fields) => answer.early.push(fields[":status"]!));
  stream.on("trailers", (trailers) => (answer.trailers = trailers));
  stream.end(body);
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  answer.body = Buffer.concat(chunks);
  return answer;
};

for (const [version, send] of [
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
] as const)
  describe(`an upstream with scheme h2c, behind a client of ${version}`, () => {
    test("gets the request as it was sent, and its answer comes back", async (t) => {
      let got: IncomingHttp2Headers = {};
      const { port } = await plain(t, (stream, headers) => {
        got = headers;
        stream.respond({ ":status": 201, "set-cookie": ["a=1", "b=2"], "x-own": "yes" });
        stream.end("hello");
      });
      const gate = await gateway(t, port);
      const headers = { host: "shop.example", cookie: "c=3", "x-many": ["1", "2"] };
      const answer = await send(t, gate.port, { headers });
      assert.equal(got[":method"], "GET");
      assert.equal(got[":path"], "/a?b=c");
      assert.equal(got[":scheme"], "http");
      assert.equal(got[":authority"], "shop.example");
      assert.equal(got.cookie, "c=3");
      assert.equal(got["x-many"], "1, 2");
      assert.equal(got["x-forwarded-for"], "127.0.0.1");
      assert.equal(answer.status, 201);
      assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
      assert.equal(answer.headers["x-own"], "yes");
      assert.equal(answer.body.toString(), "hello");
      assert.equal(gate.ended[0].variable("upstream_scheme"), "h2c");
    });

    test("may have blanks around values, as its clients may: they go, and the fields stay", async (t) => {
      let got: IncomingHttp2Headers = {};
      const { port } = await plain(t, (stream, headers) => {
        got = headers;
        stream.respond({ trailer: "x-sum", "x-own": " yes\t" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": " good " }));
        stream.end("hello");
      });
      const gate = await gateway(t, port);
      const headers = { "x-asked": " a b ", te: "trailers" };
      const answer = await send(t, gate.port, { headers });
      assert.equal(got["x-asked"], "a b");
      assert.equal(answer.headers["x-own"], "yes");
      assert.equal(answer.trailers["x-sum"], "good");
    });

    test("gets bodies of any size and sends them back, with what it has to say behind them", async (t) => {
      const { port } = await plain(t, (stream, headers) => {
        stream.respond(
          { trailer: "x-sum", "x-length": headers["content-length"] },
          { waitForTrailers: true },
        );
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "good" }));
        stream.pipe(stream);
      });
      const gate = await gateway(t, port);
      for (const length of [1, 100_000, 3_000_000]) {
        const body = Buffer.alloc(length, "ab");
        const answer = await send(t, gate.port, { method: "PUT", body, headers: { te: "trailers" } });
        assert.ok(answer.body.equals(body));
        assert.equal(answer.trailers["x-sum"], "good");
        if (version === "HTTP/1.1") assert.equal(answer.headers["x-length"], String(length));
      }
    });

    test("answers without a body have none", async (t) => {
      const { port } = await plain(t, (stream, headers) => {
        const status = Number(headers["x-status"]);
        stream.respond(
          { ":status": status, ...(status === 200 && { "content-length": "7" }) },
          { endStream: true },
        );
      });
      const gate = await gateway(t, port);
      for (const [method, status] of [
        ["HEAD", 200],
        ["GET", 204],
        ["GET", 304],
      ] as const) {
        const answer = await send(t, gate.port, { method, headers: { "x-status": String(status) } });
        assert.equal(answer.status, status);
        assert.equal(answer.body.length, 0);
        if (method === "HEAD") assert.equal(answer.headers["content-length"], "7");
      }
    });

    test("may say something before its answer", async (t) => {
      const { port } = await plain(t, (stream) => {
        stream.additionalHeaders({ ":status": 103, link: "</a.css>" });
        stream.respond({ ":status": 200 });
        stream.end();
      });
      const gate = await gateway(t, port);
      assert.deepEqual((await send(t, gate.port)).early, [103]);
    });

    test("that ends an answer too early does not make it look whole", async (t) => {
      const { port } = await plain(t, (stream) => {
        stream.respond({ ":status": 200, "content-length": "10" });
        stream.write("half ", () => stream.destroy(new Error("broken")));
      });
      const gate = await gateway(t, port);
      await assert.rejects(send(t, gate.port));
    });
  });

test("requests share connections to an upstream with scheme h2c", async (t) => {
  const origin = await plain(t, (stream) => {
    stream.respond({ ":status": 200 });
    stream.end("x");
  });
  const gate = await gateway(t, origin.port);
  await overHttp1(t, gate.port);
  const answers = await Promise.all(Array.from({ length: 50 }, () => overHttp1(t, gate.port)));
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(origin.sessions, 1);
});

test("a request that may be repeated goes to another node when one breaks off, any other does not", async (t) => {
  let broken = 0;
  const bad = await plain(t, (stream) => {
    broken++;
    stream.destroy(new Error("broken"));
  });
  const good = await plain(t, (stream) => {
    stream.respond({ ":status": 200 });
    stream.end();
  });
  const nodes = { [`127.0.0.1:${bad.port}`]: 1, [`127.0.0.1:${good.port}`]: 1 };
  const gate = await gateway(t, good.port, { nodes });
  const statuses = async (method: string): Promise<number[]> => {
    const seen: number[] = [];
    for (let i = 0; i < 4; i++) seen.push((await overHttp1(t, gate.port, { method })).status);
    return seen.sort((a, b) => a - b);
  };
  assert.deepEqual(await statuses("GET"), [200, 200, 200, 200]);
  assert.equal(broken, 2);
  assert.deepEqual(await statuses("POST"), [200, 200, 502, 502]);
});

test("a WebSocket does not open through an upstream with scheme h2c", async (t) => {
  const { port } = await plain(t, (stream, headers) => {
    assert.equal(headers["sec-websocket-key"], "x");
    stream.respond({ ":status": 426 });
    stream.end();
  });
  const gate = await gateway(t, port, {}, { enable_websocket: true });
  const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-key": "x" };
  assert.equal((await overHttp1(t, gate.port, { headers })).status, 426);
});

describe("an upstream with scheme h2", { skip: hasOpenssl ? false : "there is no openssl" }, () => {
  test("is asked over TLS, under the name of the request", async (t) => {
    const ca = Authority.make(t);
    const pair = ca.issue({ names: ["shop.example"] });
    const names: unknown[] = [];
    const server = createSecureServer({ key: pair.key, cert: pair.cert });
    server.on("secureConnection", (socket) => names.push(socket.servername, socket.alpnProtocol));
    const { port } = await serving(t, server, (stream, headers) => {
      stream.respond({ ":status": 200 });
      stream.end(`${headers[":scheme"]} ${headers[":authority"]}`);
    });
    const gate = await gateway(t, port, { scheme: "h2" });
    const answer = await overHttp1(t, gate.port, { headers: { host: "shop.example" } });
    assert.equal(answer.body.toString(), "https shop.example");
    assert.deepEqual(names, ["shop.example", "h2"]);
  });

  test("that speaks HTTP/1.1 alone is not understood", async (t) => {
    const ca = Authority.make(t);
    const pair = ca.issue({ names: ["shop.example"] });
    const server = createTlsServer(
      { key: pair.key, cert: pair.cert, ALPNProtocols: ["http/1.1"] },
      (socket) => {
        socket.on("error", () => undefined);
        socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      },
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const gate = await gateway(t, (server.address() as AddressInfo).port, { scheme: "h2" });
    assert.equal((await overHttp1(t, gate.port)).status, 502);
    await eventually(() => gate.inFlight() === 0);
  });
});

test("the log says why a connection to a node did not stand", async (t) => {
  const refused = await gateway(t, await freePort());
  assert.equal((await overHttp1(t, refused.port)).status, 502);
  assert.match(refused.logged.join("\n"), /upstream failed .*"detail":"ECONNREFUSED"/);

  const elder = createHttp1Server((_, answer) => answer.end()).listen(0, "127.0.0.1");
  await once(elder, "listening");
  t.after(() => elder.close());
  const behind = await gateway(t, (elder.address() as AddressInfo).port);
  assert.equal((await overHttp1(t, behind.port)).status, 502);
  assert.match(behind.logged.join("\n"), /upstream failed .*"detail":"the node breaks HTTP\/2, or does not/);

  const origin = await plain(t, (stream) => stream.end());
  const secure = await gateway(t, origin.port, { scheme: "h2" });
  assert.equal((await overHttp1(t, secure.port)).status, 502);
  assert.match(secure.logged.join("\n"), /upstream failed .*"detail":"TLS handshake failed: .*\(ERR_SSL_/);
});
