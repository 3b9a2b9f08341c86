/** Discovery on a whole node with two workers: followed, kept through failures and restarts, and taken out with an answer. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { parseStaticConfig } from "../../src/config/load.ts";
import { ConsulKit } from "../../src/control/discovery/consul/consul-kit.ts";
import { RealNode } from "../promises/real-node.ts";

/** Beyond any machine's patience. */
const ROUNDS = 10_000;

interface Origin {
  server: Server;
  port: number;
  /** Answers that are held back: those to paths that begin with /held. */
  held: ServerResponse[];
}

async function startOrigin(t: TestContext, name: string): Promise<Origin> {
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url!.startsWith("/held")) {
      held.push(response);
      server.emit("held");
    } else response.end(name);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, port: (server.address() as AddressInfo).port, held };
}

interface Bench {
  consul: ConsulKit;
  server: string;
  a: Origin;
  b: Origin;
  node: RealNode;
}

async function start(t: TestContext, checks?: object): Promise<Bench> {
  const consul = new ConsulKit();
  const server = await consul.listen();
  t.after(() => consul.stop());
  const [a, b] = [await startOrigin(t, "a"), await startOrigin(t, "b")];
  consul.services.set("web", [instance(a)]);
  const node = await startNode(t, server);
  await node.put("/upstreams/web", {
    service_name: "web",
    discovery_type: "consul",
    ...(checks !== undefined && { checks }),
  });
  await node.put("/routes/1", { uri: "/*", upstream_id: "web" });
  return { consul, server, a, b, node };
}

function startNode(t: TestContext, server: string, folder?: string): Promise<RealNode> {
  const { config } = parseStaticConfig(
    "(test)",
    `discovery: { consul: { servers: ["${server}"], token: a-secret-token }, dns: { servers: ["127.0.0.1:1"] } }`,
    {},
  );
  return RealNode.start(t, {
    change: (own) => (own.discovery = config.discovery),
    ...(folder !== undefined && { folder }),
  });
}

function instance({ port }: Origin): { address: string; port: number } {
  return { address: "127.0.0.1", port };
}

/** Asks until every answer of a row is the wanted one; a change comes to the workers one after the other. */
async function answers(node: RealNode, wanted: string): Promise<void> {
  let last: string[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    last = [];
    for (let j = 0; j < 8; j++) last.push((await node.get("/")).text);
    if (
      last.every((text) => wanted.split(" ").includes(text)) &&
      wanted.split(" ").every((w) => last.includes(w))
    )
      return;
  }
  assert.fail(`expected ${wanted}, got ${last.join(" ")}`);
}

async function purge(
  node: RealNode,
  query: string,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${node.url("control")}/v1/discovery/consul/purge${query}`, {
    method: "POST",
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test("requests follow the instances, also of upstreams inside routes, and are checked like others", async (t) => {
  const { consul, a, b, node } = await start(t, { active: { http_path: "/", healthy: { interval: 1 } } });
  await node.put("/routes/2", {
    uri: "/inline",
    upstream: { service_name: "web", discovery_type: "consul" },
  });
  await answers(node, "a");
  consul.services.set("web", [instance(a), instance(b)]);
  consul.changed("catalog");
  await answers(node, "a b");
  const checker = (await node.control("/v1/healthcheck/upstreams/web")) as { nodes: { port: number }[] };
  assert.deepEqual(new Set(checker.nodes.map(({ port }) => port)), new Set([a.port, b.port]));
  consul.services.set("web", [instance(b)]);
  consul.changed("health");
  await answers(node, "b");
  assert.equal((await node.get("/inline")).text, "b");
  const dump = (await node.control("/v1/discovery/consul/dump")) as { services: object; config: object };
  assert.deepEqual(dump.services, { web: [{ host: "127.0.0.1", port: b.port, weight: 1 }] });
  assert.ok(!JSON.stringify(dump.config).includes("a-secret-token"));
});

test("the last good nodes serve while Consul forgets, fails and dies, and over a restart without it", async (t) => {
  const { consul, server, b, node } = await start(t);
  await answers(node, "a");
  consul.mode = "amnesic";
  consul.changed("catalog");
  await node.logged("a discovery lists no node; the last ones serve on");
  assert.equal((await node.get("/")).text, "a");
  consul.mode = "500";
  await purge(node, "");
  assert.equal((await node.get("/")).text, "a");
  consul.stop();
  await purge(node, "");
  assert.equal((await node.get("/")).text, "a");
  const page = await (await fetch(`${node.url("metrics")}/apisix/prometheus/metrics`)).text();
  assert.match(page, /apisix_discovery_nodes\{type="consul",service="web"\} 1/);
  assert.match(page, /apisix_discovery_failures_total\{type="consul"\} [1-9]/);
  await node.stop();
  const second = await startNode(t, server, node.folder);
  assert.equal((await second.get("/")).text, "a");
  const returned = new ConsulKit();
  t.after(() => returned.stop());
  returned.services.set("web", [instance(b)]);
  await returned.listen(Number(new URL(server).port));
  await purge(second, "");
  await answers(second, "b");
});

test("a purge answers when what ran on the node has ended, and a node that is listed still does not come back", async (t) => {
  const { consul, a, b, node } = await start(t);
  consul.services.set("web", [instance(a), instance(b)]);
  consul.changed("catalog");
  await answers(node, "a b");
  const requests: Promise<unknown>[] = [];
  while (b.held.length === 0) {
    const taken = Promise.race([once(a.server, "held"), once(b.server, "held")]);
    requests.push(node.get("/held"));
    await taken;
  }
  const place = `127.0.0.1:${b.port}`;
  const query = `?service=web&node=${place}&wait=drained`;
  const late = await purge(node, `${query}&timeout=2`);
  assert.deepEqual([late.status, late.body["drained"], late.body["removed"]], [504, false, true]);
  await answers(node, "a");
  const done = purge(node, `${query}&timeout=20`);
  for (const response of [...a.held, ...b.held]) response.end();
  assert.deepEqual([(await done).status, (await done).body["drained"]], [200, true]);
  await Promise.all(requests);
  await purge(node, "");
  await answers(node, "a");
  const last = await purge(node, `?service=web&node=127.0.0.1:${a.port}`);
  assert.equal(last.status, 409, "it is the last one");
  consul.services.set("web", [instance(a)]);
  await purge(node, "");
  consul.services.set("web", [instance(a), instance(b)]);
  await purge(node, "");
  await answers(node, "a b");
});

const refusals: [query: string, status: number][] = [
  ["?node=127.0.0.1:1", 400],
  ["?service=web&node=nothing", 400],
  ["?service=none&node=127.0.0.1:1", 404],
  ["?service=web&node=127.0.0.1:1&wait=long", 400],
];
test("a purge that cannot be is refused", async (t) => {
  const { node } = await start(t);
  for (const [query, status] of refusals) assert.equal((await purge(node, query)).status, status, query);
  await node.put("/routes/2", { uri: "/2", upstream: { service_name: "web", discovery_type: "consul" } });
  const uncounted = await purge(node, "?service=web&node=127.0.0.1:1&wait=drained");
  assert.equal(uncounted.status, 409);
  assert.match(String(uncounted.body["error_msg"]), /route\/2/);
});

test("what a discovery knows is shown, under APISIX's paths where it has one", async (t) => {
  const { node } = await start(t);
  const shown = await node.control("/v1/discovery/consul");
  assert.equal(shown.services.web.length, 1);
  const paths = ["consul/dump", "dns", "dns/dump", "eureka", "eureka/dump"];
  const answers = await Promise.all(
    paths.map((path) => fetch(`${node.url("control")}/v1/discovery/${path}`)),
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 404, 404, 404],
  );
});
