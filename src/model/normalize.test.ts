/** The published forms: one spelling for everything, defaults filled in, the stored value untouched. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { withDefaults } from "./defaults.ts";
import type { JsonSchema } from "./explain.ts";
import { normalizeUpstream } from "./normalize-upstream.ts";
import type { JsonObject } from "./resource-type.ts";
import { resourceType } from "./resources.ts";
import { samplePlugins } from "./sample-plugins.ts";

function published(plural: string, id: string, value: JsonObject): unknown {
  const before = structuredClone(value);
  const result = resourceType(plural)!.normalize!(id, value, samplePlugins, 5);
  assert.deepEqual(value, before, "the stored value was changed");
  return result;
}

describe("a route", () => {
  test("has lists, lower-case hosts and its order of creation", () => {
    assert.deepEqual(
      published("routes", "1", { uri: "/a", host: "A.Com", remote_addr: "::1", id: 1, create_time: 1 }),
      {
        id: "1",
        uris: ["/a"],
        priority: 0,
        created: 5,
        enabled: true,
        hosts: ["a.com"],
        remote_addrs: ["::1"],
      },
    );
  });

  test("keeps what users named, with ids as text", () => {
    const value = {
      uris: ["/a", "/b"],
      hosts: ["*.B.com"],
      name: "n",
      labels: { a: "b" },
      methods: ["GET"],
      vars: [["arg_a", "==", "1"]],
      priority: 3,
      status: 0,
      service_id: 7,
      upstream_id: "u",
      plugin_config_id: 9,
      timeout: { connect: 1, send: 2, read: 3 },
      enable_websocket: true,
    };
    const { name, labels, methods, vars, timeout } = value;
    assert.deepEqual(published("routes", "1", value), {
      id: "1",
      uris: ["/a", "/b"],
      hosts: ["*.b.com"],
      created: 5,
      enabled: false,
      priority: 3,
      service_id: "7",
      upstream_id: "u",
      plugin_config_id: "9",
      enable_websocket: true,
      name,
      labels,
      methods,
      vars,
      timeout,
    });
  });

  test("drops what is empty", () => {
    assert.deepEqual(published("routes", "1", { uri: "/a", methods: [], vars: {}, plugins: [] }), {
      id: "1",
      uris: ["/a"],
      priority: 0,
      created: 5,
      enabled: true,
    });
  });

  test("has the defaults of its plugins, at every depth", () => {
    const plugins = {
      limit: { count: 2, list: [{}, { weight: 5 }], _meta: { priority: 1 } },
      other: { a: 1 },
    };
    assert.deepEqual((published("routes", "1", { uri: "/a", plugins }) as JsonObject)["plugins"], {
      limit: {
        count: 2,
        policy: "local",
        nested: { depth: 3 },
        list: [{ weight: 1 }, { weight: 5 }],
        _meta: { priority: 1 },
      },
      other: { a: 1 },
    });
  });
});

describe("an upstream", () => {
  const node = (host: string, port: number, weight = 1) => ({ host, port, weight, priority: 0 });
  const cases: [what: string, value: JsonObject, nodes: unknown][] = [
    ["an object of addresses", { nodes: { "a:81": 2 } }, [node("a", 81, 2)]],
    ["names in lower case", { nodes: { "A.Com:81": 1 } }, [node("a.com", 81)]],
    ["no port, http", { nodes: { a: 1 } }, [node("a", 80)]],
    ["no port, https", { nodes: { a: 1 }, scheme: "https" }, [node("a", 443)]],
    ["no port, grpcs", { nodes: [{ host: "a", weight: 1 }], scheme: "grpcs" }, [node("a", 443)]],
    ["IPv6 with brackets", { nodes: { "[::1]:81": 1, "[::2]": 1 } }, [node("::1", 81), node("::2", 80)]],
    ["IPv6 without", { nodes: { "fd00::1": 1 } }, [node("fd00::1", 80)]],
    [
      "a list",
      { nodes: [{ host: "[::1]", port: 81, weight: 0, priority: 2, metadata: { a: 1 } }] },
      [{ host: "::1", port: 81, weight: 0, priority: 2, metadata: { a: 1 } }],
    ],
    [
      "a port in a listed host",
      {
        nodes: [
          { host: "a:82", weight: 1 },
          { host: "a:82", port: 83, weight: 1 },
        ],
      },
      [node("a", 82), node("a", 83)],
    ],
    ["no nodes", { nodes: {} }, []],
    ["no nodes, as a list", { nodes: [] }, []],
    ["a service instead", { service_name: "a", discovery_type: "dns" }, []],
  ];
  for (const [what, value, nodes] of cases) {
    test(`has its nodes as a list: ${what}`, () => assert.deepEqual(normalizeUpstream(value).nodes, nodes));
  }

  test("has its own defaults and those of pools and checks", () => {
    const value = { nodes: { "a:80": 1 }, keepalive_pool: { size: 4 }, checks: { active: { healthy: {} } } };
    const { checks, ...rest } = published("upstreams", "u", value) as JsonObject;
    assert.deepEqual(rest, {
      id: "u",
      nodes: [node("a", 80)],
      type: "roundrobin",
      hash_on: "vars",
      scheme: "http",
      pass_host: "pass",
      keepalive_pool: { size: 4, idle_timeout: 60, requests: 1000 },
    });
    assert.deepEqual((checks as { active: JsonObject }).active["healthy"], {
      interval: 1,
      http_statuses: [200, 302],
      successes: 2,
    });
  });
});

test("a consumer has the defaults of the consumer's schema of its plugins", () => {
  const value = { username: "jack", group_id: 1, plugins: { "key-auth": { key: "k" } } };
  assert.deepEqual(published("consumers", "jack", value), {
    username: "jack",
    group_id: "1",
    plugins: { "key-auth": { key: "k" } },
  });
  assert.deepEqual(published("credentials", "c", { plugins: { "key-auth": { key: "k" } } }), {
    id: "c",
    plugins: { "key-auth": { key: "k" } },
  });
});

test("plugin metadata has its defaults", () => {
  assert.deepEqual(published("plugin_metadata", "logger", { id: "logger" }), {
    id: "logger",
    log_format: {},
  });
});

test("defaults are found in branches, and never touch the schema", () => {
  const schema: JsonSchema = {
    type: "object",
    properties: { policy: { type: "string", default: "local" }, list: { type: "array", default: [] } },
    if: { properties: { policy: { const: "redis" } } },
    then: { properties: { port: { default: 6379 } } },
    else: { properties: { keys: { default: {} } } },
    oneOf: [
      { required: ["a"], properties: { b: { default: 1 } } },
      { required: ["c"], properties: { d: { default: 2 } } },
    ],
  };
  const before = structuredClone(schema);
  const filled = withDefaults(schema, { policy: "redis", c: 1 }) as { list: unknown[] };
  assert.deepEqual(filled, { policy: "redis", c: 1, list: [], port: 6379, d: 2 });
  (filled.list as unknown[]).push(1);
  assert.deepEqual(withDefaults(schema, { a: 1 }), { a: 1, policy: "local", list: [], keys: {}, b: 1 });
  assert.deepEqual(schema, before);
});

test("filling defaults twice changes nothing more", () => {
  const schema = resourceType("upstreams")!.schema;
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom("nodes", "checks", "tls", "type", "x"), fc.jsonValue()),
      (value) => {
        const once = withDefaults(schema, value);
        assert.deepEqual(withDefaults(schema, once), once);
      },
    ),
  );
});
