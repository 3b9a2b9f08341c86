/** Kong's declarative file: what becomes of it, entity by entity, and that nothing is lost in silence. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { compilePattern, compileReplacement } from "../../lib/pattern.ts";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { resourceType } from "../../model/resources.ts";
import { validateResource } from "../../model/validate.ts";
import { PluginCatalog } from "../../plugins/catalog.ts";
import type { ResourceLists } from "../resource-file.ts";
import { importKong } from "./kong.ts";
import { textOf } from "./kong-entities.ts";
import { ImportReport } from "./report.ts";

function imported(yaml: string): { lists: ResourceLists; report: string } {
  const report = new ImportReport();
  const lists = importKong(parse(`_format_version: "3.0"\n${yaml}`), report);
  assert.ok(lists !== null);
  assertValid(lists);
  return { lists, report: report.text() };
}

/** Everything that is made would be accepted by a node. */
function assertValid(lists: ResourceLists): void {
  const plugins = new PluginCatalog(null);
  for (const [plural, list] of Object.entries(lists)) {
    for (const item of list) {
      const [parent, , id] = textOf(item["id"], "").split("/");
      const type = resourceType(id === undefined ? plural : "credentials")!;
      const value = id === undefined ? item : { ...item, id };
      const error = validateResource(type, value, {
        plugins,
        ...(id === undefined ? {} : { parentId: parent }),
      });
      assert.equal(error, null, `${plural} ${JSON.stringify(item)}: ${error?.message}`);
    }
  }
}

const service = (routes: string, more = "") =>
  `services:\n- {name: s, url: "http://a.com:81/v1", ${more} routes: [${routes}]}`;

/** The path that goes upstream. */
function rewritten(route: JsonObject, path: string): string {
  const plugins = route["plugins"];
  const rewrite = isObject(plugins) ? (plugins["proxy-rewrite"] as JsonObject | undefined) : undefined;
  const rules = (rewrite?.["regex_uri"] ?? []) as string[];
  for (let i = 0; i < rules.length; i += 2) {
    const pattern = compilePattern(rules[i]);
    if (pattern.test(path)) return pattern.replace(path, compileReplacement(rules[i + 1]));
  }
  return path;
}

test("what is no such file is told apart", () => {
  assert.equal(importKong({ services: [] }, new ImportReport()), null);
});

describe("services", () => {
  test("a service brings its upstream, with the node's name as Host", () => {
    const { lists, report } = imported(service("", "retries: 3, read_timeout: 2500, tags: [team:a, x],"));
    assert.deepEqual(lists["services"], [
      {
        id: "s",
        name: "s",
        labels: { team: "a", x: "true" },
        upstream: {
          type: "roundrobin",
          nodes: [{ host: "a.com", port: 81, weight: 1 }],
          scheme: "http",
          retries: 3,
          timeout: { connect: 60, send: 60, read: 2.5 },
          pass_host: "node",
        },
      },
    ]);
    assert.equal(report, "");
  });

  test("the upstream of its host brings targets, hashing and checks", () => {
    const { lists } = imported(`
services: [{name: s, host: u, protocol: https, port: 443}]
upstreams:
- name: u
  hash_on: header
  hash_on_header: X-User
  host_header: inner.com
  targets: [{target: "10.0.0.1:81", weight: 5}, {target: "[::1]:82"}, {target: b.com}]
  healthchecks: {active: {http_path: /h, timeout: 1, healthy: {interval: 5, successes: 2, http_statuses: [200]}}}`);
    const { upstream } = lists["services"][0] as { upstream: JsonObject };
    const { nodes, checks, ...rest } = upstream;
    assert.deepEqual(nodes, [
      { host: "10.0.0.1", port: 81, weight: 5 },
      { host: "[::1]", port: 82, weight: 100 },
      { host: "b.com", port: 8000, weight: 100 },
    ]);
    const hashing = { type: "chash", hash_on: "header", key: "X-User" };
    assert.deepEqual(rest, {
      ...hashing,
      scheme: "https",
      pass_host: "rewrite",
      upstream_host: "inner.com",
    });
    const healthy = { interval: 5, successes: 2, http_statuses: [200] };
    assert.deepEqual(checks, { active: { timeout: 1, http_path: "/h", healthy, unhealthy: {} } });
  });

  test("what is switched off stays so, other protocols are reported", () => {
    const { lists } = imported(service("{name: r, paths: [/a]}", "enabled: false,"));
    assert.equal(lists["routes"][0]["status"], 0);
    assert.match(
      imported("services: [{name: t, protocol: tcp, host: a}]").report,
      /left out: services\[0\] \(t\)/,
    );
  });
});

describe("routes", () => {
  const paths: [name: string, route: string, uris: string[], path: string, upstream: string][] = [
    ["a path is cut off", "{name: r, paths: [/a]}", ["/a*"], "/a/b", "/v1/b"],
    ["a path that ends there is, too", "{name: r, paths: [/a]}", ["/a*"], "/a", "/v1/"],
    ["the longer path is cut off", "{name: r, paths: [/a, /a/b]}", ["/a*", "/a/b*"], "/a/b/c", "/v1/c"],
    ["the root is not", "{name: r, paths: [/]}", ["/*"], "/x", "/v1/x"],
    [
      "nothing is without strip_path",
      "{name: r, paths: [/a], strip_path: false}",
      ["/a*"],
      "/a/b",
      "/v1/a/b",
    ],
    ["a route without paths takes all", "{name: r}", ["/*"], "/x", "/v1/x"],
    ["a pattern stands below its text", '{name: r, paths: ["~/u/(\\\\d+)/x$"]}', ["/u/*"], "/u/7/x", "/v1/"],
    ["so does one with a name", '{name: r, paths: ["~/u/(?<id>[0-9]+)"]}', ["/u/*"], "/u/7/y", "/v1/y"],
    ["one with alternatives begins anywhere", '{name: r, paths: ["~/a|/b"]}', ["/*"], "/b/c", "/v1/c"],
  ];
  for (const [name, route, uris, path, upstream] of paths) {
    test(name, () => {
      const [made] = imported(service(route)).lists["routes"];
      assert.deepEqual(made["uris"] ?? [made["uri"]], uris);
      assert.equal(rewritten(made, path), upstream);
    });
  }

  test("patterns beside plain paths become a route of their own", () => {
    const { lists, report } = imported(service('{name: r, paths: [/a, "~/b[0-9]+"]}'));
    assert.deepEqual(
      lists["routes"].map(({ id, uri, vars }) => [id, uri, vars]),
      [
        ["r", "/a*", undefined],
        ["r-regex", "/b*", [["uri", "~~", "^(?:/b[0-9]+)"]]],
      ],
    );
    assert.match(report, /differs: .*patterns are tried after/);
  });

  test("conditions are carried over", () => {
    const { lists, report } = imported(
      service(`{name: r, methods: [get, FOO], hosts: [a.com, "*.b.com"], regex_priority: 7,
        headers: {X-A: [One, two], X-B: ["~*^v[0-9]"]}, sources: [{ip: 10.0.0.0/8}], snis: [a.com]}`),
    );
    const { methods, hosts, priority, vars, remote_addrs: addresses } = lists["routes"][0];
    assert.deepEqual(
      [methods, hosts, priority, addresses],
      [["GET"], ["a.com", "*.b.com"], 7, ["10.0.0.0/8"]],
    );
    assert.deepEqual(vars, [
      ["http_x_a", "~*", "^(?:One|two)$"],
      ["http_x_b", "~*", "^v[0-9]"],
    ]);
    assert.match(report, /methods: FOO cannot be a condition/);
    assert.match(report, /snis is not carried over: the route takes more requests/);
  });

  test("the client's Host goes on where a route preserves it, another keeps the node's", () => {
    const { lists } = imported(
      service("{name: r, preserve_host: true, strip_path: false}, {name: q, paths: [/q]}"),
    );
    const { upstream } = lists["services"][0] as { upstream: JsonObject };
    assert.equal(upstream["pass_host"], "pass");
    const hosts = lists["routes"].map(
      ({ plugins }) => (plugins as Record<string, JsonObject>)["proxy-rewrite"]["host"],
    );
    assert.deepEqual(hosts, [undefined, "a.com"]);
  });

  test("a route for https alone redirects, or is reported", () => {
    const { lists, report } = imported(
      service(
        "{name: r, protocols: [https], https_redirect_status_code: 301}, {name: q, protocols: [https]}",
      ),
    );
    const redirects = lists["routes"].map(({ plugins }) => (plugins as JsonObject)["redirect"]);
    assert.deepEqual(redirects, [{ http_to_https: true, ret_code: 301 }, undefined]);
    assert.match(report, /routes\[1\] \(q\): the route is for https alone/);
    assert.match(imported("routes: [{name: t, protocols: [tcp]}]").report, /only routes of HTTP/);
  });
});

describe("consumers", () => {
  test("keys and passwords become credentials, names what they may be", () => {
    const { lists, report } = imported(`
consumers:
- username: jack@a.com
  custom_id: "7"
  keyauth_credentials: [{key: one}, {}]
  basicauth_credentials: [{username: j, password: p}, {username: j, password: ${"a0".repeat(20)}}]
  jwt_secrets: [{key: k}]
keyauth_credentials: [{consumer: jack@a.com, key: two}]`);
    assert.deepEqual(lists["consumers"], [
      { username: "jack-a-com", labels: { custom_id: "7" } },
      { id: "jack-a-com/credentials/key-1", plugins: { "key-auth": { key: "one" } } },
      { id: "jack-a-com/credentials/key-3", plugins: { "key-auth": { key: "two" } } },
      { id: "jack-a-com/credentials/basic-1", plugins: { "basic-auth": { username: "j", password: "p" } } },
    ]);
    for (const told of [
      /does not hold the key/,
      /the password is a digest/,
      /jwt_secrets: these credentials/,
    ]) {
      assert.match(report, told);
    }
  });
});

const plugins: [name: string, config: string, made: string, expected: object, told?: RegExp][] = [
  [
    "key-auth",
    "{key_names: [a, b], hide_credentials: true}",
    "key-auth",
    { header: "a", query: "a", hide_credentials: true },
    /only a/,
  ],
  ["basic-auth", "{hide_credentials: true}", "basic-auth", { hide_credentials: true }],
  [
    "rate-limiting",
    "{second: 5, hour: 100, limit_by: ip, fault_tolerant: false}",
    "limit-count",
    {
      rejected_code: 429,
      policy: "local",
      rules: [
        { key: "second $remote_addr", count: 5, time_window: 1, header_prefix: "second" },
        { key: "hour $remote_addr", count: 100, time_window: 3600, header_prefix: "hour" },
      ],
    },
  ],
  [
    "rate-limiting",
    "{minute: 5, hour: 100, limit_by: header, header_name: X-Id, policy: redis, redis: {host: redis, port: 6380}}",
    "limit-count",
    {
      count: 5,
      time_window: 60,
      key: "http_x_id",
      key_type: "var",
      rejected_code: 429,
      allow_degradation: true,
      policy: "redis",
      redis_host: "redis",
      redis_port: 6380,
    },
    /only the limit per minute holds, not that per hour/,
  ],
  [
    "cors",
    '{origins: ["https://a.com", "https://.*\\\\.b\\\\.com$"], credentials: true, max_age: 60, headers: [X-A]}',
    "cors",
    {
      allow_methods: "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT",
      allow_headers: "X-A",
      allow_credential: true,
      allow_origins_by_regex: ["^https://a\\.com$", "https://.*\\.b\\.com$"],
      allow_origins: "null",
      max_age: 60,
    },
  ],
  [
    "ip-restriction",
    "{deny: [10.0.0.0/8], status: 404}",
    "ip-restriction",
    { blacklist: ["10.0.0.0/8"], response_code: 404 },
  ],
  [
    "ip-restriction",
    "{allow: [::1], deny: [10.0.0.1]}",
    "ip-restriction",
    { whitelist: ["::1"] },
    /deny is left out/,
  ],
  [
    "request-transformer",
    '{http_method: post, append: {headers: ["X-A: b:c"]}, replace: {headers: ["X-B:1"], uri: /x}, remove: {headers: [X-C], querystring: [q]}}',
    "proxy-rewrite",
    { method: "POST", headers: { add: { "X-A": "b:c" }, set: { "X-B": "1" }, remove: ["X-C"] } },
    /remove\.querystring is not carried over[^]*replace\.uri|replace\.uri[^]*remove\.querystring/,
  ],
  [
    "response-transformer",
    '{add: {headers: ["X-A:1"]}, remove: {headers: [Server], json: [a]}}',
    "response-rewrite",
    { headers: { add: ["X-A: 1"], remove: ["Server"] } },
    /remove\.json/,
  ],
  [
    "request-size-limiting",
    "{allowed_payload_size: 2, size_unit: kilobytes}",
    "client-control",
    { max_body_size: 2000 },
  ],
  [
    "bot-detection",
    "{deny: [curl]}",
    "ua-restriction",
    { denylist: ["curl"], bypass_missing: true },
    /list of bots/,
  ],
  ["acl", "{allow: [staff]}", "consumer-restriction", { whitelist: ["jack"] }, /groups became the consumers/],
  ["acl", "{allow: [nobody]}", "consumer-restriction", { whitelist: ["nobody"] }],
  ["prometheus", "{per_consumer: true}", "prometheus", {}],
  [
    "correlation-id",
    "{header_name: X-Id, generator: tracker, echo_downstream: true}",
    "request-id",
    { header_name: "X-Id", include_in_response: true, algorithm: "uuid" },
    /generator tracker becomes uuid/,
  ],
  [
    "request-termination",
    "{status_code: 403, message: no}",
    "fault-injection",
    {
      abort: { http_status: 403, body: '{"message":"no"}', headers: { "Content-Type": "application/json" } },
    },
  ],
];

describe("plugins", () => {
  for (const [name, config, made, expected, told] of plugins) {
    test(`${name} ${config} becomes ${made}`, () => {
      const { lists, report } = imported(
        `plugins: [{name: ${name}, config: ${config}}]\nconsumers: [{username: jack, acls: [{group: staff}]}]`,
      );
      assert.deepEqual(lists["global_rules"], [{ id: `kong-${made}`, plugins: { [made]: expected } }]);
      if (told === undefined) assert.doesNotMatch(report, /left out/);
      else assert.match(report, told);
    });
  }

  test("each stands where it stood: on route, service and consumer, switched off if it was", () => {
    const { lists } = imported(`
${service("{name: r, strip_path: false, plugins: [{name: basic-auth}]}", "plugins: [{name: key-auth, enabled: false}],")}
consumers: [{username: jack, plugins: [{name: ip-restriction, config: {allow: ["::1"]}}]}]
plugins: [{name: cors, route: r}]`);
    const names = (type: string) => Object.keys(lists[type][0]["plugins"] ?? {});
    assert.deepEqual(names("routes"), ["basic-auth", "cors", "proxy-rewrite"]);
    assert.deepEqual(names("consumers"), ["ip-restriction"]);
    assert.deepEqual((lists["services"][0]["plugins"] as JsonObject)["key-auth"], {
      header: "apikey",
      query: "apikey",
      _meta: { disable: true },
    });
  });

  test("a global one that is replaced somewhere goes to every service instead of a global rule", () => {
    const { lists, report } = imported(`
services: [{name: a, host: a, plugins: [{name: basic-auth, config: {realm: own}}]}, {name: b, host: b}]
routes: [{name: bare}]
plugins: [{name: basic-auth, config: {realm: all}}]`);
    assert.equal(lists["global_rules"], undefined);
    const realms = [...lists["services"], ...lists["routes"]].map(({ plugins: held }) => held);
    const auth = (realm: string) => ({ "basic-auth": { realm } });
    assert.deepEqual(realms, [auth("own"), auth("all"), auth("all")]);
    assert.match(report, /stands in each service/);
  });

  test("the rewriting of a service is not hidden by that of its route", () => {
    const transformer = '{name: request-transformer, config: {append: {headers: ["X-A:1"]}}}';
    const { lists } = imported(service("{name: r, paths: [/a]}", `plugins: [${transformer}],`));
    assert.deepEqual(lists["routes"][0]["plugins"], {
      "proxy-rewrite": { headers: { add: { "X-A": "1" } }, regex_uri: ["^(?:/a)/?(.*)$", "/v1/$1"] },
    });
  });

  test("what is not known is reported, field by field", () => {
    const { report } = imported(
      "plugins: [{name: jwt}, {name: key-auth, config: {anonymous: x}}]\nvaults: []",
    );
    assert.match(report, /left out: plugins\[0\] jwt: the plugin jwt is not carried over/);
    assert.match(report, /differs: plugins\[1\] key-auth: anonymous is not carried over/);
    assert.match(report, /left out: vaults/);
  });
});
