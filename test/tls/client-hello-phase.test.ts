/** What plugins can do at the hello of a TLS client, on a real data path. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { wired } from "../../src/data/wire-test-kit.ts";
import { type ClientHello, definePlugin, Type } from "../../src/plugin/index.ts";
import { Authority, hasOpenssl } from "./certificate-authority.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

async function gateway(t: TestContext, plugins: Parameters<typeof wired>[1]["plugins"] = []) {
  const server = createServer((request, response) => response.end(JSON.stringify(request.headers)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  const upstream = {
    nodes: { [`127.0.0.1:${(server.address() as AddressInfo).port}`]: 1 },
    type: "roundrobin",
  };
  const gate = await wired(t, { plugins, routes: [{ uri: "/*", upstream }] });
  const ca = Authority.make(t);
  for (const name of ["a.com", "b.com"]) gate.put("ssl", name, { sni: name, ...ca.issue({ names: [name] }) });
  return gate;
}

/** Common name of the certificate and the socket; or the error's code. */
function shake(
  t: TestContext,
  port: number,
  more: ConnectionOptions,
): Promise<{ name: string; socket: TLSSocket }> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...more });
  t.after(() => socket.destroy());
  return new Promise((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ name: String(error.code), socket }));
    socket.on("secureConnect", () =>
      resolve({ name: String(socket.getPeerCertificate().subject.CN), socket }),
    );
  });
}

async function body(socket: TLSSocket): Promise<string> {
  socket.end("GET / HTTP/1.1\r\nHost: a.com\r\nConnection: close\r\n\r\n");
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

test(
  "a plugin sees the hello, chooses the certificate, narrows the versions, tags and closes",
  options,
  async (t) => {
    const hellos: ClientHello[] = [];
    const firstBytes: number[] = [];
    const peers: string[] = [];
    const steering = definePlugin({
      name: "steering",
      version: "1.0.0",
      priority: 1,
      config: Type.Object({}),
      compile: () => ({
        clientHello(hello, connection) {
          hellos.push(hello);
          firstBytes.push(hello.raw[0]);
          peers.push(`${connection.remoteAddress} ${connection.localPort}`);
          connection.tag("kind", hello.alpn.join(" ") || "none");
          if (hello.serverName === "deny.com") connection.close();
          if (hello.serverName === "other.com") connection.useCertificate("b.com");
          if (hello.serverName === "b.com") connection.restrictVersions(["TLSv1.2"]);
          if (hello.serverName === "throw.com") throw new Error("on purpose");
        },
        rewrite(ctx) {
          ctx.request.headers.set("X-Kind", ctx.variable("tls_tag_kind") ?? "");
        },
      }),
    });
    const gate = await gateway(t, [steering]);
    gate.put("global_rule", "1", { plugins: { steering: {} } });
    const seen = (servername: string, more: ConnectionOptions = {}) =>
      shake(t, gate.tlsPort, { servername, ...more });
    const { name, socket } = await seen("a.com", { ALPNProtocols: ["http/1.1"] });
    assert.equal(name, "a.com");
    assert.equal(JSON.parse(await body(socket))["x-kind"], "http/1.1");
    assert.equal(hellos[0].serverName, "a.com");
    assert.deepEqual(firstBytes, [1]);
    assert.equal(hellos[0].raw.length, 0);
    assert.deepEqual(peers, [`127.0.0.1 ${gate.tlsPort}`]);
    assert.equal((await seen("deny.com")).name, "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED");
    assert.equal((await seen("other.com")).name, "b.com");
    assert.equal((await seen("b.com")).socket.getProtocol(), "TLSv1.2");
    assert.match(
      (await seen("b.com", { minVersion: "TLSv1.3" })).name,
      /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|HANDSHAKE/,
    );
    assert.equal((await seen("throw.com")).name, "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED");
    assert.ok(gate.logged.some((line) => /clientHello.*on purpose/.test(line)));
    gate.put("global_rule", "1", null);
    assert.equal((await seen("deny.com")).name, "ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
    assert.equal((await seen("a.com")).name, "a.com");
  },
);

test(
  "tls-fingerprint turns a client away at its hello, and tells the upstream of others",
  options,
  async (t) => {
    const gate = await gateway(t);
    const rule = (config: object) => gate.put("global_rule", "1", { plugins: { "tls-fingerprint": config } });
    rule({ ja4_header: "X-JA4", ja3_header: "X-JA3" });
    const first = await shake(t, gate.tlsPort, { servername: "a.com" });
    const { "x-ja4": ja4, "x-ja3": ja3 } = JSON.parse(await body(first.socket)) as Record<string, string>;
    assert.match(ja4, /^t13d/);
    for (const listed of [ja3, ja4, `${ja4.slice(0, 10)}*`]) {
      rule({ deny: [listed] });
      assert.equal(
        (await shake(t, gate.tlsPort, { servername: "a.com" })).name,
        "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED",
      );
      rule({ allow: [listed] });
      assert.equal((await shake(t, gate.tlsPort, { servername: "a.com" })).name, "a.com");
    }
    // Another program is another fingerprint.
    const other = await shake(t, gate.tlsPort, { servername: "a.com", maxVersion: "TLSv1.2" });
    assert.equal(other.name, "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED");
  },
);
