/** TLS of stream routes on a real data path: ended here, by server names, and begun towards nodes. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect as connectPlain, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { connect, type ConnectionOptions, createServer, type TLSSocket } from "node:tls";
import { eventually } from "../../src/data/wire-test-kit.ts";
import {
  deadNode,
  echo,
  everything,
  node,
  type StreamKit,
  streamKit,
  until,
  upstream,
} from "../../src/data/stream/stream-test-kit.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";

const ALERT = 21;

/** Types of the records of one direction of a connection (RFC 5246 6.2.1). */
function recordTypes(bytes: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) types.push(bytes[at]);
  return types;
}

const options = { skip: hasOpenssl ? false : "there is no openssl" };

async function secure(t: TestContext, kit: StreamKit, more: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: kit.port, rejectUnauthorized: false, ...more });
  t.after(() => socket.destroy());
  socket.on("error", () => undefined);
  await Promise.race([once(socket, "secureConnect"), once(socket, "close")]);
  return socket;
}

async function secureNode(t: TestContext, tls: object, names: (string | false)[]): Promise<string> {
  const server = createServer(tls, (socket) => {
    t.after(() => socket.destroy());
    names.push(socket.servername as unknown as string | false);
    socket.on("error", () => undefined);
    echo(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("stream routes and TLS", options, () => {
  test("where TLS ends, routes go by the server name, and any protocol may be spoken within", async (t) => {
    const kit = await streamKit(t, { listener: { tls: true } });
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    kit.wire.put("ssl", "any", { snis: ["*"], ...pair });
    const places = { "a.com": "exact", "*.a.com": "wildcard" };
    for (const [sni, name] of Object.entries(places))
      kit.route({ sni, upstream: upstream(await node(t, (socket) => socket.end(name))) });
    kit.route({ upstream: upstream(await node(t, (socket) => socket.end("unnamed"))) });
    for (const [servername, expected] of [
      ["a.com", "exact"],
      ["b.a.com", "wildcard"],
      ["c.com", "unnamed"],
    ]) {
      const client = await secure(t, kit, { servername, ALPNProtocols: ["mqtt"] });
      assert.equal(String(await everything(client)), expected);
      client.end();
    }
    await eventually(() => kit.ended.length === 3 && kit.active() === 0);
    assert.equal(kit.ended[0].variable("ssl_server_name"), "a.com");
  });

  test("bytes and ends pass through TLS on both sides; the node hears the client's server name", async (t) => {
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    const kit = await streamKit(t, { listener: { tls: true } });
    kit.wire.put("ssl", "a", { snis: ["a.com"], ...pair });
    const names: (string | false)[] = [];
    const nodes = [await secureNode(t, pair, names), await deadNode()];
    kit.route({ upstream: { ...upstream(...nodes), scheme: "tls" } });
    for (let i = 0; i < 2; i++) {
      const client = await secure(t, kit, { servername: "a.com" });
      const sent = Buffer.alloc(300_000, "ab");
      const received = everything(client);
      client.end(sent);
      assert.ok((await received).equals(sent));
    }
    assert.deepEqual(names, ["a.com", "a.com"]);
  });

  test("a client without a server name is told to the node by APISIX's name for it", async (t) => {
    const names: (string | false)[] = [];
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    const kit = await streamKit(t);
    kit.route({ upstream: { ...upstream(await secureNode(t, pair, names)), scheme: "tls" } });
    const client = await kit.client();
    client.write("x");
    assert.equal(await until(client, "x"), "x");
    assert.deepEqual(names, ["apisix_backend"]);
  });

  test("a node whose certificate does not verify gets nothing", async (t) => {
    const names: (string | false)[] = [];
    const pair = Authority.make(t).issue({ names: ["a.com"] });
    const kit = await streamKit(t);
    const to = await secureNode(t, pair, names);
    kit.route({ upstream: { ...upstream(to), scheme: "tls", tls: { verify: true } } });
    assert.equal((await everything(await kit.client())).length, 0);
    await eventually(() => kit.ended.length === 1);
    assert.equal(kit.ended[0].stream.status, 502);
  });

  test("client certificates are asked for and verified; paths that may go without are none here", async (t) => {
    const authority = Authority.make(t);
    const pair = authority.issue({ names: ["a.com"] });
    const kit = await streamKit(t, { listener: { tls: true } });
    kit.route({ upstream: upstream(await node(t, (socket) => socket.end("in"))) });
    for (const more of [{}, { skip_mtls_uri_regex: [".*"] }]) {
      kit.wire.put("ssl", "a", { snis: ["a.com"], ...pair, client: { ca: authority.pair.cert, ...more } });
      const stranger = await secure(t, kit, { servername: "a.com" });
      assert.equal(String(await everything(stranger)), "");
      const known = await secure(t, kit, { servername: "a.com", ...authority.issue({ names: ["me"] }) });
      assert.equal(String(await everything(known)), "in");
      known.end();
    }
  });

  test("who stands below more authorities than the certificate allows comes to no node", async (t) => {
    const [authority, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const middle = root.intermediate(t, "middle");
    const kit = await streamKit(t, { listener: { tls: true } });
    kit.route({ upstream: upstream(await node(t, (socket) => socket.end("in"))) });
    const issued = middle.issue({ names: ["me"] });
    const below = { ...issued, cert: issued.cert + middle.pair.cert };
    const pair = authority.issue({ names: ["a.com"] });
    for (const [depth, more, expected] of [
      [1, {}, "in"],
      [0, {}, ""],
      [0, { skip_mtls_uri_regex: [".*"] }, ""],
    ] as const) {
      const client = { ca: root.pair.cert, depth, ...more };
      kit.wire.put("ssl", "a", { snis: ["a.com"], ...pair, client });
      const socket = await secure(t, kit, { servername: "a.com", ...below });
      assert.equal(String(await everything(socket)), expected, `depth ${depth} ${JSON.stringify(more)}`);
      socket.end();
    }
  });

  test("when a node breaks off, a client over TLS can tell that from its end", async (t) => {
    const kit = await streamKit(t, { listener: { tls: true } });
    kit.wire.put("ssl", "a", { snis: ["a.com"], ...Authority.make(t).issue({ names: ["a.com"] }) });
    const ends = {
      regular: (socket: Socket): unknown => socket.end("data"),
      broken: (socket: Socket): unknown => socket.write("data", () => socket.resetAndDestroy()),
    };
    for (const [how, serve] of Object.entries(ends)) {
      kit.wire.put("stream_route", "1", {
        upstream: upstream(await node(t, (socket) => socket.once("data", () => serve(socket)))),
      });
      const seen: Buffer[] = [];
      const ended = Promise.withResolvers<void>();
      const tap = await node(t, (socket) => {
        const inner = connectPlain({ host: "127.0.0.1", port: kit.port });
        inner.on("data", (chunk: Buffer) => seen.push(chunk));
        inner.on("close", () => ended.resolve());
        inner.on("error", () => undefined);
        socket.pipe(inner).pipe(socket);
      });
      const port = Number(tap.split(":")[1]);
      // Of TLS 1.2 the types of records can be read.
      const client = await secure(t, kit, { servername: "a.com", port, maxVersion: "TLSv1.2" });
      client.write("x");
      await ended.promise;
      assert.equal(recordTypes(Buffer.concat(seen)).includes(ALERT), how === "regular", how);
      client.destroy();
    }
  });

  test("a PROXY header comes before the handshake", async (t) => {
    const kit = await streamKit(t, {
      listener: { tls: true, proxyProtocol: true },
      realIpFrom: ["127.0.0.1"],
    });
    kit.wire.put("ssl", "a", { snis: ["a.com"], ...Authority.make(t).issue({ names: ["a.com"] }) });
    kit.route({ remote_addr: "192.0.2.7", upstream: upstream(await node(t, echo)) });
    const plain = await kit.client();
    plain.write("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n");
    const client = connect({ socket: plain, servername: "a.com", rejectUnauthorized: false });
    client.on("error", () => undefined);
    await once(client, "secureConnect");
    client.write("x");
    assert.equal(await until(client, "x"), "x");
  });

  test("whoever speaks no TLS is turned away, and counted as nobody", async (t) => {
    const kit = await streamKit(t, { listener: { tls: true } });
    kit.route({ upstream: upstream(await node(t, echo)) });
    const client = await kit.client();
    client.write("hello, is this TLS?\r\n");
    await everything(client);
    await eventually(() => kit.active() === 0);
    assert.equal(kit.ended.length, 0);
  });
});
