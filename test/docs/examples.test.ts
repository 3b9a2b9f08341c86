/** Every example of README.md and docs/ works as it is written, on a node with the defaults. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { addStreams, RealNode, ROOT, temporaryFolder, withTls } from "../promises/real-node.ts";
import { documentationPages, examplesOf, readPage, runExamples, type Outcome } from "./examples.ts";
import { freePort } from "../ports/free-port.ts";

/** In an order in which nothing is in use any more when its turn comes. */
const TYPES = [
  "stream_routes",
  "blocks",
  "drains",
  "rollouts",
  "routes",
  "services",
  "upstreams",
  "consumers",
  "consumer_groups",
  "plugin_configs",
  "global_rules",
  "plugin_metadata",
  "protos",
  "ssls",
  "secrets",
];

/** Of all pages together. */
const TIMEOUT_MS = 900_000;

test("every example of the documentation does what it says", { timeout: TIMEOUT_MS }, async (t) => {
  const addTls = await withTls();
  const streamPort = await freePort();
  const node = await RealNode.start(t, {
    change(config) {
      addTls(config);
      addStreams(config, streamPort);
    },
  });
  const folder = temporaryFolder(t);
  symlinkSync(node.folder, `${folder}/data`);
  const ports = new Map([
    ["9080", node.port("http")],
    ["9443", node.port("https")],
    ["9180", node.port("admin")],
    ["9090", node.port("control")],
    ["9091", node.port("metrics")],
    ["7085", node.port("status")],
    ["9100", streamPort],
    ["8000", await fileServer(t, "8000")],
    ["8001", await fileServer(t, "8001")],
  ]);
  await t.test("docs/operations.md names every metric, and none that there is not", async () => {
    await clear(node);
    await node.put("/global_rules/1", { plugins: { prometheus: {} } });
    await node.put("/routes/1", {
      uri: "/*",
      upstream: { nodes: { [`127.0.0.1:${ports.get("8000")}`]: 1 } },
    });
    assert.equal((await node.get("/")).status, 200);
    const names = [...(await pageWithTraffic(node)).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    const rows = readFileSync(`${ROOT}/docs/operations.md`, "utf8").matchAll(/^\| (`apisix_[^|]+)\|/gm);
    const told = [...rows].flatMap(([, cell]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    assert.deepEqual(told.sort(), names.sort());
  });
  for (const page of documentationPages(ROOT)) {
    const examples = readPage(ROOT, page);
    if (examples.length === 0) continue;
    await t.test(page, async () => {
      await clear(node);
      const outcomes = await runExamples(examples, { folder, ports, key: node.key });
      const faults = outcomes.filter((outcome) => outcome.fault !== null).map(described);
      assert.equal(faults.length, 0, `\n${faults.join("\n\n")}`);
    });
  }
});

/** The metrics page, once the worker has counted the last byte of a request: it does so behind its answer. */
async function pageWithTraffic(node: RealNode): Promise<string> {
  for (;;) {
    const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
    const counted = page.includes("apisix_http_status{") && page.includes('apisix_bandwidth{type="egress"');
    if (counted) return page;
    await setTimeout(20);
  }
}

test("an example that does not do what it says is found", async (t) => {
  const folder = temporaryFolder(t);
  const examples = examplesOf(
    [
      "```sh",
      "echo 200  # 200: with a reason",
      "echo 200  # 404",
      "false",
      "echo 1",
      "# → 2",
      'echo \'{"error_msg":"no"}\'',
      "printf '%s' \\",
      "  a  # a",
      "```",
      "```console",
      "exit 1",
      "```",
    ].join("\n"),
  );
  const outcomes = await runExamples(examples, { folder, ports: new Map([["9180", 1]]), key: "" });
  assert.deepEqual(
    outcomes.map(({ fault }) => fault),
    [null, 'expected "404"', "exit code 1", 'expected "2"', "refused", null],
  );
});

/** As `python3 -m http.server` in an empty folder: the upstream that the pages tell readers to start. */
async function fileServer(t: TestContext, name: string): Promise<number> {
  const server: Server = createServer((request, response) => {
    const isRead = request.method === "GET" || request.method === "HEAD";
    const isKnown = request.url === "/" || request.url!.startsWith("/?");
    request.resume();
    response.writeHead(isRead ? (isKnown ? 200 : 404) : 501, {
      "content-type": "text/html",
      server: "python",
    });
    response.end(request.method === "HEAD" ? undefined : `${name}\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** The next page finds a node without any resource or count. */
async function clear(node: RealNode): Promise<void> {
  for (const type of TYPES) {
    const { status, body } = await node.admin("GET", `/${type}`);
    assert.equal(status, 200, `GET /${type}`);
    for (const { key } of body.list as { key: string }[]) {
      const path = key.replace(/^\/apisix/, "");
      const deleted = await node.admin("DELETE", `${path}?force=true`);
      assert.equal(deleted.status, 200, `DELETE ${path}: ${deleted.text}`);
    }
  }
  await fetch(`${node.url("control")}/v1/counters/reset`, { method: "POST" });
}

function described({ example, code, output, fault }: Outcome): string {
  return `line ${example.line}: ${fault}\n${example.text}→ ${code}: ${output.slice(0, 500)}`;
}
