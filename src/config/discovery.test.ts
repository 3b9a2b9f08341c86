/** `discovery:` of the static file: defaults, units, and what is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStaticConfig } from "./load.ts";

function discoveryOf(yaml: string, env: NodeJS.ProcessEnv = {}) {
  return parseStaticConfig("c.yaml", `discovery:\n  ${yaml}\n`, env).config.discovery;
}

test("without it nothing is discovered", () => {
  const { discovery } = parseStaticConfig("c.yaml", "", {}).config;
  assert.deepEqual(discovery, {
    trustsEmpty: false,
    dns: null,
    consul: null,
    consulKv: null,
    eureka: null,
    nacos: null,
    kubernetes: [],
  });
});

test("defaults are those of APISIX, times in milliseconds", () => {
  const servers = '{servers: ["http://127.0.0.1:8500"]}';
  const { consul, consulKv } = discoveryOf(`consul: ${servers}\n  consul_kv: ${servers}`);
  const expected = {
    servers: ["http://127.0.0.1:8500"],
    token: "",
    timeouts: { connectMs: 2000, readMs: 2000 },
    waitMs: 60_000,
    intervalMs: 3000,
    waitsForChanges: true,
    weight: 1,
    sort: "origin",
    skipped: [],
    dump: null,
    defaultNode: null,
  };
  assert.deepEqual(consul, { ...expected, prefix: "" });
  assert.deepEqual(consulKv, { ...expected, prefix: "upstreams" });
  assert.deepEqual(discoveryOf('eureka: {host: ["http://127.0.0.1:8761"]}').eureka, {
    hosts: ["http://127.0.0.1:8761"],
    prefix: "",
    intervalMs: 30_000,
    weight: 100,
    timeouts: { connectMs: 2000, readMs: 5000 },
    sendMs: 2000,
  });
  const { nacos } = discoveryOf('nacos: {host: ["http://user:pass@127.0.0.1:8848"]}');
  assert.deepEqual([nacos!.prefix, nacos!.accessKey, nacos!.intervalMs], ["/nacos/v1/", "", 30_000]);
  assert.deepEqual(discoveryOf('dns: {servers: ["127.0.0.1:8600"]}').dns!.order, [
    "last",
    "SRV",
    "A",
    "AAAA",
    "CNAME",
  ]);
});

test("the cluster that the node runs in is the default of Kubernetes", () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  const [cluster] = discoveryOf("kubernetes: {}", env).kubernetes;
  assert.deepEqual(cluster, {
    id: "",
    server: "https://10.96.0.1:443",
    isVerified: false,
    token: null,
    tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
    namespaces: { equal: null, notEqual: null, match: null, notMatch: null },
    labelSelector: null,
    weight: 50,
    usesSlices: false,
  });
});

test("clusters in a list have ids, and variables of the environment are read", () => {
  const yaml =
    'kubernetes: [{id: a, service: {schema: http, host: h.test, port: "8080"}, client: {token: "${T}"}}, ' +
    '{id: b, service: {host: "${H}", port: 6443}, client: {token_file: /t}, namespace_selector: {match: ["a.*"]}}]';
  const [a, b] = discoveryOf(yaml, { T: " x ", H: "b.test" }).kubernetes;
  assert.deepEqual([a.id, a.server, a.token, a.tokenFile], ["a", "http://h.test:8080", "x", null]);
  assert.deepEqual([b.id, b.server, b.token, b.tokenFile], ["b", "https://b.test:6443", null, "/t"]);
  assert.equal(b.namespaces.match![0].source, "^(?:a.*)$");
});

const refusals: [yaml: string, message: RegExp][] = [
  ["dns: {}", /discovery\.dns.*one of servers and resolv_conf/],
  ['dns: {servers: ["127.0.0.1"], resolv_conf: /etc/resolv.conf}', /one of servers and resolv_conf/],
  ["dns: {resolv_conf: /no/such/file}", /expected a file that exists/],
  ['dns: {servers: ["a.test"]}', /servers\[0\].*expected an IP address/],
  ["consul: {}", /the key servers is missing/],
  ['consul: {servers: ["127.0.0.1:8500"]}', /servers\[0\].*http:\/\/host:port/],
  ['consul: {servers: ["http://127.0.0.1:8500/"]}', /without a path/],
  ['consul: {servers: ["http://127.0.0.1:8500"], fetch_interval: 0}', /fetch_interval/],
  ['eureka: {host: ["ftp://u:secret@h"]}', /host\[0\].*a value of type string/],
  ["kubernetes: {}", /environment variable KUBERNETES_SERVICE_HOST/],
  ['kubernetes: {service: {host: h, port: "0"}}', /port \(1\.\.65535\)/],
  ["kubernetes: [{service: {host: h, port: 80}}]", /the key id is missing/],
  [
    "kubernetes: {service: {host: h, port: 80}, namespace_selector: {equal: a, not_equal: b}}",
    /one of equal/,
  ],
  ['kubernetes: {service: {host: h, port: 80}, namespace_selector: {match: ["("]}}', /regular expression/],
];
for (const [yaml, message] of refusals) {
  test(`${yaml} is refused`, () => {
    assert.throws(() => discoveryOf(yaml), message);
  });
}
