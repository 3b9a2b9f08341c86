/** P12: the Admin API is apart from the data port and needs a key; no default key exists. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseStaticConfig } from "../../src/config/load.ts";
import { namedOrigin, upstreamOf } from "./origins.ts";
import { RealNode, ROOT, temporaryFolder } from "./real-node.ts";

/** Those that APISIX's example configuration has. */
const WELL_KNOWN_KEYS = ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2"];
const ADMIN_PATHS = ["/apisix/admin/routes", "/apisix/admin/consumers", "/apisix/admin/routes/1"];

test("P12: no path of the data port reaches the Admin or the Control API, whatever the key", async (t) => {
  const node = await RealNode.start(t);
  const headers = { "x-api-key": node.key };
  for (const path of [...ADMIN_PATHS, "/v1/routes", "/v1/schema", "/status", "/apisix/prometheus/metrics"]) {
    assert.equal((await node.get(path, headers)).status, 404, path);
  }
  await node.put("/routes/all", { uri: "/*", upstream: upstreamOf(await namedOrigin(t, "origin")) });
  for (const path of ADMIN_PATHS) assert.equal((await node.get(path, headers)).text, `origin ${path}`);
});

test("P12: without the right key nothing is read or written", async (t) => {
  const node = await RealNode.start(t);
  const body = JSON.stringify({ uri: "/a", upstream: { nodes: { "127.0.0.1:1": 1 } } });
  const { key } = node;
  const wrong: Record<string, string>[] = [
    {},
    { "x-api-key": "" },
    { "x-api-key": key.slice(0, -1) },
    { "x-api-key": `${key}x` },
    { "x-api-key": key.toUpperCase() === key ? key.toLowerCase() : key.toUpperCase() },
    ...WELL_KNOWN_KEYS.map((known) => ({ "x-api-key": known })),
    { authorization: `Bearer ${key}` },
  ];
  for (const headers of wrong) {
    for (const [method, path] of [
      ["GET", "/routes"],
      ["PUT", "/routes/1"],
      ["PATCH", "/routes/1"],
      ["DELETE", "/routes/1"],
      ["GET", "/schema/validate/routes"],
      ["GET", "/nothing/there"],
    ]) {
      const init: RequestInit = { method, headers };
      if (method === "PUT" || method === "PATCH") init.body = body;
      const reply = await fetch(`${node.url("admin")}/apisix/admin${path}`, init);
      assert.equal(reply.status, 401, `${method} ${path} with ${JSON.stringify(headers)}`);
      assert.ok(!(await reply.text()).includes(key));
    }
  }
  assert.equal((await node.admin("GET", "/routes")).body.total, 0);
});

test("P12: the key is made at random, kept for its owner only, and the same after a restart", async (t) => {
  const first = await RealNode.start(t);
  const { key, folder } = first;
  const file = join(folder, "admin.key");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.ok(key.length >= 32);
  assert.ok(!first.transcript().includes(key), "the log does not show it");
  await first.stop();
  const again = await RealNode.start(t, { folder });
  assert.equal(again.key, key);
  const other = await RealNode.start(t);
  assert.notEqual(other.key, key);
});

test("P12: keys that everybody knows are refused where other machines reach the Admin API", (t) => {
  const folder = temporaryFolder(t);
  for (const key of WELL_KNOWN_KEYS) {
    const file = join(folder, "config.yaml");
    writeFileSync(
      file,
      `deployment:\n  admin:\n    admin_listen: { ip: 0.0.0.0 }\n    admin_key:\n      - { name: admin, key: ${key}, role: admin }\n`,
    );
    const args = [join(ROOT, "bin/cardea"), "check", "-c", file, "-d", folder];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.equal(status, 1, stdout);
    assert.match(stdout + stderr, /admin_key\[0\]/);
  }
});

test("P12: a viewer reads and writes nothing", async (t) => {
  const viewer = "a-viewer-key-0123456789";
  const keys = `deployment:
  admin:
    admin_key:
      - { name: admin, key: an-admin-key-0123456789, role: admin }
      - { name: viewer, key: ${viewer}, role: viewer }
`;
  const node = await RealNode.start(t, {
    change: ({ admin }) => {
      admin.keys = parseStaticConfig("(test)", keys, {}).config.admin.keys;
    },
  });
  const headers = { "x-api-key": viewer };
  const body = { uri: "/a", upstream: { nodes: { "127.0.0.1:1": 1 } } };
  const call = (method: string, path: string, value?: unknown) => {
    const init: RequestInit = { method, headers };
    if (value !== undefined) init.body = JSON.stringify(value);
    return fetch(`${node.url("admin")}/apisix/admin${path}`, init);
  };
  assert.equal((await call("GET", "/routes")).status, 200);
  assert.equal((await call("PUT", "/routes/1", body)).status, 401);
  assert.equal((await call("POST", "/routes", body)).status, 401);
  assert.equal((await call("PATCH", "/routes/1", body)).status, 401);
  assert.equal((await call("DELETE", "/routes/1")).status, 401);
  const list = await (await call("GET", "/routes")).json();
  assert.equal((list as { total: number }).total, 0);
});
