/** `cardea diff`, `apply` and `export` against the Admin API of a node. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { main } from "../../src/cli/main.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../src/model/certificate-kit.ts";
import { KEY, TestNode } from "../admin/node.ts";

let node: TestNode;
let folder = "";
before(async () => {
  node = await new TestNode().start();
  folder = mkdtempSync(join(tmpdir(), "cardea-declarative-"));
});
after(async () => {
  await node.dispose();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  const types = [...node.control.state.types.keys()];
  assert.equal((await node.call("POST", "/batch", { prune: { types } })).status, 200);
});

async function cardea(argv: string[], env: NodeJS.ProcessEnv = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(argv, {
    stdout: { write: (text: string) => out.push(text) },
    stderr: { write: (text: string) => err.push(text) },
    env: { CARDEA_ADMIN: node.url, CARDEA_ADMIN_KEY: KEY, ...env },
  });
  return { code, out: out.join(""), err: err.join("") };
}

function file(text: string, name = "resources.yaml"): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const stored = () => node.control.state.keys().sort();

const FIRST = `
upstreams:
  - id: u
    nodes: {"127.0.0.1:81": 1}
routes:
  - id: 1
    uri: /a
    upstream_id: u
    labels: {team: a}
consumers:
  - username: jack
  - id: jack/credentials/one
    plugins: {key-auth: {key: canary-of-jack}}
`;

test("a file is applied, is the same afterwards, and a change of it is shown and applied", async () => {
  const path = file(FIRST);
  const before = await cardea(["diff", path]);
  assert.deepEqual([before.code, stored()], [1, []]);
  const applied = await cardea(["apply", path]);
  assert.equal(applied.code, 0, applied.err);
  assert.match(applied.out, /^\+ create {2}\/routes\/1$/m);
  assert.match(applied.out, /^4 to create, 0 to update, 0 to delete, 0 unchanged$/m);
  assert.match(applied.out, /^applied: revision \d+, live on every worker$/m);
  assert.equal((await cardea(["diff", path])).code, 0);
  const changed = file(FIRST.replace("uri: /a", "uri: /b").replace("canary-of-jack", "canary-two"));
  const shown = await cardea(["diff", changed]);
  assert.equal(shown.code, 1);
  assert.match(shown.out, /^~ update {2}\/routes\/1\n {6}\/uri: "\/a" → "\/b"$/m);
  assert.match(shown.out, /\/plugins\/key-auth\/key: \(not shown\) → \(not shown\)/);
  assert.ok(!shown.out.includes("canary"));
  await cardea(["apply", changed]);
  assert.equal((await node.call("GET", "/routes/1")).body.value.uri, "/b");
});

test("a dry run changes nothing and tells what it would do to traffic", async () => {
  await cardea(["apply", file(FIRST)]);
  const wider = `${FIRST}  - username: jill\nglobal_rules: []\n`.replace(
    "routes:\n",
    "routes:\n  - {id: 2, uri: /a, priority: 1, upstream_id: u}\n",
  );
  const { code, out } = await cardea(["apply", "--dry-run", file(wider)]);
  assert.equal(code, 0);
  assert.match(out, /^requests to \/a: 1 → 2$/m);
  assert.match(out, /^route 1 is not reached any more: 2 before it$/m);
  assert.ok(!stored().includes("/routes/2"));
});

test("only --prune deletes: what the file leaves out of its types, or what carries a label", async () => {
  await cardea(["apply", file(FIRST)]);
  await node.call("PUT", "/routes/other", { uri: "/o", upstream_id: "u", labels: { team: "b" } });
  await cardea(["apply", file("routes: []\nupstreams: []\nconsumers: []\n")]);
  assert.equal(stored().length, 5);
  await cardea(["apply", "--prune", "--select", "team=a", file("upstreams: []\n")]);
  assert.ok(!stored().includes("/routes/1") && stored().includes("/routes/other"));
  const inUse = await cardea(["apply", "--prune", file("upstreams: []\n")]);
  assert.match(inUse.err, /^\/upstreams\/u: .*route \[other\] is still using it/m);
  assert.equal(inUse.code, 1);
  await cardea(["apply", "--prune", file("upstreams: []\nroutes: []\n")]);
  assert.deepEqual(stored(), ["/consumers/jack", "/consumers/jack/credentials/one"]);
});

test("a refused file changes nothing, and each fault has its line", async () => {
  const path = file(FIRST.replace("uri: /a", "uri: 1").replace("nodes: {", "retries: x\n    nodes: {"));
  const { code, err } = await cardea(["apply", path]);
  assert.equal(code, 1);
  assert.match(err, /resources\.yaml:4:14 \/upstreams\/u: .*retries/);
  assert.match(err, /resources\.yaml:8:10 \/routes\/1: .*uri/);
  assert.match(err, /the node refuses: 400: 2 of 4 writes are refused; nothing was changed/);
  assert.deepEqual(stored(), []);
  assert.equal((await cardea(["diff", path])).code, 2);
});

test("what is exported and applied to an empty node is the same", async () => {
  const [cert, key] = [CERTIFICATE, PRIVATE_KEY];
  await cardea(["apply", file(FIRST)]);
  await node.call("PUT", "/ssls/1", { cert, key, snis: ["a.com"] });
  await node.call("PUT", "/plugin_metadata/prometheus", {});
  await node.call("PUT", "/secrets/vault/1", { uri: "http://127.0.0.1:1", prefix: "p", token: "t" });
  const path = join(folder, "export.yaml");
  const exported = await cardea(["export", "-o", path]);
  assert.equal(exported.code, 0, exported.err);
  assert.match(exported.err, /\/ssls\/1: private keys are not exported; .*CARDEA_KEY_OF_SSL_1/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const text = readFileSync(path, "utf8");
  assert.ok(!text.includes("PRIVATE KEY"));
  const env = { CARDEA_KEY_OF_SSL_1: key };
  const same = await cardea(["diff", path], env);
  assert.deepEqual([same.code, same.err], [0, ""], same.out);
  const keys = stored();
  await node.call("POST", "/batch", { prune: { types: [...node.control.state.types.keys()] } });
  assert.equal((await cardea(["apply", path], env)).code, 0);
  assert.deepEqual(stored(), keys);
});

test("a configuration that others changed since the plan is not overwritten", async () => {
  const path = file(FIRST);
  // The other write comes between the two requests of one command.
  const fetched = globalThis.fetch;
  globalThis.fetch = async (...args) => {
    const response = await fetched(...args);
    if ((args[0] as string).includes("dry_run")) {
      globalThis.fetch = fetched;
      await node.call("PUT", "/upstreams/mine", { nodes: {} });
    }
    return response;
  };
  const { code, err } = await cardea(["apply", path]);
  assert.deepEqual([code, stored()], [1, ["/upstreams/mine"]]);
  assert.match(err, /changed by others since the plan; nothing was applied/);
});

test("address and key come from the configuration of the node in the data folder", async () => {
  const { port } = new URL(node.url);
  const lines = [
    "deployment:",
    "  admin:",
    `    admin_listen: {ip: 127.0.0.1, port: ${port}}`,
    `    admin_key: [{name: admin, key: ${KEY}, role: admin}]`,
  ];
  file(lines.join("\n"), "config.yaml");
  const path = file(FIRST);
  const env = { CARDEA_ADMIN: undefined, CARDEA_ADMIN_KEY: undefined };
  assert.equal((await cardea(["diff", path, "-d", folder], env)).code, 1);
  assert.equal((await cardea(["diff", path], { ...env, CARDEA_DATA: folder })).code, 1);
  const other = file(lines.slice(0, 3).join("\n"), "config.yaml");
  assert.match((await cardea(["diff", path, "-d", folder], env)).err, /there is no admin key: .*admin\.key/);
  file(`${KEY}\n`, "admin.key");
  assert.equal((await cardea(["diff", path, "-c", other, "-d", folder], env)).code, 1);
  rmSync(join(folder, "admin.key"));
  rmSync(other);
});

test("without a node, a key or a file the command says so", async () => {
  const path = file(FIRST);
  const away = await cardea(["apply", path], { CARDEA_ADMIN: "http://127.0.0.1:1" });
  assert.deepEqual([away.code, away.out], [1, ""]);
  assert.match(away.err, /^http:\/\/127\.0\.0\.1:1 does not answer: /);
  const keyless = await cardea(["apply", path, "-d", folder], { CARDEA_ADMIN_KEY: "" });
  assert.equal(keyless.code, 2);
  assert.match(keyless.err, /^there is no admin key: .*admin\.key/);
  assert.match(
    (await cardea(["export"], { CARDEA_ADMIN_KEY: "wrong" })).err,
    /401: failed to check token: wrong/,
  );
  assert.match((await cardea(["apply", join(folder, "none.yaml")])).err, /none\.yaml cannot be read/);
  assert.equal((await cardea(["apply"])).code, 2);
  assert.match(
    (await cardea(["apply", path, "--select", "a=b"])).err,
    /--select chooses what --prune deletes/,
  );
  assert.match((await cardea(["apply", path, "--prune", "--select", "a"])).err, /expected label=value/);
});
