/**
 * A whole node whose certificates stand elsewhere: on an HTTPS server that asks for a certificate itself, and in a Vault.
 * Keys are in memory alone, and serve on while their source is down.
 */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "node:tls";
import { VaultServer } from "../../src/control/certificates/vault-kit.ts";
import { RealNode, withTls } from "../promises/real-node.ts";
import { Authority, hasOpenssl, type Pair } from "./certificate-authority.ts";
import { freePort } from "../ports/free-port.ts";

const options = { skip: hasOpenssl ? false : "there is no openssl" };

const serialOf = ({ cert }: Pair): string => new X509Certificate(cert).serialNumber;

/** What a client is shown; null: there is no handshake. */
async function shown(port: number, servername: string): Promise<string | null> {
  const socket = connect({ host: "127.0.0.1", port, servername, rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect");
    return socket.getPeerX509Certificate()!.serialNumber;
  } catch {
    return null;
  } finally {
    socket.destroy();
  }
}

async function until(port: number, servername: string, pair: Pair): Promise<void> {
  while ((await shown(port, servername)) !== serialOf(pair)) await new Promise(setImmediate);
}

async function stopped(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

test(
  "keys that stand elsewhere serve, serve on while it is down, and never reach a file",
  options,
  async (t) => {
    const ca = Authority.make(t);
    const clients = Authority.make(t, "Clients");
    const own = ca.issue({ names: ["localhost"] });
    let given = ca.issue({ names: ["a.com"] });
    let isPem = false;
    const source = createServer(
      { ...own, ca: clients.pair.cert, requestCert: true, rejectUnauthorized: true },
      (_, response) => response.end(isPem ? `${given.key}${given.cert}` : JSON.stringify(given)),
    );
    const sourcePort = await freePort();
    await new Promise<void>((resolve) => source.listen(sourcePort, "127.0.0.1", () => resolve()));
    t.after(() => stopped(source));
    const url = `https://localhost:${sourcePort}/certificates/a.com?token=x`;
    const gateway = clients.issue({ names: ["gateway"] });
    const vault = await VaultServer.start(t);
    const inVault = [ca.issue({ names: ["b.com"] }), ca.issue({ names: ["b.com"], algorithm: "rsa" })];
    vault.put("kv/tls/b.com", inVault[0]);

    const addTls = await withTls();
    const node = await RealNode.start(t, {
      control: "faulty-control.ts",
      change(config) {
        addTls(config);
        config.log.level = "debug";
        config.supervision.drainTimeoutMs = 1000;
      },
    });
    const port = node.port("https");
    const authority = { client_cert: gateway.cert, client_key: gateway.key, ca: ca.pair.cert };
    await node.put("/ssls/1", { sni: "a.com", source: { url, ...authority } });
    await until(port, "a.com", given);
    await node.put("/secrets/vault/1", { uri: vault.uri, prefix: "kv/tls", token: vault.token });
    const reference = { cert: "$secret://vault/1/b.com/cert", key: "$secret://vault/1/b.com/key" };
    await node.put("/ssls/2", { sni: "b.com", ...reference });
    await until(port, "b.com", inVault[0]);
    assert.equal((await fetch(`${node.url("status")}/status/ready`)).status, 200);

    // What the sources give changes.
    const former = given;
    given = ca.issue({ names: ["a.com"], algorithm: "rsa" });
    isPem = true;
    await node.put("/ssls/1", { sni: "a.com", source: { url, ...authority, refresh_s: 600 } });
    await until(port, "a.com", given);
    vault.put("kv/tls/b.com", inVault[1]);
    await node.admin("PATCH", "/secrets/vault/1", { prefix: "/kv/tls/" });
    await until(port, "b.com", inVault[1]);

    // They are down, and somebody who does not know the gateway's certificate is not served.
    await node.put("/ssls/3", { sni: "c.com", source: { url, ca: ca.pair.cert } });
    await node.logged("a source of certificates fails");
    assert.equal(await shown(port, "c.com"), null);
    await stopped(source);
    vault.isSealed = true;
    await node.admin("PATCH", "/secrets/vault/1", { prefix: "kv/tls" });
    await node.put("/ssls/1", { snis: ["a.com", "d.com"], source: { url, ...authority, refresh_s: 700 } });
    await node.logged("a source of certificates fails", 3);
    assert.equal(await shown(port, "d.com"), serialOf(given));
    assert.equal(await shown(port, "b.com"), serialOf(inVault[1]));

    const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
    assert.match(page, /^apisix_ssl_source_age_seconds\{type="secret",source="vault\/1\/b\.com"\} \d/m);
    assert.match(page, /^apisix_ssl_source_failures_total\{type="remote",source="https:[^"?]+"\} [1-9]/m);
    assert.match(page, /^apisix_ssl_expires_in_seconds\{ssl="2",sni="b\.com"\} \d+$/m);

    // Control, which alone has asked for them, is another one.
    writeFileSync(join(node.folder, "fault-control"), "");
    await node.logged("configuration loaded", 2);
    await node.put("/ssls/4", { sni: "e.com", ...ca.issue({ names: ["e.com"] }) });
    assert.notEqual(await shown(port, "e.com"), null);
    assert.equal(await shown(port, "d.com"), serialOf(given));
    assert.equal(await shown(port, "b.com"), serialOf(inVault[1]));

    // Nobody but the memory knows the keys.
    const said = [page, node.transcript(), node.lines.map((line) => JSON.stringify(line)).join("\n")];
    for (const path of ["/ssls", "/secrets/vault/1"]) said.push((await node.admin("GET", path)).text);
    await node.stop();
    for (const name of readdirSync(node.folder, { recursive: true, encoding: "utf8" })) {
      const file = join(node.folder, name);
      if (statSync(file).isFile()) said.push(readFileSync(file, "latin1"));
    }
    assert.ok(said.length > 5);
    for (const { key } of [former, given, ...inVault, gateway]) {
      const line = key.split("\n")[1];
      for (const text of said) assert.ok(!text.includes(line), text.slice(0, 200));
    }
  },
);
