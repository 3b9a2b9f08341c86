/** `cardea import`: from files of others to a file that a node takes. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { main } from "../../src/cli/main.ts";
import { KEY, TestNode } from "../admin/node.ts";

let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "cardea-import-"));
});
after(() => rmSync(folder, { recursive: true }));

async function cardea(argv: string[], env: NodeJS.ProcessEnv = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(argv, {
    stdout: { write: (text: string) => out.push(text) },
    stderr: { write: (text: string) => err.push(text) },
    env,
  });
  return { code, out: out.join(""), err: err.join("") };
}

function file(text: string, name = "source"): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const KONG = `
_format_version: "3.0"
services:
- name: users
  url: http://127.0.0.1:81/v1
  routes: [{name: users, paths: [/users]}]
  plugins: [{name: key-auth}, {name: rate-limiting, config: {minute: 5, limit_by: ip}}]
consumers: [{username: jack, keyauth_credentials: [{key: one}]}]
plugins: [{name: prometheus}, {name: jwt}]
`;

test("a file of Kong becomes one that a node takes as it is", async (t) => {
  const path = join(folder, "cardea.yaml");
  const made = await cardea(["import", file(KONG), "-o", path]);
  assert.equal(made.code, 0);
  assert.match(made.err, /left out: plugins\[1\] jwt/);
  assert.match(made.err, /imported: 1 global_rules, 1 services, 1 routes, 2 consumers\n$/);
  assert.match(readFileSync(path, "utf8"), /#END\n$/);
  const node = await new TestNode().start();
  t.after(() => node.dispose());
  const env = { CARDEA_ADMIN: node.url, CARDEA_ADMIN_KEY: KEY };
  const applied = await cardea(["apply", path], env);
  assert.equal(applied.code, 0, applied.err);
  assert.equal((await node.call("GET", "/routes/users")).body.value.uri, "/users*");
});

test("with --strict, what is left out is a fault", async () => {
  assert.equal((await cardea(["import", "--strict", file(KONG)])).code, 1);
  assert.equal((await cardea(["import", "--strict", file(KONG.replace(", {name: jwt}", ""))])).code, 0);
});

test("answers of an API one after the other are read, as JSON is written too", async () => {
  const answer = (key: string) => JSON.stringify({ list: [{ key, value: { uri: "/a" } }], total: 1 });
  const source = file(`${answer("/apisix/routes/1")}\n${answer("/apisix/routes/2")}\n`);
  const { out } = await cardea(["import", "--format", "json", source]);
  assert.deepEqual(JSON.parse(out), {
    routes: [
      { id: "1", uri: "/a" },
      { id: "2", uri: "/a" },
    ],
  });
});

const faults: [text: string, argv: string[], message: RegExp, code: number][] = [
  ["a: 1", [], /nothing of apisix is in it/, 1],
  ["a: 1", ["--from", "kong"], /nothing of kong is in it/, 1],
  ["a: 1", ["--from", "traefik"], /given traefik, expected apisix or kong/, 2],
  ["a: [", [], /neither JSON nor YAML/, 1],
  ["routes: []", ["--format", "toml"], /expected yaml or json/, 2],
];
for (const [text, argv, message, code] of faults) {
  test(`${JSON.stringify(text)} with ${JSON.stringify(argv)} is refused`, async () => {
    const refused = await cardea(["import", ...argv, file(text)]);
    assert.deepEqual([refused.code, refused.out], [code, ""]);
    assert.match(refused.err, message);
  });
}
