/**
 * P11: secrets never leave. Canaries stand in every field that is encrypted at rest, in keys of clients, and in what
 * clients show wrongly; then they are looked for in everything that the node says and keeps.
 *
 * A plugin that declares an encrypted field is tested here without being named, if the field and `SAMPLES` are enough for
 * a valid configuration.
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "../../src/model/certificate-kit.ts";
import { PluginCatalog } from "../../src/plugins/catalog.ts";
import { namedOrigin, upstreamOf } from "./origins.ts";
import { type LogLine, RealNode } from "./real-node.ts";

const CANARY = "Canary7";
/** A line of the private key, which is a secret of another shape. */
const KEY_CANARY = PRIVATE_KEY.split("\n")[1];
/** Files that exist to hold a secret: the admin key and the keyring, readable by their owner only. */
const SECRET_FILES = new Set(["admin.key", "keyring"]);

type Json = Record<string, unknown>;

/** What a plugin needs besides the secret at `path`. The port is one where nobody answers. */
function samples(port: number, path: string): Record<string, Json> {
  const redis = path.startsWith("sentinel")
    ? {
        policy: "redis-sentinel",
        redis_sentinels: [{ host: "127.0.0.1", port }],
        redis_master_name: "m",
        redis_timeout: 200,
      }
    : { policy: "redis", redis_host: "127.0.0.1", redis_port: port, redis_timeout: 200 };
  return {
    "key-auth": {},
    "basic-auth": { username: "canarian" },
    "limit-count": { count: 5, time_window: 60, ...redis },
    "limit-req": { rate: 1, burst: 1, key: "remote_addr", ...redis },
    "limit-conn": { conn: 1, burst: 1, default_conn_delay: 0.1, key: "remote_addr", ...redis },
  };
}

/** The config with the canary at the end of a dotted path; lists on the way have one element. */
function planted(config: Json, path: string, inside: Record<string, Json>): Json {
  const [step, ...rest] = path.split(".");
  const secret = path.endsWith("client_key") ? PRIVATE_KEY : `${CANARY}-${path}`;
  if (rest.length === 0) return { ...config, [step]: secret };
  const inner = planted({ ...inside[step] }, rest.join("."), inside);
  return { ...config, [step]: LISTS.has(step) ? [inner] : inner };
}

/** Encrypted where they stand, but of a policy that these plugins do not have. */
const IDLE = new Set(["limit-conn.sentinel_password", "limit-req.sentinel_password"]);
const LISTS = new Set(["rules", "weighted_upstreams", "instances"]);

/** A port that accepts connections and closes them: clients of it fail and write so into their logs. */
async function closingPort(t: { after(end: () => void): void }): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  return (server.address() as { port: number }).port;
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(folder, name)).isFile())
    .filter((name) => !SECRET_FILES.has(name));
}

function assertClean(place: string, text: string, secrets: readonly string[]): void {
  for (const secret of secrets) {
    const at = text.indexOf(secret);
    assert.equal(at, -1, `${place} holds ${secret}: ${text.slice(Math.max(0, at - 200), at + 100)}`);
  }
}

test("P11: no secret is in a log, a metric, an error, the Control API or a file", async (t) => {
  const node = await RealNode.start(t, {
    change: (config) => {
      config.accessLog.path = "logs/access.log";
      config.log.level = "debug";
    },
  });
  const adminKey = node.key;
  const secrets = [CANARY, KEY_CANARY, adminKey];
  const closed = await closingPort(t);
  const nobody = { type: "roundrobin", nodes: { [`127.0.0.1:${closed}`]: 1 } };
  // What must stand beside the secret on the way to it.
  const inside = { upstream: { ...nobody, scheme: "https" }, tls: { client_cert: CERTIFICATE } };
  const said: [place: string, text: string][] = [];
  const write = async (method: string, path: string, body: unknown, expected: number[]): Promise<void> => {
    const reply = await node.admin(method, path, body);
    assert.ok(expected.includes(reply.status), `${method} ${path}: ${reply.status} ${reply.text}`);
    said.push([`answer to ${method} ${path}`, reply.text]);
  };

  // Every encrypted field of every plugin, where it belongs.
  let fields = 0;
  const routes: string[] = [];
  const consumerSecrets: Json = {};
  for (const plugin of new PluginCatalog(null).list()) {
    for (const [i, path] of (plugin.encrypted ?? []).entries()) {
      if (IDLE.has(`${plugin.name}.${path}`)) continue;
      fields++;
      const sample = samples(closed, path)[plugin.name] ?? {};
      const ofConsumer = (plugin.consumer as { properties?: Json } | undefined)?.properties ?? {};
      const config = planted(sample, path, inside);
      if (path.split(".")[0] in ofConsumer) {
        consumerSecrets[plugin.name] = { ...(consumerSecrets[plugin.name] as Json), ...config };
        continue;
      }
      const uri = `/secret/${plugin.name}/${i}`;
      const body = { uri, plugins: { [plugin.name]: config }, upstream: nobody };
      await write("PUT", `/routes/${plugin.name}-${i}?wait=live`, body, [201]);
      routes.push(uri);
      // Wrong in its shape, and so told about.
      const wrong = { ...config, [path.split(".")[0]]: { [CANARY]: [CANARY] } };
      await write("PUT", "/routes/wrong", { ...body, plugins: { [plugin.name]: wrong } }, [400]);
    }
  }
  assert.ok(fields >= 6, `${fields} encrypted fields`);
  await write("PUT", "/consumers", { username: "canarian", plugins: consumerSecrets }, [201]);
  const credential = { plugins: { "key-auth": { key: `${CANARY}-credential` } } };
  await write("PUT", "/consumers/canarian/credentials/one", credential, [201]);
  await write("PUT", "/consumers", { username: "second", plugins: consumerSecrets }, [400]);
  const ssl = { cert: CERTIFICATE, key: PRIVATE_KEY, snis: ["a.com"] };
  await write("PUT", "/ssls/1", { ...ssl, certs: [CERTIFICATE], keys: [PRIVATE_KEY] }, [201]);
  await write("PUT", "/ssls/2", { ...ssl, cert: `${CERTIFICATE}broken` }, [400, 201]);
  const tls = { client_cert: CERTIFICATE, client_key: PRIVATE_KEY };
  const upstream = { ...nobody, scheme: "https", tls };
  await write("PUT", "/upstreams/canarian", upstream, [201]);
  await write("PUT", "/routes/tls?wait=live", { uri: "/secret/tls", upstream_id: "canarian" }, [201]);
  routes.push("/secret/tls");
  const guarded = {
    uri: "/guarded",
    plugins: { "key-auth": {} },
    upstream: upstreamOf(await namedOrigin(t, "o")),
  };
  await write("PUT", "/routes/guarded?wait=live", guarded, [201]);
  const basic = { ...guarded, uri: "/basic", plugins: { "basic-auth": {} } };
  await write("PUT", "/routes/basic?wait=live", basic, [201]);

  // Wrong keys of administrators and clients are secrets with a slip.
  for (const key of [`${CANARY}-admin`, adminKey.slice(0, -1)]) {
    const headers = { "x-api-key": key };
    const init = { method: "PUT", headers, body: JSON.stringify(ssl) };
    const reply = await fetch(`${node.url("admin")}/apisix/admin/ssls/3`, init);
    assert.equal(reply.status, 401);
    said.push(["a refusal of the Admin API", await reply.text()]);
  }
  const good = Buffer.from(`canarian:${CANARY}-password`).toString("base64");
  const asked: [path: string, headers: Record<string, string>, status: number][] = [
    ["/guarded", { apikey: `${CANARY}-credential` }, 200],
    ["/guarded", { apikey: `${CANARY}-wrong` }, 401],
    ["/basic", { authorization: `Basic ${good}` }, 200],
    ["/basic", { authorization: `Basic ${good}x` }, 401],
    ["/basic", { authorization: `${CANARY} ${CANARY}` }, 401],
  ];
  for (const [path, headers, status] of asked) {
    const reply = await node.get(path, headers);
    assert.equal(reply.status, status, `${path} ${JSON.stringify(headers)}: ${reply.text}`);
    said.push([`answer of the gateway at ${path}`, reply.text + JSON.stringify([...reply.headers])]);
  }
  for (const path of routes) {
    const reply = await node.get(path);
    assert.ok(reply.status >= 500, `${path}: ${reply.status} ${reply.text}`);
    said.push([`answer of the gateway at ${path}`, reply.text]);
  }

  // What the node shows to who has no key, and private keys to nobody at all.
  for (const path of [
    "routes",
    "services",
    "upstreams",
    "plugin_metadatas",
    "quarantine",
    "workers",
    "healthcheck",
    "schema",
  ]) {
    const reply = await fetch(`${node.url("control")}/v1/${path}`);
    assert.equal(reply.status, 200, path);
    said.push([`Control API /v1/${path}`, await reply.text()]);
  }
  const explained = await fetch(`${node.url("control")}/v1/explain`, {
    method: "POST",
    body: JSON.stringify({ method: "GET", uri: "/secret/tls", headers: {} }),
  });
  said.push(["Control API /v1/explain", await explained.text()]);
  said.push(["metrics", await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text()]);
  for (const path of ["/ssls", "/ssls/1"]) said.push([`GET ${path}`, (await node.admin("GET", path)).text]);
  for (const key of ["/ssls/1", "/upstreams/canarian", "/consumers/canarian"]) {
    said.push([`history of ${key}`, (await node.admin("GET", `/history?key=${key}`)).text]);
  }
  for (const [place, text] of said) assertClean(place, text, secrets);

  await node.stop();
  const lines: LogLine[] = node.lines;
  assert.ok(lines.some((line) => line["role"] === "audit"));
  for (const line of lines) assertClean("the log", JSON.stringify(line), secrets);
  assertClean("the standard error", node.errors, secrets);
  assert.ok(existsSync(join(node.folder, "logs/access.log")));
  const files = filesBelow(node.folder);
  assert.ok(files.includes("store.db"), files.join());
  for (const name of files) assertClean(name, readFileSync(join(node.folder, name), "latin1"), secrets);
});
