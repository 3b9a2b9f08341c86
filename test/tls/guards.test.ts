/** Which requests a TLS connection may carry where some names ask for client certificates. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test, type TestContext } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { wired, type Wired } from "../../src/data/wire-test-kit.ts";
import { Authority, hasOpenssl } from "./certificate-authority.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

/** Its route has no node: who is admitted gets 503. */
async function gateway(t: TestContext, config = ""): Promise<Wired> {
  return await wired(t, { config, routes: [{ uri: "/*", upstream: { type: "roundrobin", nodes: {} } }] });
}

const ADMITTED = 503;
const REFUSED = 400;

async function shake(t: TestContext, gate: Wired, more: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: gate.tlsPort, rejectUnauthorized: false, ...more });
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

/** The status of the answer to one request; the connection ends with it. */
async function ask(socket: TLSSocket, host: string): Promise<number> {
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  await once(socket, "end");
  return Number(text.slice(9, 12));
}

describe("where names ask for client certificates", options, () => {
  test("a route's wildcard is guarded for hosts of more labels than the certificate's, too", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t);
    const client = { ca: root.pair.cert };
    gate.put("ssl", "1", { snis: ["*.a.com"], ...ca.issue({ names: ["a.com"] }), client });
    gate.put("ssl", "2", { snis: ["b.com"], ...ca.issue({ names: ["b.com"] }) });
    const from = async (host: string): Promise<number> =>
      await ask(await shake(t, gate, { servername: "b.com" }), host);
    assert.equal(await from("b.com"), ADMITTED);
    assert.equal(await from("x.a.com"), REFUSED);
    assert.equal(await from("x.y.a.com"), REFUSED);
    assert.equal(await from("xa.com"), ADMITTED);
  });

  test("who was verified for a listener's certificate is not for the fallback name's", async (t) => {
    const [ca, root, other] = [Authority.make(t), Authority.make(t, "Clients"), Authority.make(t, "Others")];
    const gate = await gateway(t, "apisix: { ssl: { fallback_sni: a.com } }");
    const listen = [{ port: gate.tlsPort }];
    const jack = other.issue({ names: ["jack"] });
    gate.put("ssl", "1", {
      snis: ["a.com"],
      ...ca.issue({ names: ["a.com"] }),
      client: { ca: root.pair.cert },
    });
    gate.put("ssl", "2", {
      snis: ["b.com"],
      ...ca.issue({ names: ["b.com"] }),
      client: { ca: other.pair.cert },
      listen,
    });
    const socket = await shake(t, gate, { servername: "", ...jack });
    assert.equal(socket.getPeerCertificate().subject.CN, "b.com");
    assert.equal(await ask(socket, "a.com"), REFUSED);
    assert.equal(await ask(await shake(t, gate, { servername: "", ...jack }), "c.com"), ADMITTED);
    assert.equal(await ask(await shake(t, gate, { servername: "b.com", ...jack }), "b.com"), ADMITTED);
  });

  test("they go on asking where one of their authorities cannot be read", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t);
    gate.put("ssl", "1", { snis: ["*.a.com"], ...ca.issue({ names: ["a.com"] }) });
    const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const client = { ca: root.pair.cert + broken, depth: 0 };
    gate.put("ssl", "2", { snis: ["x.a.com"], ...ca.issue({ names: ["x.a.com"] }), client });
    assert.equal(await ask(await shake(t, gate, { servername: "y.a.com" }), "x.a.com"), REFUSED);
    await assert.rejects(shake(t, gate, { servername: "x.a.com", maxVersion: "TLSv1.2" }));
  });

  test("an edit that cannot be used leaves the certificate that was", async (t) => {
    const [ca, root] = [Authority.make(t), Authority.make(t, "Clients")];
    const gate = await gateway(t);
    const guarded = {
      snis: ["a.com"],
      ...ca.issue({ names: ["a.com"] }),
      client: { ca: root.pair.cert, skip_mtls_uri_regex: ["^/open"] },
    };
    gate.put("ssl", "1", guarded);
    gate.put("ssl", "2", { snis: ["b.com"], ...ca.issue({ names: ["b.com"] }) });
    const worse = { ...guarded, client: { ...guarded.client, skip_mtls_uri_regex: ["("] } };
    assert.throws(() => gate.put("ssl", "1", worse));
    assert.equal(await ask(await shake(t, gate, { servername: "b.com" }), "a.com"), REFUSED);
  });
});
