import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStaticConfig } from "./load.ts";
import type { StaticConfig } from "./static-config.ts";

const KEYRING = "apisix: { data_encryption: { keyring: [0123456789abcdef] } }";

function parse(text: string): { config: StaticConfig; warnings: string[] } {
  return parseStaticConfig("config.yaml", text, {});
}

test("a tenant has listeners, workers, keys and limits of its own, and the rest from the node", () => {
  const { config } = parse(`
apisix: { node_listen: 9080, router: { http: radixtree_uri } }
cardea:
  workers: 3
  http: { max_connections_per_worker: 5000 }
  fallback: { nodes: ["legacy:80"] }
  tenants:
    - name: shop
      workers: 2
      listen: [{ port: 9081 }, { ip: "::1", port: 9444, tls: true }]
      admin_listen: { port: 9181 }
      admin_key: the-key-of-the-shop-1
      metrics_listen: { ip: 0.0.0.0, port: 9191 }
      max_connections_per_worker: 100
      worker_heap: 64m
`);
  assert.equal(config.tenant, null);
  assert.deepEqual([config.workers, config.tenants.length], [3, 1]);
  assert.ok(!config.listeners.some(({ port }) => port === 9081));
  const [shop] = config.tenants;
  assert.equal(shop.tenant, "shop");
  assert.deepEqual(shop.groups, [{ name: "default", workers: 2 }]);
  assert.deepEqual(
    shop.listeners.map(({ purpose, address, port }) => `${purpose} ${address} ${port}`),
    ["http 0.0.0.0 9081", "https ::1 9444", "admin 127.0.0.1 9181", "metrics 0.0.0.0 9191"],
  );
  assert.deepEqual(shop.admin.keys, [
    { name: "admin", key: "the-key-of-the-shop-1", role: "admin", scope: null },
  ]);
  assert.deepEqual([shop.http.maxConnectionsPerWorker, shop.supervision.workerHeapMb], [100, 64]);
  assert.deepEqual([config.http.maxConnectionsPerWorker, shop.fallback], [5000, null]);
  assert.equal(shop.router.http, "radixtree_uri");
  assert.deepEqual(shop.store, config.store);
});

test("a tenant that names no private listener has none, and no Admin API", () => {
  const { config } = parse("cardea: { tenants: [{ name: shop, listen: [{ port: 9081 }] }] }");
  const [shop] = config.tenants;
  assert.deepEqual([shop.admin.enabled, shop.metrics.enabled, shop.workers], [false, false, 1]);
  assert.equal(shop.listeners.length, 1);
});

test("in an etcd a tenant has a prefix of its own", () => {
  const { config } = parse(`
deployment: { etcd: { prefix: /apisix } }
${KEYRING}
cardea:
  tenants:
    - { name: a, listen: [{ port: 9081 }] }
    - { name: b, prefix: teams/b/, listen: [{ port: 9082 }] }
`);
  const prefixes = config.tenants.map(({ store }) => (store.type === "etcd" ? store.prefix : null));
  assert.deepEqual(prefixes, ["/a", "/teams/b"]);
});

test("a control plane's tenants have an Admin API and no traffic, a data plane's the other way round", () => {
  const tenant = "{ name: a, workers: 4, listen: [{ port: 9081 }], admin_listen: { port: 9181 } }";
  const text = (role: string) => `
deployment: { role: ${role}, role_data_plane: { config_provider: etcd } }
${KEYRING}
cardea: { tenants: [${tenant}] }
`;
  const purposes = (role: string) =>
    parse(text(role)).config.tenants[0].listeners.map(({ purpose }) => purpose);
  assert.deepEqual(purposes("control_plane"), ["admin"]);
  assert.equal(parse(text("control_plane")).config.tenants[0].workers, 1);
  assert.deepEqual(purposes("data_plane"), ["http"]);
});

const ETCD = `deployment: { etcd: {} }\n${KEYRING}\n`;
const one = (name: string, port: number, more = "") =>
  `{ name: ${name}, listen: [{ port: ${port} }]${more} }`;
const REFUSED: [what: string, text: string, error: RegExp][] = [
  [
    "a port of the node",
    `cardea: { tenants: [${one("a", 9080)}] }`,
    /listen\[0\]: given 0\.0\.0\.0:9080 for http, expected a port that is free/,
  ],
  [
    "a port of another tenant",
    `cardea: { tenants: [${one("a", 9081)}, ${one("b", 9081)}] }`,
    /tenants\[1\]\.listen\[0\]: given 0\.0\.0\.0:9081/,
  ],
  [
    "a name twice",
    `cardea: { tenants: [${one("a", 9081)}, ${one("a", 9082)}] }`,
    /tenants\[1\]\.name: given "a" twice/,
  ],
  [
    "what is kept for all prefixes",
    `${ETCD}cardea: { tenants: [${one("cardea", 9081)}] }`,
    /name: given \/cardea, expected a prefix outside \/cardea/,
  ],
  [
    "a part of it",
    `${ETCD}cardea: { tenants: [${one("a", 9081, ", prefix: /cardea/history/b")}] }`,
    /prefix: given \/cardea\/history\/b, expected a prefix outside \/cardea/,
  ],
  [
    "the node's prefix",
    `${ETCD}cardea: { tenants: [${one("a", 9081, ", prefix: apisix")}] }`,
    /prefix: given \/apisix, expected a prefix apart from \/apisix of the node/,
  ],
  [
    "a prefix within another's",
    `${ETCD}cardea: { tenants: [${one("a", 9081)}, ${one("b", 9082, ", prefix: /a/b")}] }`,
    /prefix: given \/a\/b, expected a prefix apart from \/a of the tenant a/,
  ],
  [
    "the key of another",
    `cardea: { tenants: [${one("a", 9081, ", admin_key: 0123456789abcdef0")}, ${one("b", 9082, ", admin_key: 0123456789abcdef0")}] }`,
    /tenants\[1\]\.admin_key: given the same key/,
  ],
  [
    "the key that APISIX's documentation prints",
    `cardea: { tenants: [${one("a", 9081, ", admin_key: edd1c9f034335f136f87ad84b625c8f1")}] }`,
    /tenants\[0\]\.admin_key: given the key that APISIX's documentation prints/,
  ],
  [
    "resources in a file",
    `deployment: { role: data_plane, role_data_plane: { config_provider: yaml } }\ncardea: { tenants: [${one("a", 9081)}] }`,
    /tenants\[0\]: given a tenant where the resources stand in a file/,
  ],
];

for (const [what, text, error] of REFUSED) {
  test(`a tenant is refused for ${what}`, () => {
    assert.throws(() => parse(text), error);
  });
}

test("names that begin with the same letters are apart", () => {
  const { config } = parse(`${ETCD}cardea: { tenants: [${one("shop", 9081)}, ${one("shop2", 9082)}] }`);
  assert.equal(config.tenants.length, 2);
});

test("a tenant may have ports for streams, whatever the node proxies", () => {
  const { config, warnings } = parse(`
cardea:
  tenants:
    - { name: shop, listen: [{ port: 9081 }], stream_proxy: { tcp: [9100, { addr: "127.0.0.1:9101", tls: true }], udp: [9200] } }
    - { name: blog, listen: [{ port: 9082 }] }
`);
  assert.deepEqual(warnings, []);
  const [shop, blog] = config.tenants;
  assert.deepEqual(
    shop.listeners.map(({ purpose, address, port, stream }) => [purpose, address, port, stream?.tls]),
    [
      ["http", "0.0.0.0", 9081, undefined],
      ["stream-tcp", "0.0.0.0", 9100, false],
      ["stream-tcp", "127.0.0.1", 9101, true],
      ["stream-udp", "0.0.0.0", 9200, undefined],
    ],
  );
  assert.equal(shop.admin.streamRoutes, true);
  assert.equal(blog.admin.streamRoutes, false);
  assert.throws(
    () =>
      parse("cardea: { tenants: [{ name: a, listen: [{ port: 9081 }], stream_proxy: { tcp: [9081] } }] }"),
    /9081/,
  );
});
