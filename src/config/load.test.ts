/** The static configuration: what a file means, and what is said about a wrong one. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { ConfigError, loadStaticConfig, parseStaticConfig } from "./load.ts";
import { configurationReference } from "./reference.ts";
import { FileSchema } from "./schema.ts";
import type { StaticConfig } from "./static-config.ts";

function config(text: string, env: NodeJS.ProcessEnv = {}): StaticConfig {
  return parseStaticConfig("c.yaml", text, env).config;
}

function warnings(text: string): string[] {
  return parseStaticConfig("c.yaml", text, {}).warnings;
}

function fault(text: string, env: NodeJS.ProcessEnv = {}): string {
  try {
    parseStaticConfig("c.yaml", text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return assert.fail(`accepted: ${text}`);
}

function ports(text: string): string[] {
  return config(text).listeners.map(
    (l) => `${l.purpose} ${l.address}:${l.port} ${l.group} ${l.proxyProtocol}`,
  );
}

describe("a file with nothing in it", () => {
  test("gives the default listeners", () => {
    assert.deepEqual(ports(""), [
      "http 0.0.0.0:9080 default false",
      "https 0.0.0.0:9443 default false",
      "admin 127.0.0.1:9180 default false",
      "control 127.0.0.1:9090 default false",
      "metrics 127.0.0.1:9091 default false",
      "status 127.0.0.1:7085 default false",
    ]);
  });

  test("gives one worker per core and no warning", () => {
    const loaded = loadStaticConfig({ dataFolder: "/nonexistent", env: {} });
    assert.equal(loaded.config.workers, availableParallelism());
    assert.deepEqual(loaded.warnings, []);
  });

  for (const text of ["", "# only a comment", "{}", "---\n", "apisix:\n", "null"]) {
    test(`is what ${JSON.stringify(text)} is`, () => assert.deepEqual(config(text), config("{}")));
  }
});

describe("a key", () => {
  const cases: [text: string, read: (c: StaticConfig) => unknown, expected: unknown][] = [
    ["nginx_config: { worker_processes: 3 }", (c) => c.workers, 3],
    ["nginx_config: { worker_processes: 3 }\ncardea: { workers: 5 }", (c) => c.workers, 5],
    ["apisix: { enable_dev_mode: true }\ncardea: { workers: 5 }", (c) => c.workers, 1],
    ["nginx_config: { http: { client_header_timeout: 7s } }", (c) => c.http.headerTimeoutMs, 7000],
    ["nginx_config: { http: { client_body_timeout: 500ms } }", (c) => c.http.bodyTimeoutMs, 500],
    ["nginx_config: { http: { keepalive_timeout: 2m } }", (c) => c.http.idleTimeoutMs, 120_000],
    ["nginx_config: { http: { send_timeout: 3 } }", (c) => c.http.sendTimeoutMs, 3000],
    ["nginx_config: { http: { client_max_body_size: 8m } }", (c) => c.http.maxBodyBytes, 8 * 1024 ** 2],
    ["nginx_config: { http: { underscores_in_headers: on } }", (c) => c.http.underscoresInHeaders, "keep"],
    ['nginx_config: { http: { underscores_in_headers: "off" } }', (c) => c.http.underscoresInHeaders, "drop"],
    ["nginx_config: { event: { worker_connections: 99 } }", (c) => c.http.maxConnectionsPerWorker, 99],
    ["nginx_config: { http: { upstream: { keepalive: 9 } } }", (c) => c.upstream.keepalive.size, 9],
    ["nginx_config: { http: { enable_access_log: false } }", (c) => c.accessLog.path, null],
    ["nginx_config: { http: { access_log: a.log } }", (c) => c.accessLog.path, "a.log"],
    ["nginx_config: { worker_shutdown_timeout: 240s }", (c) => c.supervision.drainTimeoutMs, 240_000],
    ["nginx_config: { error_log_level: crit }", (c) => c.log.level, "error"],
    ["nginx_config: { error_log_level: notice }", (c) => c.log.level, "info"],
    [
      "cardea: { http: { header_timeout: 1s } }\nnginx_config: { http: { client_header_timeout: 7s } }",
      (c) => c.http.headerTimeoutMs,
      1000,
    ],
    ["apisix: { router: { http: radixtree_uri } }", (c) => c.router.http, "radixtree_uri"],
    [
      "apisix: { dns_resolver: ['1.1.1.1', '[::1]:53'], dns_resolver_valid: 30 }",
      (c) => c.resolver,
      { servers: ["1.1.1.1", "[::1]:53"], validMs: 30_000, timeoutMs: 5000, ipv6: true },
    ],
    ["apisix: { trusted_addresses: [10.0.0.0/8] }", (c) => c.trustedAddresses, ["10.0.0.0/8"]],
    ["plugins: [key-auth]", (c) => c.plugins.enabled, ["key-auth"]],
    ["plugins: []", (c) => c.plugins.enabled, []],
    ["plugin_attr: { x: { a: [1] } }", (c) => c.plugins.attributes.x, { a: [1] }],
    ["plugin_attr: { prometheus: { metric_prefix: x_ } }", (c) => c.metrics.prefix, "x_"],
    ["cardea: { supervision: { worker_heap: 300m } }", (c) => c.supervision.workerHeapMb, 300],
    ["cardea: { admin: { server_header: '' } }", (c) => c.admin.serverHeader, null],
    [
      "deployment: { admin: { admin_key: [{ key: abcdefghijklmnopq }] } }",
      (c) => c.admin.keys,
      [{ name: "admin", key: "abcdefghijklmnopq", role: "admin", scope: null }],
    ],
    ["deployment: { admin: { admin_key: [{ key: '' }] } }", (c) => c.admin.keys, []],
    [
      "deployment: { admin: { admin_key: [{ key: abcdefghijklmnopq, scope: { labels: { team: a }, hosts: ['*.a.com'] } }] } }",
      (c) => c.admin.keys[0].scope,
      { resources: null, labels: { team: "a" }, hosts: ["*.a.com"], uriPrefixes: null },
    ],
    ["", (c) => c.encryption, { enabled: true, keyring: [] }],
    [
      "apisix: { data_encryption: { enable_encrypt_fields: false, keyring: 0123456789abcdef } }",
      (c) => c.encryption,
      { enabled: false, keyring: ["0123456789abcdef"] },
    ],
    ["apisix: { enable_server_tokens: false }", (c) => c.admin.serverHeader, "APISIX"],
    ['{ "apisix": { "node_listen": 81 } }', (c) => c.listeners[0].port, 81],
    ['{\n\t"apisix": {\n\t\t"node_listen": 81\n\t}\n}', (c) => c.listeners[0].port, 81],
    ["apisix: { enable_ipv6: no }", (c) => c.resolver.ipv6, false],
    ["apisix: { enable_ipv6: &off false, tracing: *off }", (c) => c.resolver.ipv6, false],
  ];
  for (const [text, read, expected] of cases) {
    test(`has its effect: ${text}`, () => assert.deepEqual(read(config(text)), expected));
  }

  test("of listeners takes all the forms that APISIX knows", () => {
    assert.deepEqual(
      ports("apisix: { node_listen: [80, { port: 81 }, { ip: '::1', port: 82 }] }").slice(0, 3),
      ["http 0.0.0.0:80 default false", "http 0.0.0.0:81 default false", "http ::1:82 default false"],
    );
    assert.ok(
      ports("apisix: { proxy_protocol: { listen_http_port: 9181 } }").includes(
        "http 0.0.0.0:9181 default true",
      ),
    );
  });

  test("switches a listener off", () => {
    const text =
      "apisix: { enable_admin: false, enable_control: false, ssl: { enable: false } }\nplugin_attr: { prometheus: { enable_export_server: false } }";
    assert.deepEqual(ports(text), ["http 0.0.0.0:9080 default false", "status 127.0.0.1:7085 default false"]);
  });

  test("makes a data plane, which has no Admin API and its resources beside the file", () => {
    const dataPlane = (provider: string) =>
      `deployment: { role: data_plane, role_data_plane: { config_provider: ${provider} } }`;
    const read = (text: string) => parseStaticConfig("/etc/cardea/config.yaml", text, {}).config;
    const yaml = read(dataPlane("yaml"));
    assert.deepEqual(yaml.store, { type: "file", format: "yaml", file: "/etc/cardea/apisix.yaml" });
    assert.ok(!yaml.admin.enabled);
    assert.ok(!yaml.listeners.some((listener) => listener.purpose === "admin"));
    const json = read(`${dataPlane("json")}\ncardea: { store: { file: ../routes.json } }`);
    assert.deepEqual(json.store, { type: "file", format: "json", file: "/etc/routes.json" });
  });

  test("makes a traditional node whose resources are one document of the Admin API", () => {
    const text = "deployment: { role_traditional: { config_provider: yaml } }";
    const made = config(text);
    assert.deepEqual([made.store, made.admin.enabled], [{ type: "api" }, true]);
    const without = parseStaticConfig("/etc/c/config.yaml", `${text}\napisix: { enable_admin: false }`, {});
    assert.deepEqual(without.config.store, { type: "file", format: "yaml", file: "/etc/c/apisix.yaml" });
  });

  test("keeps a snapshot of what is not on this machine already", () => {
    const none = { hasSnapshot: false, snapshotIntervalMs: 10_000, maxAgeMs: 0 };
    assert.deepEqual(config("cardea: { store: { snapshot: true } }").survival, none);
    const file = "deployment: { role: data_plane, role_data_plane: { config_provider: yaml } }\n";
    assert.deepEqual(config(file).survival, none);
    const asked = config(`${file}cardea: { store: { snapshot: true, snapshot_interval: 1s, max_age: 1h } }`);
    assert.deepEqual(asked.survival, { hasSnapshot: true, snapshotIntervalMs: 1000, maxAgeMs: 3_600_000 });
  });

  test("makes groups with workers and ports of their own", () => {
    const text =
      "cardea: { workers: 2, groups: [{ name: a, workers: 1, listen: [{ port: 90, proxy_protocol: true }, { port: 91, tls: true }] }] }";
    assert.equal(config(text).workers, 3);
    assert.deepEqual(config(text).groups, [
      { name: "default", workers: 2 },
      { name: "a", workers: 1 },
    ]);
    assert.deepEqual(ports(text).slice(2, 4), ["http 0.0.0.0:90 a true", "https 0.0.0.0:91 a false"]);
  });

  test("says whether clients may speak HTTP/2, in three places", () => {
    const http2 = (text: string) => config(text).http.http2;
    assert.deepEqual(http2(""), { maxConcurrentStreams: 100 });
    assert.equal(http2("apisix:\n  enable_http2: false\n"), null);
    const ofListener = "apisix:\n  node_listen:\n    - port: 9080\n      enable_http2: false\n";
    assert.equal(http2(ofListener), null);
    assert.equal(
      http2("apisix:\n  ssl:\n    listen:\n      - port: 9443\n        enable_http2: false\n"),
      null,
    );
    assert.notEqual(http2(`${ofListener}  enable_http2: true\n`), null);
    assert.equal(http2("cardea:\n  http:\n    http2_max_concurrent_streams: 7\n")?.maxConcurrentStreams, 7);
  });

  test("names ports and rules for TLS", () => {
    assert.deepEqual(
      ports(
        "apisix: { ssl: { listen: [{ ip: '::1', port: 443 }, {}] }, proxy_protocol: { listen_https_port: 9182 } }",
      ).filter((each) => each.startsWith("https")),
      ["https ::1:443 default false", "https 0.0.0.0:9443 default false", "https 0.0.0.0:9182 default true"],
    );
    const { tls } = config(
      "apisix: { ssl: { ssl_protocols: ' TLSv1.3  TLSv1.2', ssl_ciphers: AES128-SHA, fallback_sni: A.com. } }",
    );
    assert.deepEqual(tls.versions, ["TLSv1.2", "TLSv1.3"]);
    assert.match(tls.ciphers, /^TLS_AES_256_GCM_SHA384:.*:AES128-SHA$/);
    assert.equal(tls.fallbackServerName, "a.com");
    assert.match(
      fault("apisix: { ssl: { ssl_protocols: SSLv3 } }"),
      /ssl_protocols: given "SSLv3", expected some of TLSv1\.1/,
    );
  });
});

describe("a mistake is told with its line, column and key:", () => {
  const cases: [text: string, message: string | RegExp][] = [
    ["apisix:\n  foo: 1", /^c\.yaml:2:3 apisix\.foo: unknown key "foo"; expected one of node_listen, /],
    [
      "apisix:\n  node_lisen: 1",
      'c.yaml:2:3 apisix.node_lisen: unknown key "node_lisen"; did you mean node_listen?',
    ],
    [
      "nginx_config:\n  http:\n    keepalive_timout: 1s",
      /^c\.yaml:3:5 nginx_config\.http\.keepalive_timout: .*did you mean keepalive_timeout\?/,
    ],
    [
      "apisix:\n  node_listen:\n    - port: 0",
      "c.yaml:3:13 apisix.node_listen[0].port: given 0, expected a port (1..65535)",
    ],
    [
      "apisix:\n  node_listen:\n    - ip: x\n      port: 1",
      'c.yaml:3:11 apisix.node_listen[0].ip: given "x", expected an IP address',
    ],
    [
      "apisix:\n  node_listen: [{}]",
      "c.yaml:2:17 apisix.node_listen[0]: the key port is missing, expected a port (1..65535)",
    ],
    ["apisix: 5", "c.yaml:1:9 apisix: given 5, expected a map"],
    ["- 1", "c.yaml:1:1 given a list, expected a map of sections"],
    ["apisix:\n  enable_admin: 1", "c.yaml:2:17 apisix.enable_admin: given 1, expected true or false"],
    [
      "cardea: { http: { header_timeout: 0 } }",
      "c.yaml:1:35 cardea.http.header_timeout: given 0, expected a duration (seconds, or with ms, s, m, h, d) from 1ms to 1d",
    ],
    ["cardea: { http: { max_headers: .nan } }", /max_headers: given null, expected a whole number/],
    [
      "cardea: { groups: [{ name: default, workers: 1, listen: [{ port: 1 }] }] }",
      /groups\[0\]\.name: given "default", expected a name/,
    ],
    [
      "cardea: { supervision: { heartbeat: 10s } }",
      /stale_after: given 10000 ms, expected at least twice the heartbeat/,
    ],
    [
      "deployment: { role: standalone }",
      'c.yaml:1:21 deployment.role: given "standalone", expected one of traditional, control_plane, data_plane',
    ],
    [
      "deployment: { role: data_plane }",
      "c.yaml:1:13 deployment.role_data_plane.config_provider: given nothing, expected etcd, yaml or json",
    ],
    [
      "deployment: { role: data_plane, role_data_plane: { config_provider: xds } }",
      /config_provider: given "xds", expected one of etcd, yaml, json/,
    ],
    [
      "cardea: { store: { file: a.yaml } }",
      /store\.file: given a file, expected it where config_provider is/,
    ],
    [
      "deployment: { role_traditional: { config_provider: yaml } }\ncardea: { store: { file: a.yaml } }",
      /store\.file: given a file, expected it with .*data_plane only: here the Admin API brings/,
    ],
    [
      "deployment: { role_traditional: { config_provider: xds } }",
      /config_provider: given "xds", expected one of etcd, yaml/,
    ],
    ["deployment: { admin: { https_admin: true } }", /https_admin: given true, expected false/],
    [
      "deployment: { admin: { allow_admin: [] } }",
      /allow_admin: given an empty list, expected .*0\.0\.0\.0\/0/,
    ],
    [
      "deployment: { admin: { allow_admin: [10.0.0.0/33] } }",
      /allow_admin\[0\]: given "10\.0\.0\.0\/33", expected an IP address or CIDR/,
    ],
    [
      "deployment: { admin: { admin_key: [{ key: abcdefghijklmnopq, scope: {} }] } }",
      /admin_key\[0\]\.scope: given no limit, expected one/,
    ],
    [
      "deployment: { admin: { admin_key: [{ key: abcdefghijklmnopq, scope: { resources: [route] } }] } }",
      /scope\.resources\[0\]: given "route", expected one of .*routes/,
    ],
    [
      "apisix: { data_encryption: { keyring: [short-canary] } }",
      /keyring\[0\]: given a value of type string, expected a key of 16 or 32 printable characters$/,
    ],
    ["apisix: { proxy_mode: tcp }", /proxy_mode: given "tcp"/],
    [
      "apisix: { node_listen: 9180 }",
      /deployment\.admin\.admin_listen\.port: given 127\.0\.0\.1:9180 for admin, expected a port that is free; 0\.0\.0\.0:9180 for http takes it/,
    ],
    [
      "plugin_attr: { prometheus: { default_buckets: [2, 1] } }",
      /default_buckets: expected each bound to be greater/,
    ],
    ["a: 1\na: 2", /^c\.yaml:2:1 not valid YAML or JSON: Map keys must be unique/],
    ["apisix:\n\tnode_listen: 1", /^c\.yaml:2:1 not valid YAML or JSON: Tabs are not allowed/],
    ["apisix: [", /^c\.yaml:1:\d+ not valid YAML or JSON: /],
    ["__proto__: { a: 1 }", "c.yaml:1:1 __proto__: this key is never allowed"],
    ["plugin_attr:\n  x: { __proto__: { a: 1 } }", "c.yaml:2:8 __proto__: this key is never allowed"],
    ["? [a]\n: 1", /a key must be plain text/],
  ];
  for (const [text, message] of cases) {
    test(text.replaceAll("\n", "⏎"), () => {
      if (typeof message === "string") assert.equal(fault(text), message);
      else assert.match(fault(text), message);
    });
  }

  test("all mistakes at once, in the order of the file", () => {
    const lines = fault("cardae: 1\napisix:\n  node_listen: x\nplugins: 3").split("\n");
    assert.deepEqual(
      lines.map((line) => line.split(":")[1]),
      ["1", "3", "4"],
    );
  });

  test("a bomb of aliases is refused and not expanded", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(", ")}]`,
    );
    assert.match(fault(`plugin_attr: {}\na0: &a0 [x]\n${levels.join("\n")}`), /Excessive alias count/);
  });

  test("a file of endless brackets is refused", () => {
    assert.match(fault("[".repeat(20_000)), /^c\.yaml/);
    assert.match(fault(" ".repeat(1_048_577)), /has more than 1048576 bytes/);
  });
});

describe("environment variables", () => {
  test("stand in values and keys, several in one text, and become numbers and booleans", () => {
    const env = { PORT: "8081", KEY: "enable_admin", NO: "false", HOST: "h" };
    assert.equal(config("apisix: { node_listen: '${{PORT}}' }", env).listeners[0].port, 8081);
    assert.equal(config('apisix:\n  "${{KEY}}": ${{ NO }}', env).admin.enabled, false);
    const attributes = config("plugin_attr: { x: { a: 'http://${{HOST}}:${{PORT}}/' } }", env).plugins
      .attributes;
    assert.deepEqual(attributes.x, { a: "http://h:8081/" });
  });

  test("have defaults, which a set variable overrides", () => {
    const text = "apisix:\n  node_listen: ${{PORT:=8082}}";
    assert.equal(config(text).listeners[0].port, 8082);
    assert.equal(config(text, { PORT: "8083" }).listeners[0].port, 8083);
  });

  test("stay text where text is expected", () => {
    const text = "deployment:\n  admin:\n    admin_key:\n      - key: ${{K}}";
    assert.equal(config(text, { K: "12345678901234567" }).admin.keys[0].key, "12345678901234567");
  });

  test("that are not set are an error that names them", () => {
    const message = fault("apisix:\n  node_listen: ${{PORT}}\n  enable_admin: ${{OTHER}}");
    assert.match(message, /^c\.yaml:2:16 the environment variable PORT is not set/);
    assert.match(message, /\nc\.yaml:3:17 the environment variable OTHER is not set/);
  });

  test("cannot bring a forbidden or a second key", () => {
    assert.match(fault('plugin_attr: { "${{K}}": {} }', { K: "__proto__" }), /never allowed/);
    assert.match(fault('plugin_attr: { a: {}, "${{K}}": {} }', { K: "a" }), /a: the key is given twice/);
  });
});

describe("an admin key", () => {
  for (const key of ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2"]) {
    test(`that APISIX's documentation prints (${key.slice(0, 4)}...) is refused where other machines reach the Admin API, else warned of`, () => {
      const open = "deployment:\n  admin:\n    admin_listen: { ip: 0.0.0.0 }\n    admin_key:";
      const inFile = fault(`${open}\n      - key: ${key}`);
      assert.match(
        inFile,
        /c\.yaml:5:14 deployment\.admin\.admin_key\[0\]\.key: given the key that APISIX's documentation prints/,
      );
      assert.match(
        fault(`${open} []`, { CARDEA_ADMIN_KEY: key }),
        /^c\.yaml CARDEA_ADMIN_KEY: given the key/,
      );
      const local = `deployment: { admin: { admin_key: [{ key: ${key} }] } }`;
      assert.equal(config(local).admin.keys[0].key, key);
      assert.match(warnings(local).join(), /an admin key is the one that APISIX's documentation prints/);
      assert.ok(!inFile.includes(key));
    });
  }

  test("from the environment replaces those with the role admin", () => {
    const text =
      "deployment: { admin: { admin_key: [{ key: file-key-file-key }, { name: v, key: view-key-view-key, role: viewer }] } }";
    assert.deepEqual(config(text, { CARDEA_ADMIN_KEY: "env-key-env-key-env" }).admin.keys, [
      { name: "admin", key: "env-key-env-key-env", role: "admin", scope: null },
      { name: "v", key: "view-key-view-key", role: "viewer", scope: null },
    ]);
  });

  test("is never shown in a message", () => {
    assert.ok(!fault("deployment: { admin: { admin_key: [{ key: 98765432 }] } }").includes("98765432"));
  });

  test("that is short or missing brings a warning", () => {
    assert.match(
      warnings("apisix: { data_encryption: { keyring: [qeddd145sfvddff3] } }").join(),
      /decrypts, and does not encrypt/,
    );
    assert.match(warnings("deployment: { admin: { admin_key: [{ key: abc }] } }").join(), /fewer than 16/);
    assert.match(
      warnings("deployment: { admin: { admin_key_required: false } }").join(),
      /may change everything/,
    );
  });
});

describe("keys without effect", () => {
  test("are named in one warning", () => {
    assert.deepEqual(
      warnings(
        "apisix: { tracing: true, ssl: { listen: [{ enable_http3: true }] } }\nnginx_config: { user: root }",
      ),
      [
        "keys of APISIX that have no effect yet: apisix.tracing, apisix.ssl.listen[0].enable_http3, nginx_config.user",
      ],
    );
  });

  test("that mean an etcd in its former place say where it belongs", () => {
    assert.deepEqual(warnings("apisix: {}\netcd: { host: ['http://127.0.0.1:2379'] }"), [
      "etcd (line 2) is not used: the place of an etcd is deployment.etcd",
    ]);
  });
});

test("whatever the file holds, the answer is a configuration or a ConfigError", () => {
  const keys = fc.constantFrom(
    "apisix",
    "nginx_config",
    "cardea",
    "http",
    "node_listen",
    "port",
    "ip",
    "admin",
    "deployment",
    "plugin_attr",
    "groups",
    "constructor",
    "toString",
    "x",
  );
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(null, true, 0, -1, 9080, 1e99, "", "10s", "${{A}}", "*"),
      fc.array(tie("value"), { maxLength: 3 }),
      tie("map"),
    ),
    map: fc.dictionary(keys, tie("value"), { maxKeys: 4 }),
  }));
  fc.assert(
    fc.property(
      fc.oneof(
        tree.map.map((value) => JSON.stringify(value)),
        fc.string(),
      ),
      (text) => {
        try {
          parseStaticConfig("c.yaml", text, {});
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("docs/configuration.md is what the schema gives (scripts/docs-config.ts writes it)", () => {
  const page = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
  assert.equal(page, configurationReference(FileSchema));
});
