/** Upstreams: names and addresses, versions of a configuration, hosts, timeouts, retries. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { PublishedNode, PublishedUpstream } from "../../model/published.ts";
import { NO_HEADERS, Origin, RecordingHandler } from "../http1/upstream-test-kit.ts";
import { TriedNodes, type UpstreamNode } from "./node.ts";
import { configOf, servicesOf } from "./upstream-test-kit.ts";
import { Upstream } from "./upstream.ts";

const REQUEST = { variable: (): undefined => undefined };

function nodeOf(host: string, port = 80, weight = 1): PublishedNode {
  return { host, port, weight, priority: 0 };
}

function names(nodes: readonly UpstreamNode[]): string[] {
  return nodes.map((node) => node.name);
}

test("a name stands for all of its addresses, each with the full weight, and follows the book live", () => {
  const services = servicesOf();
  services.addresses.set("a.test", ["10.0.0.1", "fd00::1"]);
  const upstream = new Upstream(configOf([nodeOf("a.test", 8080, 3), nodeOf("10.0.0.9")]), services);
  assert.deepEqual(names(upstream.nodes), ["10.0.0.1:8080", "[fd00::1]:8080", "10.0.0.9:80"]);
  assert.deepEqual(
    upstream.nodes.map((node) => node.weight),
    [3, 3, 1],
  );
  const kept = upstream.nodes[0];
  kept.active = 2;
  services.addresses.set("a.test", ["10.0.0.2", "10.0.0.1"]);
  assert.deepEqual(names(upstream.nodes), ["10.0.0.2:8080", "10.0.0.1:8080", "10.0.0.9:80"]);
  assert.equal(upstream.nodes[1], kept);
});

test("an unresolved name is told from an empty node list, and the wait ends when it is resolved", async () => {
  const services = servicesOf();
  const upstream = new Upstream(configOf([nodeOf("a.test")]), services);
  assert.equal(upstream.pick(REQUEST, TriedNodes.NONE), null);
  assert.equal(upstream.isUnresolved, true);
  const resolved = upstream.whenResolved();
  services.addresses.set("other.test", ["10.0.0.7"]);
  services.addresses.set("a.test", ["10.0.0.1"]);
  await resolved;
  assert.equal(upstream.pick(REQUEST, TriedNodes.NONE)?.name, "10.0.0.1:80");

  assert.equal(new Upstream(configOf([]), services).isUnresolved, false);
  services.addresses.set("gone.test", []);
  assert.equal(new Upstream(configOf([nodeOf("gone.test")]), services).isUnresolved, false);
});

test("the wait for a name ends in time, and when the upstream goes away", async () => {
  const services = servicesOf();
  const upstream = new Upstream(configOf([nodeOf("a.test")]), services);
  await upstream.whenResolved(1);
  assert.equal(upstream.isUnresolved, true);
  const waiting = upstream.whenResolved();
  upstream.dispose();
  await waiting;
  services.addresses.set("a.test", ["10.0.0.1"]);
});

test("a new version keeps the nodes that stay, also one that left while requests ran on it and comes back", () => {
  const services = servicesOf();
  const [a, b, c] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((host) => nodeOf(host));
  const first = new Upstream(configOf([a, b], { type: "least_conn" }), services);
  const [nodeA, nodeB] = first.nodes;
  nodeA.active = 5;
  nodeB.active = 1;
  const second = new Upstream(configOf([b, c], { type: "least_conn" }), services, first);
  first.dispose();
  assert.equal(second.nodes[0], nodeB);
  const third = new Upstream(configOf([a, b, c], { type: "least_conn" }), services, second);
  second.dispose();
  assert.equal(third.nodes[0], nodeA);
  first.finished(nodeA, 1, true);
  assert.equal(third.nodes[0].active, 4);
});

test("a node that is listed twice counts once", () => {
  const upstream = new Upstream(
    configOf([nodeOf("10.0.0.1", 80, 1), nodeOf("10.0.0.1", 80, 7)]),
    servicesOf(),
  );
  assert.deepEqual(
    upstream.nodes.map((node) => node.weight),
    [7],
  );
});

const hosts: [Partial<PublishedUpstream>, PublishedNode, string, string][] = [
  [{ pass_host: "pass" }, nodeOf("a.test"), "client.test:9080", "client.test:9080"],
  [{ pass_host: "pass" }, nodeOf("a.test"), "", "a.test"],
  [{ pass_host: "node" }, nodeOf("a.test"), "client.test", "a.test"],
  [{ pass_host: "node" }, nodeOf("a.test", 8080), "client.test", "a.test:8080"],
  [{ pass_host: "node", scheme: "https" }, nodeOf("a.test", 443), "client.test", "a.test"],
  [{ pass_host: "node", scheme: "https" }, nodeOf("a.test", 80), "client.test", "a.test:80"],
  [{ pass_host: "node" }, nodeOf("fd00::1", 8080), "client.test", "[fd00::1]:8080"],
  [{ pass_host: "node" }, nodeOf("a.test", 0), "client.test", "a.test"],
  [{ pass_host: "rewrite", upstream_host: "r.test" }, nodeOf("a.test"), "client.test", "r.test"],
];

for (const [config, node, clientHost, expected] of hosts) {
  test(`pass_host ${config.pass_host} to ${node.host}:${node.port} sends ${expected} for "${clientHost}"`, () => {
    const services = servicesOf();
    services.addresses.set("a.test", ["10.0.0.1"]);
    const upstream = new Upstream(configOf([node], config), services);
    assert.equal(upstream.hostFor(upstream.nodes[0], clientHost), expected);
  });
}

const GET_FAILED = { method: "GET", hasSent: true, isReplayable: true };

test("by default each node is tried once; retries and retry_timeout say otherwise", () => {
  const services = servicesOf();
  const nodes = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((host) => nodeOf(host));
  const may = (config: Partial<PublishedUpstream>, attempts: number, elapsedMs = 0): boolean => {
    const upstream = new Upstream(configOf(nodes, config), services);
    upstream.pick(REQUEST, TriedNodes.NONE);
    return upstream.mayRetry(attempts, elapsedMs, GET_FAILED);
  };
  assert.deepEqual([may({}, 1), may({}, 2), may({}, 3)], [true, true, false]);
  assert.deepEqual(
    [may({ retries: 0 }, 1), may({ retries: 1 }, 1), may({ retries: 1 }, 2)],
    [false, true, false],
  );
  assert.deepEqual([may({ retry_timeout: 1 }, 1, 999), may({ retry_timeout: 1 }, 1, 1_000)], [true, false]);
  assert.equal(may({ retry_timeout: 0 }, 1, 1e9), true);
});

test("repeats of what was never sent do not need the budget", () => {
  const upstream = new Upstream(configOf([nodeOf("10.0.0.1")], { retries: 5 }), servicesOf());
  while (upstream.mayRetry(1, 0, GET_FAILED));
  assert.equal(upstream.mayRetry(1, 0, { ...GET_FAILED, method: "POST", hasSent: false }), true);
});

test("a scheme without a transport fails clearly", async () => {
  const upstream = new Upstream(configOf([nodeOf("10.0.0.1")], { scheme: "grpcs" }), servicesOf());
  const handler = new RecordingHandler();
  upstream.connect(upstream.nodes[0], handler).writeEnd(null);
  await handler.ended;
  assert.match(handler.detail, /scheme grpcs/);
});

test("timeouts are the upstream's, or the route's", async () => {
  const clock = { now: 0 };
  const services = servicesOf({ now: () => clock.now });
  const origin = await new Origin().listen();
  after(() => origin.close());
  const upstream = new Upstream(
    configOf([nodeOf("127.0.0.1", origin.port)], { timeout: { connect: 1, send: 1, read: 2 } }),
    services,
  );
  for (const [timeout, readMs] of [
    [null, 2_000],
    [{ connect: 1, send: 1, read: 0.5 }, 500],
  ] as const) {
    const handler = new RecordingHandler();
    const attempt = upstream.connect(upstream.nodes[0], handler, timeout);
    attempt.writeHead("GET", "/", NO_HEADERS, 0);
    attempt.writeEnd(null);
    await origin.nextRead();
    clock.now += readMs - 1;
    services.deadlines.sweep();
    assert.equal(handler.endings, 0);
    clock.now += 1;
    services.deadlines.sweep();
    assert.equal(handler.failure, "read-timeout");
    upstream.finished(upstream.nodes[0], 1, false);
  }
  assert.equal(upstream.nodes[0].active, 0);
});

test("two upstreams with the same node share its connections, each with its own settings", async () => {
  const services = servicesOf();
  const origin = await new Origin(({ socket }) =>
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
  ).listen();
  after(() => origin.close());
  const nodes = [nodeOf("127.0.0.1", origin.port)];
  const upstreams = [
    new Upstream(configOf(nodes), services),
    new Upstream(configOf(nodes, { keepalive_pool: { size: 1, idle_timeout: 1, requests: 1 } }), services),
  ];
  for (const upstream of upstreams) {
    const handler = new RecordingHandler();
    const attempt = upstream.connect(upstream.nodes[0], handler);
    attempt.writeHead("GET", "/", NO_HEADERS, 0);
    attempt.writeEnd(null);
    await handler.ended;
  }
  assert.equal(origin.connections.length, 1);
  assert.equal(services.pools.count().open, 0);
});

test("a budget of retries that is taken back gives way to the default one", () => {
  const clock = { now: 0 };
  const services = servicesOf({ now: () => clock.now });
  const nodes = [nodeOf("10.0.0.1"), nodeOf("10.0.0.2")];
  const none = { retry_budget: { percent: 0, per_second: 0 } };
  const before = new Upstream(configOf(nodes, none), services);
  assert.equal(before.nodes.length, 2);
  assert.equal(before.mayRetry(1, 0, GET_FAILED), false);
  const upstream = new Upstream(configOf(nodes), services, before);
  assert.equal(upstream.nodes.length, 2);
  clock.now = 1000;
  assert.equal(upstream.mayRetry(1, 0, GET_FAILED), true);
});
