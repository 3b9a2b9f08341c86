import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { OwnListeners } from "./own-listeners.ts";

const own = new OwnListeners([
  { purpose: "http", port: 9080 },
  { purpose: "admin", port: 9180 },
  { purpose: "control", port: 9090 },
  { purpose: "metrics", port: 9091 },
]);
const interfaces = Object.values(networkInterfaces()).flatMap((list) => list ?? []);

const refused: Record<string, unknown> = {
  "a node of an upstream": { nodes: { "127.0.0.1:9090": 1 } },
  "a node of a list": { upstream: { nodes: [{ host: "127.0.0.1", port: 9180, weight: 1 }] } },
  "a name of the machine": { nodes: { "localhost:9091": 1 } },
  "another address of the loopback": { nodes: { "127.8.8.8:9090": 1 } },
  "an IPv6 address": { nodes: { "[::1]:9090": 1 } },
  "an IPv4 address in an IPv6 one": { nodes: [{ host: "::ffff:127.0.0.1", port: 9090 }] },
  "a short spelling of an address": { nodes: [{ host: "127.1", port: 9090 }] },
  "an address in hexadecimal": { nodes: [{ host: "0x7f000001", port: 9090 }] },
  "the address of no interface": { nodes: { "0.0.0.0:9180": 1 } },
  "an upstream in a plugin": {
    plugins: {
      "traffic-split": {
        rules: [{ weighted_upstreams: [{ upstream: { nodes: { "127.0.0.1:9090": 1 } } }] }],
      },
    },
  },
  "the URL of a plugin": { plugins: { "forward-auth": { uri: "http://LOCALHOST:9090/v1/routes" } } },
  "a name that may come to mean this machine": { nodes: { "prometheus.example.com:9090": 1 } },
  "a name in a list of nodes": { nodes: [{ host: "a.example.com", port: 9180 }] },
  "a port of health checks": { nodes: { "127.0.0.1:80": 1 }, checks: { active: { port: 9090 } } },
  "a port of health checks of a name": {
    upstream: { nodes: [{ host: "a.com", port: 80 }], checks: { active: { port: 9180 } } },
  },
  "a port of health checks of what is discovered": { service_name: "a", checks: { active: { port: 9090 } } },
  "the name of a service": { upstream: { service_name: "localhost:9090", discovery_type: "dns" } },
  ...Object.fromEntries(
    interfaces
      .filter(({ family }) => family === "IPv4")
      .map(({ address }) => [`the interface ${address}`, { nodes: [{ host: address, port: 9090 }] }]),
  ),
};
for (const [name, value] of Object.entries(refused)) {
  test(`is refused: ${name}`, () =>
    assert.match(own.refusalOf(value) ?? "", /is the \w+ listener of the node/));
}

const allowed: Record<string, unknown> = {
  "the data port": { nodes: { "127.0.0.1:9080": 1 } },
  "the same port elsewhere": { nodes: { "192.0.2.1:9090": 1 } },
  "a name with another port": { nodes: { "prometheus.example.com:9080": 1 } },
  "text for people": { desc: "build:9090", labels: { build: "a:9090" }, name: "a:9090" },
  "a port of health checks that is nobody's": {
    nodes: { "a.com:80": 1 },
    checks: { active: { port: 9080 } },
  },
  "a port of health checks elsewhere": { nodes: { "192.0.2.1:80": 1 }, checks: { active: { port: 9090 } } },
  "a host without port": { nodes: [{ host: "127.0.0.1", weight: 1 }] },
  "text that is no target": { desc: "on 9090", labels: { a: "x:y" }, plugins: { echo: { body: "://" } } },
  nothing: null,
};
for (const [name, value] of Object.entries(allowed)) {
  test(`may be written: ${name}`, () => assert.equal(own.refusalOf(value), null));
}
