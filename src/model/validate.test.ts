/** What is accepted and refused as a resource, and which field a refusal names. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { CERTIFICATE, PRIVATE_KEY } from "./certificate-kit.ts";
import type { JsonSchema } from "./explain.ts";
import { MAX_DEPTH } from "./json-limits.ts";
import { usesOf } from "./references.ts";
import type { JsonObject, ModelContext, ResourceType } from "./resource-type.ts";
import { RESOURCE_TYPES, resourceType, resourceTypeBySingular } from "./resources.ts";
import { samplePlugins } from "./sample-plugins.ts";
import { validateResource } from "./validate.ts";

const context: ModelContext = { plugins: samplePlugins };
const nodes = { "127.0.0.1:80": 1 };
const upstream = { nodes };
const PEM = "x".repeat(200);
const pair = { cert: CERTIFICATE, key: PRIVATE_KEY };

/** A good value of each type, with the id it goes by. */
const GOOD: Record<string, [id: string, value: JsonObject]> = {
  routes: ["1", { uri: "/a", upstream }],
  services: ["1", {}],
  upstreams: ["1", { nodes }],
  consumers: ["jack", { username: "jack" }],
  credentials: ["1", {}],
  graphql_cost_decorations: ["1", { field_path: "Query.products" }],
  consumer_groups: ["1", { id: "1", plugins: {} }],
  plugin_configs: ["1", { id: "1", plugins: {} }],
  global_rules: ["1", { id: 1, plugins: {} }],
  plugin_metadata: ["logger", {}],
  protos: ["1", { content: 'syntax = "proto3"; message A {}' }],
  secrets: ["vault/1", { uri: "http://127.0.0.1:8200", prefix: "kv", token: "t" }],
  ssls: ["1", { sni: "a.com", ...pair }],
  stream_routes: ["1", { server_port: 9100 }],
  blocks: ["1", { addresses: ["10.0.0.0/8"] }],
  rollouts: ["1", { route_id: "1", canary: { upstream_id: "1" }, steps: [{ weight: 5, duration: 60 }] }],
  progress: ["1", { run: "a", phase: "running", step: 0, elapsed: 0, requests: 0, holder: "b", since: 1 }],
  drains: ["1", { upstream_id: "1", host: "10.0.0.1", port: 80, mark: "a" }],
};

function type(plural: string): ResourceType {
  const found = resourceType(plural);
  assert.ok(found !== undefined, plural);
  return found;
}

function check(plural: string, value: unknown, surroundings = context, id = GOOD[plural][0]) {
  return validateResource(type(plural), value, surroundings, id);
}

describe("every resource type", () => {
  test("has a good value here", () => {
    assert.deepEqual(Object.keys(GOOD).sort(), RESOURCE_TYPES.map((one) => one.plural).sort());
  });

  for (const one of RESOURCE_TYPES) {
    const [, good] = GOOD[one.plural];

    test(`${one.plural}: is found by both names, and accepts its good value with the times of the store`, () => {
      assert.equal(resourceTypeBySingular(one.singular), one);
      assert.equal(check(one.plural, good), null);
      assert.equal(check(one.plural, { ...good, create_time: 1, update_time: 2 }), null);
    });

    const properties = Object.entries((one.schema as JsonSchema).properties ?? {});
    for (const [name, rule] of properties) {
      test(`${one.plural}: a wrong ${name} is refused by its name`, () => {
        const error = check(one.plural, { ...good, [name]: wrongFor(rule as JsonSchema) });
        assert.ok(error !== null);
        assert.ok(
          error.message.startsWith(`invalid configuration: property "${name}" validation failed: `),
          error.message,
        );
        assert.ok(error.pointer === `/${name}` || error.pointer.startsWith(`/${name}/`), error.pointer);
      });
    }

    if (properties.length > 0 && (one.schema as JsonSchema).additionalProperties === false) {
      for (const name of ["foo", "constructor", "toString", "hasOwnProperty"]) {
        test(`${one.plural}: the unknown field ${name} is refused by its name`, () => {
          const error = check(one.plural, { ...good, [name]: 1 });
          assert.deepEqual(error, {
            message: `invalid configuration: additional properties forbidden, found ${name}`,
            pointer: `/${name}`,
          });
        });
      }
    }

    for (const required of (one.schema as JsonSchema).required ?? []) {
      test(`${one.plural}: without ${required} it is refused`, () => {
        const { [required]: _, ...rest } = good;
        // An id in the path stands for one in the body.
        if (required === "id") assert.equal(check(one.plural, rest), null);
        assert.deepEqual(validateResource(one, rest, context), {
          message: `invalid configuration: property "${required}" is required`,
          pointer: `/${required}`,
        });
      });
    }

    test(`${one.plural}: __proto__ at any depth is refused with its place`, () => {
      const top: unknown = JSON.parse(`{"__proto__":{"a":1}}`);
      assert.equal(check(one.plural, top)?.pointer, "/__proto__");
      const deep: unknown = JSON.parse(`{"plugins":{"limit":{"__proto__":{"a":1}}}}`);
      assert.equal(check(one.plural, deep)?.pointer, "/plugins/limit/__proto__");
    });

    test(`${one.plural}: random garbage is answered, never thrown`, () => {
      const value = garbage(properties.map(([name]) => name));
      fc.assert(
        fc.property(value, (given) => {
          const error = check(one.plural, given);
          assert.ok(error === null || typeof error.message === "string");
          if (error === null && one.normalize !== null)
            one.normalize("1", given as JsonObject, samplePlugins, 1);
        }),
        { numRuns: 60 },
      );
    });
  }
});

describe("a refusal", () => {
  const cases: [plural: string, value: unknown, message: string, pointer: string][] = [
    [
      "routes",
      { uri: 1, upstream },
      'invalid configuration: property "uri" validation failed: wrong type: expected string, got number',
      "/uri",
    ],
    [
      "routes",
      { uri: "/a", upstream, priority: null },
      'invalid configuration: property "priority" validation failed: wrong type: expected integer, got null',
      "/priority",
    ],
    ["routes", null, "invalid configuration: wrong type: expected object, got null", ""],
    ["routes", [], "invalid configuration: wrong type: expected object, got array", ""],
    ["routes", "x", "invalid configuration: wrong type: expected object, got string", ""],
    [
      "routes",
      { uri: "/a", uris: ["/b"], upstream },
      "invalid configuration: allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2",
      "",
    ],
    [
      "routes",
      { uri: "/a", upstream, host: "a", hosts: ["b"] },
      "only one of host or hosts is allowed",
      "/hosts",
    ],
    [
      "routes",
      { uri: "/a", upstream, remote_addr: "1.1.1.1", remote_addrs: ["1.1.1.1"] },
      "only one of remote_addr or remote_addrs is allowed",
      "/remote_addrs",
    ],
    [
      "routes",
      { uri: "/a", upstream, remote_addrs: ["1.1.1.1", "300.1.1.1"] },
      'invalid configuration: property "remote_addrs" validation failed: failed to validate item 2: object matches none of the required',
      "/remote_addrs/1",
    ],
    [
      "routes",
      { uri: "/a", upstream, methods: ["FOO"] },
      'invalid configuration: property "methods" validation failed: failed to validate item 1: matches none of the enum values',
      "/methods/0",
    ],
    [
      "routes",
      { uri: "/a", upstream, vars: ["a", "==", "b"] },
      "failed to validate the 'vars' expression: rule should be wrapped inside brackets",
      "/vars",
    ],
    [
      "routes",
      { uri: "/a", upstream, filter_func: "function(vars) return true end" },
      "failed to load 'filter_func' string: Lua functions are not supported; write the condition as vars",
      "/filter_func",
    ],
    [
      "routes",
      { uri: "/a", script: "return function() end" },
      "failed to load 'script' string: Lua is not supported; use plugins",
      "/script",
    ],
    ["routes", { uri: "/a", plugins: { x: {} } }, "unknown plugin [x]", "/plugins/x"],
    [
      "routes",
      { uri: "/a", plugins: { constructor: {} } },
      "unknown plugin [constructor]",
      "/plugins/constructor",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: 1 } },
      "invalid plugin conf 1 for plugin [limit]",
      "/plugins/limit",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 0 } } },
      'failed to check the configuration of plugin limit err: property "count" validation failed: expected 0 to be greater than 0',
      "/plugins/limit/count",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 13 } } },
      "failed to check the configuration of plugin limit err: count must not be 13",
      "/plugins/limit",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 1, _meta: true } } },
      'failed to check the configuration of plugin limit err: property "_meta" validation failed: wrong type: expected object, got boolean',
      "/plugins/limit/_meta",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 1, _meta: { x: 1 } } } },
      'failed to check the configuration of plugin limit err: property "_meta" validation failed: additional properties forbidden, found x',
      "/plugins/limit/_meta/x",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 1, _meta: { filter: ["a", "==", "b"] } } } },
      "failed to validate the 'vars' expression: rule should be wrapped inside brackets",
      "/plugins/limit/_meta/filter",
    ],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 1, _meta: { pre_function: "x" } } } },
      "failed to load _meta.pre_function in plugin limit: Lua functions are not supported",
      "/plugins/limit/_meta/pre_function",
    ],
    [
      "upstreams",
      { nodes: [{ host: "a" }] },
      'invalid configuration: property "nodes" validation failed: object matches none of the required',
      "/nodes/0/weight",
    ],
    [
      "upstreams",
      { nodes: [{ host: "::1", port: 1, weight: 1 }] },
      "invalid configuration: IPv6 address must be enclosed with '[' and ']'",
      "/nodes/0/host",
    ],
    ["upstreams", { nodes: { "a:0": 1 } }, "invalid port 0", "/nodes/a:0"],
    ["upstreams", { nodes: { "[::1]:65536": 1 } }, "invalid port 65536", "/nodes/[::1]:65536"],
    ["upstreams", { nodes, type: "chash" }, "missing key", "/key"],
    [
      "upstreams",
      { nodes, type: "chash", key: "foo" },
      /^invalid configuration: failed to match pattern/.source,
      "/key",
    ],
    [
      "upstreams",
      { nodes, type: "nope" },
      'invalid configuration: property "type" validation failed: expected roundrobin, chash, least_conn or ewma',
      "/type",
    ],
    [
      "upstreams",
      { nodes, pass_host: "rewrite" },
      "`upstream_host` can't be empty when `pass_host` is `rewrite`",
      "/upstream_host",
    ],
    [
      "upstreams",
      { nodes, checks: {} },
      'invalid configuration: property "checks" validation failed: object matches none of the required: ["active"] or ["active","passive"]',
      "/checks",
    ],
    [
      "upstreams",
      { nodes, service_name: "a", discovery_type: "dns" },
      "invalid configuration: value should match only one schema, but matches both schemas 1 and 2",
      "",
    ],
    [
      "upstreams",
      { nodes, tls: { client_cert: PEM } },
      'invalid configuration: property "tls" validation failed: failed to validate dependent schema for "client_cert": property "client_key" is required',
      "/tls/client_key",
    ],
    ["services", { upstream: { nodes, type: "chash" } }, "missing key", "/upstream/key"],
    [
      "consumers",
      { username: "jack", plugins: { "key-auth": {} } },
      'invalid plugins configuration: failed to check the configuration of plugin key-auth err: property "key" is required',
      "/plugins/key-auth/key",
    ],
    [
      "credentials",
      { plugins: { limit: { count: 1 } } },
      "only supports auth type plugins in consumer credential",
      "/plugins/limit",
    ],
    [
      "credentials",
      { plugins: { limit: {}, "key-auth": {} } },
      'invalid configuration: property "plugins" validation failed: expect object to have at most 1 properties',
      "/plugins",
    ],
    ["ssls", { cert: PEM, key: PEM }, "invalid configuration: then clause did not match", ""],
    [
      "ssls",
      { ...pair, sni: "a", cert: PEM },
      "failed to parse cert: PEM_read_bio_X509_AUX() failed",
      "/cert",
    ],
    [
      "ssls",
      { ...pair, sni: "a", key: `---${PEM}` },
      "failed to parse key: PEM_read_bio_PrivateKey() failed",
      "/key",
    ],
    ["ssls", { ...pair, sni: "a", key: PEM }, "failed to decrypt previous encrypted key", "/key"],
    [
      "ssls",
      { ...pair, sni: "a", certs: [PEM], keys: [PRIVATE_KEY] },
      "failed to handle cert-key pair[1]: failed to parse cert: PEM_read_bio_X509_AUX() failed",
      "/certs/0",
    ],
    [
      "ssls",
      { ...pair, sni: "a", client: { ca: PEM } },
      "failed to validate client_cert: failed to parse cert: PEM_read_bio_X509_AUX() failed",
      "/client/ca",
    ],
    [
      "routes",
      { uri: "/", upstream: { nodes, tls: { client_cert: PEM, client_key: PRIVATE_KEY } } },
      "failed to parse cert: PEM_read_bio_X509_AUX() failed",
      "/upstream/tls/client_cert",
    ],
    ["ssls", { ...pair, sni: "a", certs: [CERTIFICATE] }, "mismatched number of certs and keys", "/keys"],
    [
      "stream_routes",
      { protocol: { name: "redis", superior_id: 1 } },
      "stream route can not set itself as superior_id",
      "/protocol/superior_id",
    ],
  ];
  for (const [plural, value, message, pointer] of cases) {
    test(`of ${plural} ${JSON.stringify(value).slice(0, 90)}`, () => {
      const error = check(plural, value);
      assert.equal(error?.pointer, pointer);
      if (message.startsWith("^")) assert.match(error.message, new RegExp(message));
      else assert.equal(error.message, message);
    });
  }

  test("comes from a plugin's check that throws, too", () => {
    assert.deepEqual(check("routes", { uri: "/a", plugins: { broken: {} } }), {
      message: "failed to check the configuration of plugin broken err: the plugin's own check failed: oops",
      pointer: "/plugins/broken",
    });
  });

  test("of a keyword that the explanation does not know is the validator's, and no leniency hides it", () => {
    const lenient = { list: [2], other: {} };
    const error = check("routes", { uri: "/a", plugins: { unexplained: lenient } });
    assert.match(error?.message ?? "", /^failed to check the configuration of plugin unexplained err: must /);
    assert.equal(check("routes", { uri: "/a", plugins: { unexplained: { list: [1], other: [] } } }), null);
  });

  test("of an unknown plugin's metadata and of an unknown secret manager names it", () => {
    assert.equal(check("plugin_metadata", {}, context, "nope")?.message, "invalid plugin name");
    assert.equal(check("secrets", {}, context, "nope/1")?.message, "invalid secret manager: nope");
  });

  test("stops a value that is too deep or too large", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = { a: deep };
    const error = check("routes", deep);
    assert.match(error?.message ?? "", new RegExp(`nested more than ${MAX_DEPTH} levels deep`));
    assert.match(
      check("routes", { uris: Array(200_001).fill("/") })?.message ?? "",
      /more than 200000 values/,
    );
  });
});

describe("accepted are", () => {
  const cases: [plural: string, value: JsonObject][] = [
    ["routes", { uri: "/a", plugins: {} }],
    ["routes", { uri: "/a", plugins: [], vars: {}, methods: {}, labels: [] }],
    ["routes", { uris: ["/a", "/b*"], upstream, vars: [["arg_x", "==", "1"]], status: 0, id: 7 }],
    ["routes", { uri: "/a", upstream, remote_addrs: ["1.1.1.1", "10.0.0.0/8", "::1", "fd00::/8"] }],
    ["routes", { uri: "/a", upstream, hosts: ["*.a.com", "a.com:8080", "*"] }],
    ["routes", { uri: "/a", upstream: { nodes: {} } }],
    ["routes", { uri: "/a", plugins: { limit: { count: 1 } } }],
    ["routes", { uri: "/a", plugins: { limit: { count: 0, _meta: { disable: true } } } }],
    [
      "routes",
      { uri: "/a", plugins: { limit: { count: 1, password: "$secret://vault/1/p", _meta: { filter: {} } } } },
    ],
    ["upstreams", { nodes: { "a:80": 1, "[::1]:80": 0, b: 3 }, type: "chash", hash_on: "consumer" }],
    ["upstreams", { nodes: [{ host: "[::1]", port: 80, weight: 0, priority: -1, metadata: {} }] }],
    ["upstreams", { nodes, type: "chash", key: "arg_x" }],
    ["upstreams", { service_name: "a", discovery_type: "dns" }],
    ["ssls", { snis: ["*.a.com"], cert: "$env://C", key: "$secret://vault/1/k" }],
    ["ssls", { type: "client", ...pair }],
    ["secrets", { uri: "http://v", prefix: "p", token: "$ENV://T", id: "vault/1" }],
  ];
  for (const [plural, value] of cases) {
    test(`${plural} ${JSON.stringify(value).slice(0, 90)}`, () => {
      const before = structuredClone(value);
      assert.equal(check(plural, value), null);
      assert.deepEqual(value, before, "the value was changed");
    });
  }
});

describe("what the surroundings say counts:", () => {
  const stored: Record<string, JsonObject> = { "upstreams/1": {}, "services/1": {} };
  const withStore: ModelContext = {
    plugins: samplePlugins,
    get: (plural, id) => stored[`${plural}/${id}`],
    list: () => [["1", { plugins: { limit: {} } }]],
    consumerWithKey: (plugin, field, value) =>
      `${plugin}.${field}=${value}` === "key-auth.key=k" ? "jack" : undefined,
  };

  test("a reference must exist, whether its id is text or a number", () => {
    assert.equal(check("routes", { uri: "/a", upstream_id: 1, service_id: "1" }, withStore), null);
    assert.deepEqual(check("routes", { uri: "/a", upstream_id: 2 }, withStore), {
      message: "failed to fetch upstream info by upstream id [2], response code: 404",
      pointer: "/upstream_id",
    });
    assert.deepEqual(check("consumers", { username: "jack", group_id: "g" }, withStore), {
      message: "failed to fetch consumer group info by consumer group id [g], response code: 404",
      pointer: "/group_id",
    });
    assert.equal(
      check("routes", { uri: "/a", upstream: { nodes, tls: { client_cert_id: 5 } } }, withStore)?.pointer,
      "/upstream/tls/client_cert_id",
    );
  });

  test("a plugin stands in one global rule only", () => {
    const rule = { id: "2", plugins: { limit: { count: 1 } } };
    assert.equal(check("global_rules", rule, withStore, "1"), null);
    assert.deepEqual(check("global_rules", rule, withStore, "2"), {
      message: "plugin 'limit' already exists in global rule with id '1'",
      pointer: "/plugins/limit",
    });
  });

  test("a key belongs to one consumer", () => {
    const plugins = { "key-auth": { key: "k" } };
    assert.equal(check("consumers", { username: "jack", plugins }, withStore, "jack"), null);
    const expected = {
      message: "duplicate key of plugin key-auth found with consumer: jack",
      pointer: "/plugins/key-auth/key",
    };
    assert.deepEqual(check("consumers", { username: "rose", plugins }, withStore, "rose"), expected);
    assert.deepEqual(check("credentials", { plugins }, { ...withStore, parentId: "rose" }), expected);
    assert.equal(check("credentials", { plugins }, { ...withStore, parentId: "jack" }), null);
  });

  test("uses are found in fields and inside plugins", () => {
    const rules = [{ weighted_upstreams: [{ weight: 1 }, { upstream_id: 3 }] }, {}];
    const value = {
      uri: "/a",
      service_id: 1,
      plugins: { "traffic-split": { rules }, "grpc-transcode": { proto_id: "p" } },
    };
    assert.deepEqual(
      usesOf(type("routes"), value).map((use) => [use.to, use.id, use.pointer]),
      [
        ["services", "1", "/service_id"],
        ["upstreams", "3", "/plugins/traffic-split/rules/0/weighted_upstreams/1/upstream_id"],
        ["protos", "p", "/plugins/grpc-transcode/proto_id"],
      ],
    );
  });

  test("a delete that is refused says by whom", () => {
    assert.equal(
      type("services").inUse?.("route", "1"),
      "can not delete this service directly, route [1] is still using it now",
    );
    assert.equal(
      type("upstreams").inUse?.("service", "1"),
      "can not delete this upstream, service [1] is still using it now",
    );
    assert.equal(type("routes").inUse, null);
  });
});

/** A value that no rule of a core resource takes in the place of this one. */
function wrongFor(rule: JsonSchema): unknown {
  const accepts = rule.type ?? rule.anyOf?.map((branch) => branch.type).join() ?? "";
  return String(accepts).includes("boolean") ? "wrong" : true;
}

function garbage(names: string[]): fc.Arbitrary<unknown> {
  const key = fc.oneof(fc.constantFrom(...names, "nodes", "plugins", "limit", "_meta", "count"), fc.string());
  return fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<unknown>(
        null,
        true,
        0,
        1,
        -1,
        1.5,
        1e308,
        "",
        "/a",
        "a:80",
        "[::1]:x",
        "$env://X",
        "*",
      ),
      fc.string(),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    ),
  })).value;
}
