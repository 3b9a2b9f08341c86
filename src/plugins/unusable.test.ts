/**
 * What becomes of a request whose route has a plugin that cannot be used: the answer for each plugin, written down here by
 * hand. Whoever changes it changes what a mistake opens.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { testGateway } from "../testing/index.ts";
import { PluginCatalog } from "./catalog.ts";

const REFUSED = 503;
const PASSED = 200;

/** Plugins that guard, or without which something else would be answered than was meant. */
const CLOSED = [
  "basic-auth",
  "client-control",
  "consumer-restriction",
  "grpc-transcode",
  "ip-restriction",
  "key-auth",
  "public-api",
  "real-ip",
  "referer-restriction",
  "tls-fingerprint",
  "ua-restriction",
  "uri-blocker",
  "workflow",
];

const OPEN = [
  "api-breaker",
  "cors",
  "deadline",
  "echo",
  "example-plugin",
  "fault-injection",
  "grpc-web",
  "limit-conn",
  "limit-count",
  "limit-req",
  "mocking",
  "prometheus",
  "proxy-mirror",
  "proxy-rewrite",
  "redirect",
  "request-id",
  "response-rewrite",
  "rollout",
  "traffic-label",
  "traffic-split",
  "zone-affinity",
];

const plugins = new PluginCatalog(null)
  .list()
  .filter(({ subsystems }) => subsystems === undefined || subsystems.includes("http"));

test("P10: it is written down of every plugin whether it fails open or closed", () => {
  assert.deepEqual(plugins.map(({ name }) => name).toSorted(), [...CLOSED, ...OPEN].toSorted());
});

for (const definition of plugins) {
  const { name } = definition;
  const status = CLOSED.includes(name) ? REFUSED : PASSED;
  test(`P10: ${name} that cannot be used: ${status}`, async () => {
    const broken = {
      ...definition,
      compile: () => {
        throw new Error("broken on purpose");
      },
    };
    const gateway = testGateway({
      plugins: [broken],
      routes: [{ uri: "/*", plugins: { [name]: {} }, upstream: { nodes: { "a:80": 1 } } }],
    });
    assert.equal((await gateway.request()).status, status);
  });
}
