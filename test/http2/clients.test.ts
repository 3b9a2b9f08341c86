/** HTTP/2 from clients through the whole data path to HTTP/1.1 upstreams: real clients, plugins, aborts, TLS. */

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { Type } from "@sinclair/typebox";
import { eventually, wired, type Wired, type WiredOptions } from "../../src/data/wire-test-kit.ts";
import { definePlugin } from "../../src/plugin/definition.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";

const run = promisify(execFile);

async function gateway(
  t: TestContext,
  listener: RequestListener,
  { plugins = [], config }: Partial<WiredOptions> = {},
): Promise<Wired> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const nodes = { [`127.0.0.1:${(server.address() as AddressInfo).port}`]: 1 };
  const own = Object.fromEntries(plugins.map(({ name }) => [name, {}]));
  return await wired(t, { plugins, config, routes: [{ uri: "/*", plugins: own, upstream: { nodes } }] });
}

function session(t: TestContext, address: string, options = {}): ClientHttp2Session {
  const made = connect(address, options);
  made.on("error", () => undefined);
  t.after(() => made.destroy());
  return made;
}

interface Answer {
  headers: IncomingHttpHeaders & { ":status"?: number };
  trailers: object;
  text: string;
}

async function ask(client: ClientHttp2Session, headers: object, body = ""): Promise<Answer> {
  const stream = client.request({ ":path": "/", ...headers }, { endStream: body === "" });
  if (body !== "") stream.end(body);
  const answer: Answer = { headers: {}, trailers: {}, text: "" };
  stream.on("response", (given) => (answer.headers = given));
  stream.on("trailers", (given) => (answer.trailers = given));
  stream.setEncoding("utf8").on("data", (part: string) => (answer.text += part));
  await once(stream, "close");
  return answer;
}

function available(command: string): { skip: string | false } {
  return { skip: spawnSync(command, ["--version"]).status === 0 ? false : `there is no ${command}` };
}

describe("a client of HTTP/2 gets the same answers as one of HTTP/1.1:", () => {
  const content = randomBytes(3_000_000);
  const digest = createHash("sha256").update(content).digest("hex");
  const large: RequestListener = (_, response) => response.end(content);

  test("curl", available("curl"), async (t) => {
    const gate = await gateway(t, large);
    const args = ["-sS", "--http2-prior-knowledge", "--max-time", "20", `http://127.0.0.1:${gate.port}/`];
    const { stdout } = await run("curl", args, { encoding: "buffer", maxBuffer: 10_000_000 });
    assert.equal(createHash("sha256").update(stdout).digest("hex"), digest);
  });

  test("nghttp", available("nghttp"), async (t) => {
    const gate = await gateway(t, large);
    const args = ["-t", "20", `http://127.0.0.1:${gate.port}/`];
    const { stdout } = await run("nghttp", args, { encoding: "buffer", maxBuffer: 10_000_000 });
    assert.equal(createHash("sha256").update(stdout).digest("hex"), digest);
  });

  test("h2load", available("h2load"), async (t) => {
    const gate = await gateway(t, (_, response) => response.end("ok"));
    const args = ["-n", "2000", "-c", "4", "-m", "32", `http://127.0.0.1:${gate.port}/`];
    const { stdout } = await run("h2load", args, { encoding: "utf8" });
    assert.match(stdout, /2000 succeeded, 0 failed, 0 errored/);
    assert.match(stdout, /status codes: 2000 2xx/);
    await eventually(() => gate.inFlight() === 0 && gate.active() === 0);
    assert.equal(gate.ended.length, 2000);
  });
});

describe("a request over HTTP/2", () => {
  test("comes to the upstream as one over HTTP/1.1 would", async (t) => {
    const gate = await gateway(t, (request, response) => {
      let body = "";
      request.on("data", (part) => (body += String(part)));
      request.on("end", () =>
        response.end(
          JSON.stringify({ url: request.url, method: request.method, headers: request.headers, body }),
        ),
      );
    });
    const client = session(t, `http://127.0.0.1:${gate.port}`);
    const headers = {
      ":path": "/a%20b?c",
      ":method": "POST",
      ":authority": "A.com:81",
      cookie: ["a=1", "b=2"],
    };
    const { text } = await ask(client, { ...headers, te: "trailers" }, "hello");
    const seen = JSON.parse(text);
    assert.equal(seen.url, "/a%20b?c");
    assert.equal(seen.body, "hello");
    assert.equal(seen.headers.host, "A.com:81");
    assert.equal(seen.headers.cookie, "a=1; b=2");
    assert.equal(seen.headers["x-forwarded-for"], "127.0.0.1");
    assert.equal(seen.headers["x-forwarded-port"], "81");
    assert.equal(gate.ended[0].variable("server_protocol"), "HTTP/2.0");
  });

  test("goes through the same phases of plugins", async (t) => {
    const seen: string[] = [];
    const witness = definePlugin({
      name: "witness",
      version: "0.1",
      priority: 1,
      config: Type.Object({}),
      compile: () => ({
        rewrite: () => void seen.push("rewrite"),
        access: () => void seen.push("access"),
        beforeProxy: () => void seen.push("beforeProxy"),
        responseHeaders: (ctx) => {
          seen.push("responseHeaders");
          ctx.response.headers.set("X-Witness", "yes");
        },
        responseBody: (_, chunk) => Buffer.from(chunk.toString().toUpperCase()),
        log: () => void seen.push("log"),
      }),
    });
    const gate = await gateway(t, (_, response) => response.end("ok"), { plugins: [witness] });
    const client = session(t, `http://127.0.0.1:${gate.port}`);
    const { headers, text } = await ask(client, {});
    assert.equal(headers["x-witness"], "yes");
    assert.equal(text, "OK");
    await eventually(() => gate.ended.length === 1);
    assert.deepEqual(seen, ["rewrite", "access", "beforeProxy", "responseHeaders", "log"]);
  });

  test("whose plugin splits the answer gets a 500", async (t) => {
    const splits = definePlugin({
      name: "splits",
      version: "0.1",
      priority: 1,
      config: Type.Object({}),
      compile: () => ({ responseHeaders: (ctx) => ctx.response.headers.set("X-A", "a\r\nb: c") }),
    });
    const gate = await gateway(t, (_, response) => response.end("ok"), { plugins: [splits] });
    const { headers } = await ask(session(t, `http://127.0.0.1:${gate.port}`), {});
    assert.equal(headers[":status"], 500);
    assert.equal(headers.b, undefined);
  });

  test("gets what the upstream says last", async (t) => {
    const gate = await gateway(t, (_, response) => {
      response.writeHead(200, { Trailer: "X-End" });
      response.write("part");
      response.addTrailers({ "X-End": "1" });
      response.end();
    });
    const { trailers, text } = await ask(session(t, `http://127.0.0.1:${gate.port}`), { te: "trailers" });
    assert.equal(text, "part");
    assert.equal((trailers as Record<string, unknown>)["x-end"], "1");
  });

  test("that is taken back ends at the upstream, too, and leaves its connection to others", async (t) => {
    let begun = 0;
    let closed = 0;
    const gate = await gateway(t, (request, response) => {
      if (request.url === "/ok") {
        response.end("ok");
        return;
      }
      begun++;
      response.on("close", () => closed++);
      response.write("part");
    });
    const client = session(t, `http://127.0.0.1:${gate.port}`);
    const stream = client.request({ ":path": "/" });
    stream.on("error", () => undefined);
    await once(stream, "response");
    stream.close(8);
    await eventually(() => begun === 1 && closed === 1);
    assert.equal((await ask(client, { ":path": "/ok" })).text, "ok");
    await eventually(() => gate.ended.length === 2);
    assert.equal(gate.inFlight(), 0);
  });

  test("whose answer breaks off is reset", async (t) => {
    const gate = await gateway(t, (_, response) => {
      response.writeHead(200, { "Content-Length": "10" });
      response.write("part", () => response.destroy());
    });
    const stream = session(t, `http://127.0.0.1:${gate.port}`).request({ ":path": "/" });
    const [error] = (await once(stream, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ERR_HTTP2_STREAM_ERROR");
  });
});

describe("over TLS", { skip: hasOpenssl ? false : "there is no openssl" }, () => {
  const secured = async (t: TestContext, config = ""): Promise<{ gate: Wired; ca: string }> => {
    const ca = Authority.make(t);
    const gate = await gateway(t, (_, response) => response.end("ok"), { config });
    gate.put("ssl", "1", { snis: ["a.com"], ...ca.issue({ names: ["a.com"] }) });
    return { gate, ca: ca.pair.cert };
  };
  const chosen = async (gate: Wired, protocols: string[]): Promise<string | false> => {
    const socket = connectTls({
      host: "127.0.0.1",
      port: gate.tlsPort,
      servername: "a.com",
      rejectUnauthorized: false,
      ALPNProtocols: protocols,
    });
    await once(socket, "secureConnect");
    socket.destroy();
    return socket.alpnProtocol ?? false;
  };

  test("HTTP/2 is chosen by who offers it, and serves", async (t) => {
    const { gate, ca } = await secured(t);
    const client = session(t, `https://127.0.0.1:${gate.tlsPort}`, { ca, servername: "a.com" });
    const { headers, text } = await ask(client, { ":authority": "a.com" });
    assert.equal(headers[":status"], 200);
    assert.equal(text, "ok");
    assert.equal(gate.ended[0].variable("scheme"), "https");
    assert.equal(gate.ended[0].variable("ssl_server_name"), "a.com");
    assert.equal(await chosen(gate, ["http/1.1", "h2"]), "h2");
    assert.equal(await chosen(gate, ["http/1.1"]), "http/1.1");
    client.destroy();
    await gate.listeners.drain(5000);
    await eventually(() => gate.active() === 0);
  });

  test("HTTP/2 is not offered where it is off", async (t) => {
    const { gate } = await secured(t, "apisix:\n  enable_http2: false\n");
    assert.equal(await chosen(gate, ["h2", "http/1.1"]), "http/1.1");
  });

  test("a name that asks for client certificates is not served on the connection of another", async (t) => {
    const { gate, ca } = await secured(t);
    const other = Authority.make(t);
    const guarded = {
      snis: ["b.com"],
      ...other.issue({ names: ["b.com"] }),
      client: { ca: other.pair.cert },
    };
    gate.put("ssl", "2", guarded);
    const client = session(t, `https://127.0.0.1:${gate.tlsPort}`, { ca, servername: "a.com" });
    assert.equal((await ask(client, { ":authority": "b.com" })).headers[":status"], 421);
    assert.equal((await ask(client, { ":authority": "a.com" })).headers[":status"], 200);
  });

  test("a path that asks for a client certificate is refused for good on the connection of its name", async (t) => {
    const { gate } = await secured(t);
    const other = Authority.make(t);
    const guarded = {
      snis: ["b.com"],
      ...other.issue({ names: ["b.com"] }),
      client: { ca: other.pair.cert, skip_mtls_uri_regex: ["^/open"] },
    };
    gate.put("ssl", "2", guarded);
    const client = session(t, `https://127.0.0.1:${gate.tlsPort}`, {
      ca: other.pair.cert,
      servername: "b.com",
    });
    const asked = (path: string) => ask(client, { ":authority": "b.com", ":path": path });
    assert.equal((await asked("/open")).headers[":status"], 200);
    assert.equal((await asked("/closed")).headers[":status"], 400);
  });

  test("a client that leaves without a word is noticed", async (t) => {
    const { gate, ca } = await secured(t);
    const client = session(t, `https://127.0.0.1:${gate.tlsPort}`, { ca, servername: "a.com" });
    await ask(client, { ":authority": "a.com" });
    client.socket.destroy();
    await eventually(() => gate.active() === 0);
  });
});
