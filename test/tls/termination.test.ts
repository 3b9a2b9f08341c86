/** TLS on a real data path: which certificate a client is shown, what it may speak, and what becomes of bad clients. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import {
  connect as connectTcp,
  createServer as createTcpServer,
  type AddressInfo,
  type Socket,
} from "node:net";
import { describe, test, type TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { Deadlines } from "../../src/data/deadlines.ts";
import { wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl, type Pair } from "./certificate-authority.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

async function origin(t: TestContext): Promise<number> {
  const server = createServer((request, response) => {
    response.end(JSON.stringify({ url: request.url, headers: request.headers }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function gateway(t: TestContext, config = ""): Promise<Wired> {
  const port = await origin(t);
  return await wired(t, {
    config,
    routes: [{ uri: "/*", upstream: { type: "roundrobin", nodes: { [`127.0.0.1:${port}`]: 1 } } }],
  });
}

interface Seen {
  name: string;
  socket: TLSSocket;
}

/** Ends with the common name of the certificate that was shown, or with the error's code. */
async function shake(t: TestContext, port: number, more: ConnectionOptions = {}): Promise<Seen> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...more });
  t.after(() => socket.destroy());
  return await new Promise((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ name: error.code ?? "", socket }));
    socket.on("secureConnect", () =>
      resolve({ name: String(socket.getPeerCertificate().subject?.CN), socket }),
    );
    socket.on("close", () => resolve({ name: "closed", socket }));
  });
}

async function ask(socket: TLSSocket, path = "/", host = "a.com"): Promise<{ status: number; body: string }> {
  let text = "";
  const done = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const length = /content-length: (\d+)/i.exec(text)?.[1];
      const end = text.indexOf("\r\n\r\n");
      if (end !== -1 && text.length >= end + 4 + Number(length ?? 0)) resolve();
    });
    socket.on("close", resolve);
    socket.on("error", () => resolve());
  });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await done;
  socket.removeAllListeners("data");
  return { status: Number(text.slice(9, 12)), body: text.slice(text.indexOf("\r\n\r\n") + 4) };
}

/** What a client says first. */
async function helloOf(t: TestContext): Promise<Buffer> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: "127.0.0.1", port, servername: "a.com" });
  client.on("error", () => undefined);
  const [socket] = (await once(server, "connection")) as [Socket];
  const [hello] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  return hello;
}

const ssl = (names: string[], pair: Pair, more: object = {}) => ({ snis: names, ...pair, ...more });

describe("a TLS listener", options, () => {
  test("shows the certificate of the most specific name, and follows changes without touching connections", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    for (const name of ["a.com", "*.a.com", "*"])
      gate.put("ssl", name.replaceAll("*", "any"), ssl([name], ca.issue({ names: [name] })));
    const seen = async (servername: string) => (await shake(t, gate.tlsPort, { servername })).name;
    assert.equal(await seen("a.com"), "a.com");
    assert.equal(await seen("A.COM."), "a.com");
    assert.equal(await seen("b.a.com"), "*.a.com");
    assert.equal(await seen("c.b.a.com"), "*");
    const before = await shake(t, gate.tlsPort, { servername: "a.com" });
    gate.put("ssl", "a.com", ssl(["a.com"], ca.issue({ names: ["new.a.com"] })));
    assert.equal(await seen("a.com"), "new.a.com");
    gate.put("ssl", "any", null);
    gate.put("ssl", "a.com", ssl(["a.com"], ca.issue({ names: ["a.com"] }), { status: 0 }));
    assert.equal(await seen("a.com"), "ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
    assert.equal((await ask(before.socket)).status, 200);
  });

  test("carries requests with what the client asked of it", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] })));
    const { socket } = await shake(t, gate.tlsPort, {
      servername: "a.com",
      ALPNProtocols: ["http/1.1"],
    });
    assert.equal(socket.alpnProtocol, "http/1.1");
    const { status, body } = await ask(socket, "/x");
    assert.equal(status, 200);
    assert.equal(JSON.parse(body).headers["x-forwarded-proto"], "https");
    assert.equal((await ask(socket, "/y")).status, 200);
    const [x] = gate.ended;
    const variable = (name: string) => x.variable(name);
    assert.equal(variable("scheme"), "https");
    assert.equal(variable("https"), "on");
    assert.equal(variable("ssl_protocol"), "TLSv1.3");
    assert.match(variable("ssl_cipher")!, /^TLS_AES/);
    assert.equal(variable("ssl_server_name"), "a.com");
    assert.equal(variable("ssl_session_reused"), ".");
    assert.equal(variable("ssl_client_verify"), "NONE");
    assert.equal(variable("ssl_client_s_dn"), undefined);
    assert.match(variable("tls_ja3")!, /^[0-9a-f]{32}$/);
    assert.match(variable("tls_ja4")!, /^t13d\d{4}h1_/);
    assert.equal(variable("tls_tag_x"), undefined);
  });

  test("serves RSA and elliptic curves from one resource", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    const [ec, rsa] = [ca.issue({ names: ["a.com"] }), ca.issue({ names: ["a.com"], algorithm: "rsa" })];
    gate.put("ssl", "1", { snis: ["a.com"], ...ec, certs: [rsa.cert], keys: [rsa.key] });
    for (const kind of ["ECDSA", "RSA"]) {
      const ciphers = `ECDHE-${kind}-AES128-GCM-SHA256`;
      const { socket } = await shake(t, gate.tlsPort, {
        servername: "a.com",
        maxVersion: "TLSv1.2",
        ciphers,
      });
      assert.equal(socket.getCipher().name, ciphers);
    }
  });

  test("speaks the versions that the certificate allows, else those of the node", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    const pair = ca.issue({ names: ["a.com"] });
    gate.put("ssl", "1", ssl(["a.com"], pair));
    gate.put("ssl", "2", ssl(["new.com"], pair, { ssl_protocols: ["TLSv1.3"] }));
    gate.put("ssl", "3", ssl(["old.com"], pair, { ssl_protocols: ["TLSv1.2"] }));
    const version = async (servername: string, maxVersion?: "TLSv1.2") => {
      const { socket, name } = await shake(t, gate.tlsPort, {
        servername,
        ...(maxVersion && { maxVersion }),
      });
      return name === "a.com" ? String(socket.getProtocol()) : name;
    };
    assert.equal(await version("a.com"), "TLSv1.3");
    assert.equal(await version("a.com", "TLSv1.2"), "TLSv1.2");
    assert.equal(await version("old.com"), "TLSv1.2");
    assert.equal(await version("new.com"), "TLSv1.3");
    assert.match(
      await version("new.com", "TLSv1.2"),
      /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE/,
    );
  });

  test("chooses by port for clients without a name, then by the fallback", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t, "apisix: { ssl: { fallback_sni: fallback.com } }");
    const other = await gate.listeners.add({ host: "127.0.0.1", port: 0 }, false, true);
    gate.put("ssl", "f", ssl(["fallback.com"], ca.issue({ names: ["fallback.com"] })));
    assert.equal((await shake(t, gate.tlsPort)).name, "fallback.com");
    gate.put("ssl", "p", { ...ca.issue({ names: ["port"] }), listen: [{ port: gate.tlsPort }] });
    const address = { ip: "127.0.0.1", port: other };
    gate.put("ssl", "q", { ...ca.issue({ names: ["other"] }), listen: [address] });
    assert.equal((await shake(t, gate.tlsPort)).name, "port");
    assert.equal((await shake(t, other)).name, "other");
    gate.put("ssl", "q", null);
    assert.equal((await shake(t, other)).name, "fallback.com");
    assert.equal(
      (await shake(t, gate.tlsPort, { servername: "x.com" })).name,
      "ERR_SSL_TLSV1_UNRECOGNIZED_NAME",
    );
  });

  test("resumes sessions by ticket only where the node has tickets", async (t) => {
    const ca = Authority.make(t);
    for (const tickets of [false, true]) {
      const gate = await gateway(t, `apisix: { ssl: { ssl_session_tickets: ${tickets} } }`);
      gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] })));
      const settings = { servername: "a.com", maxVersion: "TLSv1.3" } as const;
      const first = connect({
        host: "127.0.0.1",
        port: gate.tlsPort,
        rejectUnauthorized: false,
        ...settings,
      });
      t.after(() => first.destroy());
      const [session] = (await once(first, "session")) as [Buffer];
      const { socket } = await shake(t, gate.tlsPort, { ...settings, session });
      assert.equal(socket.isSessionReused(), tickets);
    }
  });

  test("shows certificates whatever their dates, and none that cannot be had", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    gate.put("ssl", "1", ssl(["past.com"], ca.issue({ names: ["past.com"], valid: [-10, -5] })));
    gate.put("ssl", "2", ssl(["future.com"], ca.issue({ names: ["future.com"], valid: [5, 10] })));
    gate.put("ssl", "3", { sni: "none.com", cert: "$env://CARDEA_NO_SUCH", key: "$env://CARDEA_NO_SUCH" });
    const pair = ca.issue({ names: ["env.com"] });
    process.env["CARDEA_TEST_PAIR"] = JSON.stringify(pair);
    t.after(() => delete process.env["CARDEA_TEST_PAIR"]);
    const reference = { cert: "$env://CARDEA_TEST_PAIR/cert", key: "$ENV://CARDEA_TEST_PAIR/key" };
    gate.put("ssl", "4", { sni: "env.com", ...reference });
    const seen = async (servername: string) => (await shake(t, gate.tlsPort, { servername })).name;
    assert.equal(await seen("past.com"), "past.com");
    assert.equal(await seen("future.com"), "future.com");
    const dates = gate.logged.filter((line) => line.startsWith("certificate is not valid now"));
    assert.deepEqual(
      dates.map((line) => /"ssl":"(\d)"/.exec(line)?.[1]),
      ["1", "2"],
    );
    assert.equal(await seen("none.com"), "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR");
    assert.ok(gate.logged.some((line) => /certificate cannot be used.*"ssl":"3".*has no value/.test(line)));
    assert.equal(await seen("env.com"), "env.com");
  });

  test("refuses what is no hello, in the client's own language, and stays as it was", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] })));
    const answer = async (bytes: Buffer | string): Promise<Buffer> => {
      const socket = connectTcp(gate.tlsPort, "127.0.0.1");
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("error", () => undefined);
      socket.end(bytes);
      await once(socket, "close");
      return Buffer.concat(chunks);
    };
    assert.match(
      String(await answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
      /^HTTP\/1\.1 400 .*HTTPS port\n$/s,
    );
    assert.deepEqual(await answer(Buffer.from([22, 3, 1, 0x50, 0])), Buffer.from([21, 3, 1, 0, 2, 2, 50]));
    assert.deepEqual(await answer(Buffer.from([22, 3, 1, 0, 100, 1])), Buffer.alloc(0));
    assert.deepEqual(await answer(Buffer.alloc(0)), Buffer.alloc(0));
    const { socket } = await shake(t, gate.tlsPort, { servername: "a.com" });
    assert.equal((await ask(socket)).status, 200);
    socket.destroy();
    await once(socket, "close");
    while (gate.active() > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("a TLS listener, besides,", options, () => {
  test("takes a PROXY header before the hello, apart from it or with it", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] })));
    const port = await gate.listeners.add({ host: "127.0.0.1", port: 0 }, true, true);
    for (const isApart of [true, false]) {
      const tcp = connectTcp(port, "127.0.0.1");
      await once(tcp, "connect");
      const header = "PROXY TCP4 1.2.3.4 5.6.7.8 1000 443\r\n";
      if (isApart) await new Promise((resolve) => tcp.write(header, resolve));
      else {
        tcp.cork();
        tcp.write(header);
      }
      const socket = connect({ socket: tcp, servername: "a.com", rejectUnauthorized: false });
      t.after(() => socket.destroy());
      if (!isApart) setImmediate(() => tcp.uncork());
      await once(socket, "secureConnect");
      assert.equal((await ask(socket)).status, 200);
      assert.equal(gate.ended.at(-1)!.variable("remote_addr"), "1.2.3.4");
    }
  });

  test("gives a handshake its time and no more, whatever has come of it", async (t) => {
    let nowMs = 0;
    const deadlines = new Deadlines(() => nowMs, { sweeping: false });
    const gate = await wired(t, { deadlines, routes: [] });
    gate.put("ssl", "1", ssl(["a.com"], Authority.make(t).issue({ names: ["a.com"] })));
    const hello = await helloOf(t);
    for (const begin of ["", hello.subarray(0, 20), hello]) {
      const socket = connectTcp(gate.tlsPort, "127.0.0.1");
      t.after(() => socket.destroy());
      socket.on("error", () => undefined);
      socket.write(begin);
      // The server's part of the handshake shows that the whole hello was taken.
      if (begin === hello) await once(socket, "data");
      while (gate.active() < 1) await new Promise((resolve) => setImmediate(resolve));
      socket.resume();
      nowMs += gate.config.http.headerTimeoutMs - 1;
      deadlines.sweep();
      assert.equal(gate.active(), 1);
      nowMs += 1;
      deadlines.sweep();
      while (gate.active() > 0) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(deadlines.size, 0);
    }
    const { name, socket } = await shake(t, gate.tlsPort, { servername: "a.com" });
    assert.equal(name, "a.com");
    socket.destroy();
    while (gate.active() > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(deadlines.size, 0, "nothing of a handshake that succeeded is kept");
  });

  test("does not begin anew within a connection", async (t) => {
    const gate = await gateway(t);
    gate.put("ssl", "1", ssl(["a.com"], Authority.make(t).issue({ names: ["a.com"] })));
    const { socket } = await shake(t, gate.tlsPort, { servername: "a.com", maxVersion: "TLSv1.2" });
    const refused = new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(true));
      socket.once("close", () => resolve(true));
      socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error !== null));
    });
    assert.equal(await refused, true);
  });

  test("lets a client go at once that leaves before its last message", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t, "cardea: { http: { header_timeout: 300 } }");
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] })));
    for (let i = 0; i < 20; i++) {
      const { socket } = await shake(t, gate.tlsPort, { servername: "a.com", maxVersion: "TLSv1.3" });
      socket.destroy();
    }
    while (gate.active() > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("does not wait for silent clients when it drains, and lets the others finish", async (t) => {
    const ca = Authority.make(t);
    const gate = await gateway(t);
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] })));
    const { socket } = await shake(t, gate.tlsPort, { servername: "a.com" });
    const silent = connectTcp(gate.tlsPort, "127.0.0.1");
    silent.on("error", () => undefined);
    await once(silent, "connect");
    while (gate.active() < 2) await new Promise((resolve) => setImmediate(resolve));
    const drained = gate.listeners.drain(60_000);
    assert.equal((await ask(socket)).status, 200);
    await drained;
    assert.equal(gate.active(), 0);
  });
});

describe("client certificates", options, () => {
  test("are asked for, verified against the authority, and told to plugins", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const middle = root.intermediate(t, "middle");
    const gate = await gateway(t);
    const pair = ca.issue({ names: ["a.com"] });
    gate.put("ssl", "1", ssl(["a.com"], pair, { client: { ca: root.pair.cert } }));
    const use = async (client: Partial<Pair>) => {
      const { socket, name } = await shake(t, gate.tlsPort, {
        servername: "a.com",
        maxVersion: "TLSv1.2",
        ...client,
      });
      return name === "a.com" ? (await ask(socket)).status : name;
    };
    const direct = root.issue({ names: ["jack"] });
    assert.equal(await use(direct), 200);
    const x = gate.ended.at(-1)!;
    assert.equal(x.variable("ssl_client_verify"), "SUCCESS");
    assert.equal(x.variable("ssl_client_s_dn"), "CN=jack,O=Cardea");
    assert.equal(x.variable("ssl_client_i_dn"), "CN=Clients,O=Cardea");
    assert.equal(x.variable("ssl_client_serial"), new X509Certificate(direct.cert).serialNumber);
    assert.match(x.variable("ssl_client_fingerprint")!, /^[0-9a-f]{40}$/);
    assert.match(x.variable("ssl_client_raw_cert")!, /^-----BEGIN CERTIFICATE-----\n/);
    assert.match(x.variable("ssl_client_v_remain")!, /^(9|10)$/);
    const deep = (authority: Authority, ...chain: Authority[]) => {
      const issued = authority.issue({ names: ["jill"] });
      return { ...issued, cert: issued.cert + chain.map((each) => each.pair.cert).join("") };
    };
    assert.equal(await use(deep(middle, middle)), 200);
    assert.notEqual(await use(Authority.make(t, "Others").issue({ names: ["jack"] })), 200);
    assert.notEqual(await use(root.issue({ names: ["late"], valid: [-10, -5] })), 200);
    assert.match(String(await use({})), /HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED|closed/);
    gate.put("ssl", "1", ssl(["a.com"], pair, { client: { ca: root.pair.cert, depth: 0 } }));
    assert.notEqual(await use(deep(middle, middle)), 200);
    assert.equal(await use(direct), 200);
  });

  test("may stand below as many others as the resource says, and no more", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const upper = root.intermediate(t, "upper");
    const lower = upper.intermediate(t, "lower");
    const gate = await gateway(t, "apisix: { ssl: { ssl_session_tickets: true } }");
    const pair = ca.issue({ names: ["a.com"] });
    const below = (authority: Authority, ...chain: Pair[]): Pair => {
      const issued = authority.issue({ names: ["jill"] });
      return { ...issued, cert: issued.cert + chain.map(({ cert }) => cert).join("") };
    };
    const deep = below(lower, lower.pair, upper.pair);
    // One that only looks like what signed the client's certificate, and like coming from the authority.
    const twin = Authority.make(t, "upper").intermediate(t, "lower");
    const forged = below(lower, twin.pair, lower.pair, upper.pair);
    const clients: Pair[] = [root.issue({ names: ["jack"] }), below(upper, upper.pair), deep, forged];
    for (const [depth, served] of [
      [0, [true, false, false, false]],
      [1, [true, true, false, false]],
      [2, [true, true, true]],
    ] as const) {
      gate.put("ssl", "1", ssl(["a.com"], pair, { client: { ca: root.pair.cert, depth } }));
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
        for (const [i, expected] of served.entries()) {
          const before = gate.ended.length;
          const { socket } = await shake(t, gate.tlsPort, { servername: "a.com", maxVersion, ...clients[i] });
          assert.equal((await ask(socket)).status === 200, expected, `depth ${depth}, client ${i}`);
          // Not its request is refused, but the connection.
          assert.equal(gate.ended.length - before, expected ? 1 : 0);
        }
      }
    }
  });

  test("are shown again by clients that come again", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t, "apisix: { ssl: { ssl_session_tickets: true } }");
    const client = { ca: root.pair.cert, skip_mtls_uri_regex: ["^/open"] };
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] }), { client }));
    const settings = {
      host: "127.0.0.1",
      port: gate.tlsPort,
      rejectUnauthorized: false,
      servername: "a.com",
    };
    const first = connect({ ...settings, ...root.issue({ names: ["jack"] }) });
    t.after(() => first.destroy());
    const sessions: Buffer[] = [];
    first.on("session", (session: Buffer) => sessions.push(session));
    await once(first, "secureConnect");
    assert.equal((await ask(first, "/closed")).status, 200);
    for (const session of sessions) {
      const { socket } = await shake(t, gate.tlsPort, { servername: "a.com", session });
      assert.equal(socket.isSessionReused(), false);
      assert.equal((await ask(socket, "/closed")).status, 400);
    }
  });

  test("are not needed for open paths, and needed for the rest", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t);
    const client = { ca: root.pair.cert, skip_mtls_uri_regex: ["^/open"] };
    gate.put("ssl", "1", ssl(["a.com"], ca.issue({ names: ["a.com"] }), { client }));
    const { socket: bare } = await shake(t, gate.tlsPort, { servername: "a.com" });
    assert.equal((await ask(bare, "/open/x")).status, 200);
    assert.equal((await ask(bare, "/closed")).status, 400);
    const { socket } = await shake(t, gate.tlsPort, {
      servername: "a.com",
      ...root.issue({ names: ["jack"] }),
    });
    assert.equal((await ask(socket, "/closed")).status, 200);
    const wrong = Authority.make(t, "Others").issue({ names: ["jack"] });
    const { socket: stranger } = await shake(t, gate.tlsPort, { servername: "a.com", ...wrong });
    assert.equal((await ask(stranger, "/open")).status, 200);
    assert.equal((await ask(stranger, "/closed")).status, 400);
    // Without what Node.js says to those who start it.
    assert.match(gate.ended.at(-1)!.variable("ssl_client_verify")!, /^FAILED:[a-z -]+$/);
  });

  test("of one name open no other", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t);
    const client = { ca: root.pair.cert };
    gate.put("ssl", "1", ssl(["a.com", "*.a.com"], ca.issue({ names: ["a.com"] }), { client }));
    gate.put("ssl", "2", ssl(["b.com"], ca.issue({ names: ["b.com"] })));
    const jack = root.issue({ names: ["jack"] });
    const { socket: open } = await shake(t, gate.tlsPort, { servername: "b.com" });
    assert.equal((await ask(open, "/", "b.com")).status, 200);
    assert.equal((await ask(open, "/", "a.com")).status, 400);
    const { socket } = await shake(t, gate.tlsPort, { servername: "x.a.com", ...jack });
    assert.equal((await ask(socket, "/", "x.a.com")).status, 200);
    assert.equal((await ask(socket, "/", "x.a.com:8443")).status, 200);
    assert.equal((await ask(socket, "/", "b.com")).status, 200);
    assert.equal((await ask(socket, "/", "y.a.com")).status, 400);
  });

  test("of a session are not forgotten by another name's session", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t, "apisix: { ssl: { ssl_session_tickets: true } }");
    gate.put("ssl", "1", ssl(["b.com"], ca.issue({ names: ["b.com"] })));
    gate.put("ssl", "2", ssl(["a.com"], ca.issue({ names: ["a.com"] }), { client: { ca: root.pair.cert } }));
    const first = connect({
      host: "127.0.0.1",
      port: gate.tlsPort,
      rejectUnauthorized: false,
      servername: "b.com",
    });
    t.after(() => first.destroy());
    const [session] = (await once(first, "session")) as [Buffer];
    const { socket, name } = await shake(t, gate.tlsPort, { servername: "a.com", session });
    const status = name === "a.com" ? (await ask(socket)).status : 0;
    assert.notEqual(status, 200);
  });
});
