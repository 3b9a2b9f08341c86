import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigError } from "./config-error.ts";
import { parseStaticConfig } from "./load.ts";

const KEYRING = "apisix: { data_encryption: { keyring: [a-key-of-our-own, qeddd145sfvddff3] } }\n";

const read = (text: string) => parseStaticConfig("/etc/cardea/config.yaml", text, {});

function fault(text: string): string {
  let message = "(it was accepted)";
  assert.throws(
    () => read(text),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError);
      message = error.message;
      return true;
    },
  );
  return message;
}

describe("an etcd is the store", () => {
  test("of a traditional node whose file has a section for it", () => {
    const { store } = read(
      `${KEYRING}deployment: { etcd: { host: ["http://10.0.0.1:2379/"], prefix: /gateway/ } }`,
    ).config;
    assert.deepEqual(store, {
      type: "etcd",
      endpoints: ["http://10.0.0.1:2379"],
      prefix: "/gateway",
      timeoutMs: 30_000,
      avoidFailedMs: 10_000,
      longestPauseMs: 5000,
      user: null,
      tls: null,
      historyRevisions: 10_000,
      historyDays: 30,
    });
    const asApisixSays = "deployment: { role_traditional: { config_provider: etcd } }";
    assert.equal(read(asApisixSays).config.store.type, "embedded");
  });

  test("of the other roles that read one, with APISIX's defaults", () => {
    const dataPlane = "deployment: { role: data_plane, role_data_plane: { config_provider: etcd } }";
    const { store } = read(dataPlane).config;
    assert.ok(store.type === "etcd");
    assert.deepEqual([store.endpoints, store.prefix], [["http://127.0.0.1:2379"], "/apisix"]);
    assert.equal(read(`${KEYRING}deployment: { role: control_plane }`).config.store.type, "etcd");
  });

  test("with TLS, whose files are named relative to the static file", () => {
    const text = `deployment: { etcd: { host: ["https://e:2379"], user: u, password: p,
      tls: { ca: ca.pem, cert: /c.pem, key: k.pem, sni: etcd.internal } } }`;
    const { store } = read(KEYRING + text).config;
    assert.ok(store.type === "etcd");
    assert.deepEqual(store.user, { name: "u", password: "p" });
    assert.deepEqual(store.tls, {
      caFile: "/etc/cardea/ca.pem",
      certificateFile: "/c.pem",
      keyFile: "/etc/cardea/k.pem",
      serverName: "etcd.internal",
      isVerified: true,
    });
  });
});

describe("an etcd that cannot be used as it is written is refused:", () => {
  const cases: [etcd: string, message: RegExp][] = [
    ["{ host: [127.0.0.1:2379] }", /host\[0\]: given "127\.0\.0\.1:2379", expected http:\/\/host:port/],
    ["{ host: ['http://u:p@e:2379'] }", /host\[0\]: .*expected http/],
    ["{ host: ['http://a:1', 'https://b:1'] }", /host: given https and http/],
    ["{ prefix: / }", /prefix: given "\/", expected a prefix/],
    ["{ tls: { cert: a.pem } }", /tls: given one of cert and key/],
    ["{ user: a }", /given one of user and password/],
    ["{ hosts: [] }", /unknown key "hosts"; did you mean host\?/],
  ];
  for (const [etcd, message] of cases) {
    test(etcd, () => assert.match(fault(`${KEYRING}deployment: { etcd: ${etcd} }`), message));
  }

  test("no secret key that the nodes share, where this one writes, is told", () => {
    const etcd = "deployment: { etcd: {} }";
    const told = (text: string) => read(text).warnings.some((line) => /keyring has no secret key/.test(line));
    assert.equal(told(etcd), true);
    const apisix = "apisix: { data_encryption: { keyring: [qeddd145sfvddff3] } }\n";
    assert.equal(told(apisix + etcd), true);
    assert.equal(told(KEYRING + etcd), false);
    const dataPlane =
      "deployment: { role: data_plane, role_data_plane: { config_provider: etcd }, etcd: {} }";
    assert.equal(told(dataPlane), false);
  });
});

test("a section that is not used is told", () => {
  const text =
    "deployment: { role: data_plane, role_data_plane: { config_provider: yaml }, etcd: { host: ['http://e:1'] } }";
  assert.ok(read(text).warnings.some((line) => line.startsWith("deployment.etcd is not used")));
  assert.ok(
    read("etcd: { host: ['http://e:1'] }").warnings[0].includes("the place of an etcd is deployment.etcd"),
  );
});

test("a file of TLS that cannot be read is told, with the key that names it", () => {
  const etcd = "deployment: { etcd: { host: ['https://e:1'], tls: { ca: nowhere.pem } } }";
  const { warnings } = read(KEYRING + etcd);
  assert.ok(
    warnings.some((line) => /deployment\.etcd\.tls\.ca: the file .*nowhere\.pem cannot be read/.test(line)),
  );
});
