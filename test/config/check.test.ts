/** `cardea check` as a user runs it: through bin/cardea, on a file as an APISIX node has it. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const CARDEA = fileURLToPath(new URL("../../bin/cardea", import.meta.url));

/** Every section of APISIX's config.yaml that people change, in the spelling that they use. */
const APISIX_FILE = `
apisix:
  node_listen:
    - 9080
    - { ip: 127.0.0.2, port: 9082 }
  enable_ipv6: false
  enable_control: true
  control: { ip: 0.0.0.0, port: 9092 }
  show_upstream_status_in_response_header: true
  proxy_cache:
    cache_ttl: 10s
    zones: [{ name: memory_cache, memory_size: 50m }]
  router: { http: radixtree_uri, ssl: radixtree_sni }
  dns_resolver: [10.0.0.2]
  ssl:
    enable: true
    listen: [{ port: 9443 }]
  trusted_addresses: [10.0.0.0/8]
  data_encryption: { keyring: [a-key-of-our-own, qeddd145sfvddff3] }
nginx_config:
  worker_processes: \${{WORKERS:=2}}
  worker_rlimit_nofile: 20480
  event: { worker_connections: 20000 }
  http_configuration_snippet: |
    # nothing
  http:
    access_log: logs/access.log
    keepalive_timeout: 75s
    underscores_in_headers: "on"
    real_ip_from: [127.0.0.1, "unix:"]
    lua_shared_dict: { internal-status: 10m }
plugins: [key-auth, limit-count]
stream_plugins: [mqtt-proxy]
plugin_attr:
  prometheus: { export_addr: { ip: 0.0.0.0, port: 9099 } }
deployment:
  role: traditional
  role_traditional: { config_provider: etcd }
  admin:
    admin_key: [{ name: admin, key: "\${{ADMIN_KEY}}", role: admin }]
    allow_admin: [127.0.0.0/24]
    admin_listen: { ip: 0.0.0.0, port: 9180 }
  etcd:
    host: ["http://\${{ETCD_HOST:=127.0.0.1}}:2379"]
    prefix: /apisix
`;

describe("cardea check", () => {
  let folder = "";
  let file = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "cardea-check-"));
    file = join(folder, "config.yaml");
    writeFileSync(file, APISIX_FILE);
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  test("accepts an APISIX node's file and says in two lines what has no effect", async () => {
    const { code, out, err } = await check(file, { ADMIN_KEY: "a-key-of-our-own-000" });
    assert.equal(err.trimEnd().split("\n").length, 2, err);
    assert.match(
      err,
      /^warning: apisix\.data_encryption\.keyring has a key that APISIX's documentation prints/m,
    );
    assert.match(err, /^warning: keys of APISIX .*apisix\.proxy_cache, nginx_config\./m);
    assert.equal(code, 0);
    assert.match(
      out,
      /2 workers, http 0\.0\.0\.0:9080, http 127\.0\.0\.2:9082, https 0\.0\.0\.0:9443, admin 0\.0\.0\.0:9180, control 0\.0\.0\.0:9092/,
    );
  });

  test("tells of a file with authorities that is not there", async () => {
    const trusting = join(folder, "trusting.yaml");
    writeFileSync(trusting, `apisix: { ssl: { ssl_trusted_certificate: "system, ${folder}/none.pem" } }`);
    const { code, err } = await check(trusting, {});
    assert.equal(code, 0);
    assert.match(
      err,
      /^warning: apisix\.ssl\.ssl_trusted_certificate: the file \S+none\.pem cannot be read now \(ENOENT\)$/m,
    );
  });

  test("shows what each tenant gets", async () => {
    const tenants = join(folder, "tenants.yaml");
    writeFileSync(tenants, "cardea: { workers: 1, tenants: [{ name: shop, listen: [{ port: 9081 }] }] }");
    const { code, out } = await check(tenants, {});
    assert.equal(code, 0);
    assert.match(out, /^tenant shop: 1 workers, http 0\.0\.0\.0:9081$/m);
  });

  test("names the variable that is missing, with its line", async () => {
    const { code, err } = await check(file, {});
    const line = APISIX_FILE.split("\n").findIndex((text) => text.includes("ADMIN_KEY")) + 1;
    assert.equal(code, 1);
    assert.match(err, new RegExp(`config\\.yaml:${line}:\\d+ the environment variable ADMIN_KEY is not set`));
  });
});

function check(file: string, env: NodeJS.ProcessEnv): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env["PATH"], ...env } };
    const child = execFile(process.execPath, [CARDEA, "check", "-c", file], options, (_error, out, err) => {
      resolve({ code: child.exitCode ?? -1, out, err });
    });
  });
}
