/** TLS towards upstreams on a real data path: who is asked for by what name, who is believed, and what is kept. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer as createPlainServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { createServer, type TlsOptions, type TLSSocket } from "node:tls";
import { eventually, wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "./certificate-authority.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

interface Seen {
  name: string | false;
  isResumed: boolean;
  /** Common name of the client's certificate; undefined: it showed none. */
  client: string | undefined;
}

interface TlsOrigin {
  port: number;
  /** Connections whose handshake was done, in order. */
  seen: Seen[];
  sockets: TLSSocket[];
  requests: string[];
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** An origin over TLS that answers each head with `answer`. */
async function origin(
  t: TestContext,
  tls: TlsOptions,
  answer: (socket: TLSSocket, head: string) => void = (socket) => socket.write(OK),
): Promise<TlsOrigin> {
  const made: TlsOrigin = { port: 0, seen: [], sockets: [], requests: [] };
  const server = createServer(tls, (socket) => {
    made.sockets.push(socket);
    made.seen.push({
      name: socket.servername as unknown as string | false,
      isResumed: socket.isSessionReused(),
      client: socket.getPeerCertificate().subject?.CN as string | undefined,
    });
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      made.requests.push(text);
      const head = text;
      text = "";
      answer(socket, head);
    });
  });
  server.on("tlsClientError", () => undefined);
  made.port = await listening(t, server, made.sockets);
  return made;
}

async function listening(
  t: TestContext,
  server: ReturnType<typeof createPlainServer>,
  sockets: Socket[],
): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

interface Given {
  tls?: object;
  upstream?: object;
  config?: string;
  route?: object;
}

async function before(t: TestContext, port: number, given: Given = {}): Promise<Wired> {
  const upstream = { scheme: "https", nodes: { [`127.0.0.1:${port}`]: 1 }, ...given.upstream };
  if (given.tls !== undefined) Object.assign(upstream, { tls: given.tls });
  return await wired(t, {
    routes: [{ uri: "/*", upstream, ...given.route }],
    ...(given.config !== undefined && { config: given.config }),
  });
}

/** The status of one request, on a connection of its own. */
async function ask(gateway: Wired, host = "a.com", method = "GET"): Promise<string> {
  const client = (await gateway.connect()).write(
    `${method} / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
  );
  const text = await client.ended();
  return text.slice(9, 12);
}

function trusting(authority: Authority): string {
  const path = join(authority.folder, "trusted.pem");
  writeFileSync(path, authority.pair.cert);
  return `apisix: { ssl: { ssl_trusted_certificate: "${path}" } }`;
}

describe("TLS to upstreams", options, () => {
  test("the server name is the host that the request goes by, and never an address", async (t) => {
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    const to = await origin(t, pair);
    for (const [upstream, host, name] of [
      [{}, "A.com", "a.com"],
      [{}, "b.com:8443", "b.com"],
      [{}, "127.0.0.1", false],
      [{}, "[::1]:80", false],
      [{ pass_host: "node" }, "c.com", false],
      [{ pass_host: "rewrite", upstream_host: "d.com" }, "c.com", "d.com"],
    ] as const) {
      const gateway = await before(t, to.port, { upstream });
      assert.equal(await ask(gateway, host), "200");
      assert.equal(to.seen.at(-1)!.name, name, `${host} ${JSON.stringify(upstream)}`);
    }
    const named = await before(t, to.port, {
      upstream: { nodes: { [`node.test:${to.port}`]: 1 }, pass_host: "node" },
    });
    named.addresses.set("node.test", ["127.0.0.1"]);
    assert.equal(await ask(named, "c.com"), "200");
    assert.equal(to.seen.at(-1)!.name, "node.test");
  });

  test("a host that a plugin gave the request is the server name, too", async (t) => {
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }));
    const gateway = await before(t, to.port, { route: { plugins: { "proxy-rewrite": { host: "e.com" } } } });
    assert.equal(await ask(gateway), "200");
    assert.equal(to.seen[0].name, "e.com");
    assert.match(to.requests[0], /\r\nHost: e\.com\r\n/i);
  });

  test("without verify any certificate will do; with it, only a fitting one of a known authority", async (t) => {
    const known = Authority.make(t);
    const unknown = Authority.make(t, "Unknown");
    const config = trusting(known);
    for (const [what, pair, ok, reason] of [
      ["fitting", known.issue({ names: ["a.com"] }), true, /^$/],
      ["other name", known.issue({ names: ["b.com"] }), false, /ERR_TLS_CERT_ALTNAME_INVALID/],
      ["expired", known.issue({ names: ["a.com"], valid: [-9, -1] }), false, /CERT_HAS_EXPIRED/],
      ["too early", known.issue({ names: ["a.com"], valid: [2, 9] }), false, /CERT_NOT_YET_VALID/],
      ["unknown", unknown.issue({ names: ["a.com"] }), false, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    ] as const) {
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
        const to = await origin(t, { ...pair, maxVersion });
        assert.equal(await ask(await before(t, to.port, { config })), "200", what);
        const strict = await before(t, to.port, { config, tls: { verify: true } });
        // Twice: what was refused is not let in as a resumed session.
        for (let i = 0; i < 2; i++)
          assert.equal(await ask(strict, "a.com", "POST"), ok ? "200" : "502", `${what} ${maxVersion}`);
        assert.match(strict.logged.join("\n"), reason);
        assert.equal(to.requests.length, ok ? 3 : 1, "nothing was sent");
      }
    }
  });

  test("without a file the authorities of the system are asked, which do not know a private one", async (t) => {
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }));
    const gateway = await before(t, to.port, { tls: { verify: true } });
    assert.equal(await ask(gateway), "502");
    assert.match(gateway.logged[0], /TLS handshake failed: .*UNABLE_TO_VERIFY_LEAF_SIGNATURE/);
  });

  test("a file of authorities that is not there is named in the log", async (t) => {
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }));
    const config = "apisix: { ssl: { ssl_trusted_certificate: /nowhere/ca.pem } }";
    const gateway = await before(t, to.port, { config, tls: { verify: true } });
    assert.equal(await ask(gateway), "502");
    assert.match(gateway.logged[0], /ssl_trusted_certificate: ENOENT.*\/nowhere\/ca\.pem/);
  });

  test("a client certificate is shown, and one that is missing or wrong is told as a refused handshake", async (t) => {
    const authority = Authority.make(t);
    const other = Authority.make(t, "Other");
    const server = authority.issue({ names: ["a.com"] });
    const good = authority.issue({ names: ["gateway"] });
    const bad = other.issue({ names: ["stranger"] });
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const mutual = { ...server, ca: authority.pair.cert, requestCert: true, rejectUnauthorized: true };
      const to = await origin(t, { ...mutual, maxVersion });
      const tls = { client_cert: good.cert, client_key: good.key };
      assert.equal(await ask(await before(t, to.port, { tls }), "a.com", "POST"), "200");
      assert.equal(to.seen[0].client, "gateway");
      const bare = await before(t, to.port);
      assert.equal(await ask(bare, "a.com", "POST"), "502");
      assert.match(bare.logged[0], /"refused".*TLS handshake failed/);
      const stranger = await before(t, to.port, { tls: { client_cert: bad.cert, client_key: bad.key } });
      assert.equal(await ask(stranger, "a.com", "POST"), "502");
      assert.equal(to.requests.length, 1);
    }
  });

  test("a client certificate by id may come late, change and go", async (t) => {
    const authority = Authority.make(t);
    const server = authority.issue({ names: ["a.com"] });
    const to = await origin(t, {
      ...server,
      ca: authority.pair.cert,
      requestCert: true,
      rejectUnauthorized: true,
    });
    const gateway = await before(t, to.port, { tls: { client_cert_id: 7 } });
    assert.equal(await ask(gateway), "502");
    assert.match(gateway.logged[0], /tls\.client_cert_id: there is no ssl 7/);
    for (const name of ["first", "second"]) {
      gateway.put("ssl", "7", { type: "client", ...authority.issue({ names: [name] }) });
      assert.equal(await ask(gateway), "200");
      assert.equal(await ask(gateway), "200");
      assert.equal(to.seen.at(-1)!.client, name);
    }
    assert.equal(to.seen.length, 2, "one connection for each certificate");
    gateway.put("ssl", "7", null);
    assert.equal(await ask(gateway), "502");
    gateway.put("ssl", "7", { type: "client", status: 0, ...authority.issue({ names: ["off"] }) });
    assert.equal(await ask(gateway), "502");
    assert.match(gateway.logged.at(-1)!, /ssl 7 is disabled/);
  });

  test("a new connection resumes the session of the one before", async (t) => {
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const to = await origin(t, { ...pair, maxVersion }, (socket) =>
        socket.end("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
      );
      const gateway = await before(t, to.port);
      for (const host of ["a.com", "a.com", "b.com", "a.com"]) assert.equal(await ask(gateway, host), "200");
      assert.deepEqual(
        to.seen.map(({ isResumed }) => isResumed),
        [false, true, false, true],
        maxVersion,
      );
    }
  });

  test("requests of one name share connections, those of another do not", async (t) => {
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }));
    const gateway = await before(t, to.port);
    for (const host of ["a.com", "b.com", "a.com", "A.com", "b.com"])
      assert.equal(await ask(gateway, host), "200");
    assert.deepEqual(
      to.seen.map(({ name }) => name),
      ["a.com", "b.com"],
    );
  });

  test("names that clients make up get no more connections than one name would", async (t) => {
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }));
    const gateway = await before(t, to.port, {
      upstream: { keepalive_pool: { size: 2, idle_timeout: 60, requests: 100 } },
    });
    for (let i = 0; i < 6; i++) assert.equal(await ask(gateway, `h${i}.com`), "200");
    await eventually(() => to.sockets.filter(({ destroyed }) => !destroyed).length <= 2);
    assert.equal(await ask(gateway, "h5.com"), "200");
    assert.equal(to.seen.length, 6);
  });

  test("a handshake that fails sends the request, whatever its method, to the next node", async (t) => {
    const authority = Authority.make(t);
    const good = await origin(t, authority.issue({ names: ["a.com"] }));
    const sockets: Socket[] = [];
    const cleartext = createPlainServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    const closing = createPlainServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end());
    });
    for (const [server, reason] of [
      [cleartext, /wrong version number/],
      [closing, /handshake/],
    ] as const) {
      const port = await listening(t, server, sockets);
      const gateway = await before(t, good.port, {
        upstream: {
          nodes: [
            { host: "127.0.0.1", port, weight: 1, priority: 1 },
            { host: "127.0.0.1", port: good.port, weight: 1 },
          ],
        },
      });
      assert.equal(await ask(gateway, "a.com", "POST"), "200");
      assert.match(gateway.logged[0], reason);
      assert.match(gateway.logged[0], /"refused"/);
    }
  });

  test("the connect timeout covers the handshake", async (t) => {
    const sockets: Socket[] = [];
    const port = await listening(
      t,
      createPlainServer((socket) => {
        sockets.push(socket);
        socket.on("error", () => undefined);
      }),
      sockets,
    );
    const gateway = await before(t, port, {
      upstream: { timeout: { connect: 0.2, send: 60, read: 60 } },
    });
    assert.equal(await ask(gateway), "504");
    assert.match(gateway.logged[0], /connect-timeout/);
  });

  test("a WebSocket goes through to an upstream with TLS", async (t) => {
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    const sockets: TLSSocket[] = [];
    const server = createServer(pair, (socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.once("data", () => {
        socket.write(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello ",
        );
        socket.on("data", (chunk: Buffer) => socket.write(chunk));
        socket.on("end", () => socket.end("bye"));
      });
    });
    const port = await listening(t, server, sockets);
    const gateway = await before(t, port, { route: { enable_websocket: true } });
    const client = (await gateway.connect()).write(
      "GET / HTTP/1.1\r\nHost: a.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    await client.until((text) => text.endsWith("hello "));
    client.write("there ");
    await client.until((text) => text.endsWith("there "));
  });

  test("a large answer arrives whole at a client that reads slowly, also when it ends with the connection", async (t) => {
    const body = Buffer.alloc(3 * 1024 * 1024);
    for (let i = 0; i < body.length; i++) body[i] = (i * 31 + (i >> 8)) & 0x7f;
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }), (socket, head) => {
      const framing = head.includes("GET /length")
        ? `Content-Length: ${body.length}\r\n`
        : "Connection: close\r\n";
      socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n`);
      if (framing.startsWith("Content")) socket.write(body);
      else socket.end(body);
    });
    const gateway = await before(t, to.port);
    for (const path of ["/length", "/end"]) {
      const client = await gateway.connect();
      client.socket.pause();
      client.write(`GET ${path} HTTP/1.0\r\nHost: a.com\r\n\r\n`);
      await eventually(() => gateway.inFlight() === 1 && client.socket.readableLength >= 0);
      for (let turn = 0; turn < 200; turn++) {
        client.socket.resume();
        await new Promise(setImmediate);
        client.socket.pause();
        await new Promise(setImmediate);
      }
      client.socket.resume();
      const text = await client.ended();
      const received = Buffer.from(text.slice(text.indexOf("\r\n\r\n") + 4), "latin1");
      assert.equal(received.length, body.length, path);
      assert.ok(received.equals(body), path);
    }
  });

  test("traffic-split sends to an upstream with TLS that stands in it", async (t) => {
    const to = await origin(t, Authority.make(t).issue({ names: ["a.com"] }));
    const inline = { scheme: "https", type: "roundrobin", nodes: { [`127.0.0.1:${to.port}`]: 1 } };
    const gateway = await before(t, 1, {
      route: {
        plugins: { "traffic-split": { rules: [{ weighted_upstreams: [{ upstream: inline, weight: 1 }] }] } },
      },
    });
    assert.equal(await ask(gateway), "200");
    assert.equal(to.seen[0].name, "a.com");
  });

  test("copies of requests go over TLS, too", async (t) => {
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    const [to, copies] = [await origin(t, pair), await origin(t, pair)];
    const gateway = await before(t, to.port, {
      route: { plugins: { "proxy-mirror": { host: `https://127.0.0.1:${copies.port}` } } },
    });
    assert.equal(await ask(gateway), "200");
    await eventually(() => copies.requests.length === 1);
    assert.equal(copies.seen[0].name, "a.com");
  });
});
