/** A whole node that has its resources in a file: served, changed while it runs, and kept when a version is broken. */

import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { itemCheck } from "../../src/control/open-store.ts";
import { PluginCatalog } from "../../src/plugins/catalog.ts";
import { readDocument } from "../../src/store/file/document.ts";
import { RealNode, ROOT, temporaryFolder } from "../promises/real-node.ts";

async function origin(t: TestContext): Promise<number> {
  const server = createServer((request, response) => response.end(`origin ${request.url}`));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, `${text}\n#END\n`);
  renameSync(`${file}.new`, file);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

const TAKEN = "the configuration file is taken over";
const REFUSED = "the configuration file is refused: the version before stays in service";

test("a data plane serves its file, takes new versions, and keeps the one before a broken one", async (t) => {
  const port = await origin(t);
  const file = join(temporaryFolder(t), "apisix.yaml");
  const route = (id: string, path: string, plugins = "{}") =>
    `  - { id: ${id}, uri: ${path}, plugins: ${plugins}, upstream: { nodes: { "127.0.0.1:${port}": 1 } } }`;
  replace(file, `routes:\n${route("1", "/one")}\n  - { id: 2, uri: /two, priority: high }`);
  const node = await RealNode.start(t, {
    change: (config) => {
      config.store = { type: "file", format: "yaml", file };
      config.admin.enabled = false;
      config.listeners = config.listeners.filter((listener) => listener.purpose !== "admin");
    },
  });
  const metric = async () => await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();

  await t.test("what is valid of the first version is served, the rest is in quarantine", async () => {
    assert.equal((await node.get("/one")).text, "origin /one");
    assert.equal((await node.get("/two")).status, 404);
    const { list } = await node.control("/v1/quarantine");
    assert.deepEqual(
      list.map((entry: { key: string; serving: string }) => [entry.key, entry.serving]),
      [["/apisix/routes/2", "nothing"]],
    );
    assert.match(await metric(), /^apisix_configuration_file_refused 0$/m);
  });

  await t.test("a new version is taken while the node runs", async () => {
    replace(file, `routes:\n${route("1", "/one")}\n${route("3", "/three")}`);
    await node.logged(TAKEN, 2);
    await until(async () => (await node.get("/three")).status === 200);
    assert.equal((await node.get("/one")).text, "origin /one");
    assert.equal((await node.control("/v1/quarantine")).total, 0);
  });

  await t.test("a broken version is refused whole, with its line", async () => {
    replace(file, `routes:\n${route("4", "/four")}\n${route("1", "/one", "{ key-auth: { header: 5 } }")}`);
    await node.logged(REFUSED);
    const said = node.lines.map((line) => line.message).join("\n");
    assert.ok(said.includes(`${file}:3:`), said);
    assert.match(said, /\/routes\/1: .*key-auth/);
    assert.equal((await node.get("/three")).text, "origin /three");
    assert.equal((await node.get("/four")).status, 404);
    assert.match(await metric(), /^apisix_configuration_file_refused 1$/m);
  });

  await t.test("the next good version mends it", async () => {
    replace(file, `routes:\n${route("4", "/four")}`);
    await node.logged(TAKEN, 3);
    await until(
      async () => (await node.get("/four")).status === 200 && (await node.get("/one")).status === 404,
    );
    assert.match(await metric(), /^apisix_configuration_file_refused 0$/m);
  });
});

test("the file that docs/file-mode.md shows is valid", () => {
  const page = readFileSync(join(ROOT, "docs/file-mode.md"), "utf8");
  const [, text] = /^```yml\n([^]*?)^```$/m.exec(page)!;
  const check = itemCheck(new PluginCatalog(null));
  const { items, faults } = readDocument({ name: "apisix.yaml", text, format: "yaml", env: {}, check });
  assert.deepEqual([...faults], []);
  assert.equal(items.length, 6);
});
