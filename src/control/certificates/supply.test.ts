import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test, type TestContext } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "../../model/certificate-kit.ts";
import type { Log } from "../../lib/log.ts";
import { silent } from "../../lib/silent-log.ts";
import type { PublishedSsl } from "../../model/published.ts";
import type { JsonObject } from "../../model/resource-type.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { CertificateSupply } from "./supply.ts";
import { VaultServer } from "./vault-kit.ts";

const PAIR = { cert: CERTIFICATE, key: PRIVATE_KEY };
const OTHER_KEY = generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey.export({
  type: "pkcs8",
  format: "pem",
}) as string;

interface Kit {
  supply: CertificateSupply;
  vault: VaultServer;
  secrets: Map<string, JsonObject>;
  warned: string[];
  /** The next warning that nobody has taken. */
  warning(): Promise<string>;
  /** What is published next. */
  next(): Promise<PublishedSsl>;
  published: PublishedSsl[];
}

async function kit(t: TestContext): Promise<Kit> {
  const vault = await VaultServer.start(t);
  const secrets = new Map<string, JsonObject>([
    ["vault/1", { uri: vault.uri, prefix: "kv/gateway", token: vault.token }],
    ["vault/2", { uri: `${vault.uri}/`, prefix: "/secret/data/gateway/", token: "$env://CARDEA_TEST_TOKEN" }],
  ]);
  process.env["CARDEA_TEST_TOKEN"] = vault.token;
  t.after(() => delete process.env["CARDEA_TEST_TOKEN"]);
  const warned: string[] = [];
  const untaken: string[] = [];
  let wakeReader = (): void => {};
  const warn = (message: string, fields?: object): void => {
    const line = `${message} ${JSON.stringify(fields)}`;
    warned.push(line);
    untaken.push(line);
    wakeReader();
  };
  const warning = async (): Promise<string> => {
    while (untaken.length === 0) {
      await new Promise<void>((resolve) => {
        wakeReader = resolve;
      });
    }
    return untaken.shift()!;
  };
  const log: Log = { ...silent, warn, error: warn };
  const supply = new CertificateSupply({ secretOf: (id) => secrets.get(id), log });
  t.after(() => supply.close());
  const published: PublishedSsl[] = [];
  const waiting: ((ssl: PublishedSsl) => void)[] = [];
  supply.connect(({ value }) => {
    const ssl = JSON.parse(value!) as PublishedSsl;
    const wake = waiting.shift();
    if (wake === undefined) published.push(ssl);
    else wake(ssl);
  });
  const next = () => {
    const first = published.shift();
    if (first !== undefined) return Promise.resolve(first);
    return new Promise<PublishedSsl>((resolve) => {
      waiting.push(resolve);
    });
  };
  return { supply, vault, secrets, warned, warning, next, published };
}

const item = (cert: string, key: string, more: Partial<PublishedSsl> = {}): ConfigurationItem => {
  const pairs = [{ cert, key }];
  const ssl = { id: "1", type: "server", created: 1, enabled: true, names: ["a.com"], listen: [], pairs };
  return { kind: "ssl", id: "1", value: JSON.stringify({ ...ssl, ...more }) };
};

const pairOf = (taken: ConfigurationItem | null) => (JSON.parse(taken!.value!) as PublishedSsl).pairs[0];

test("certificates and keys of a Vault are filled in, whichever version its engine has", async (t) => {
  const { supply, vault, next, warned } = await kit(t);
  vault.put("kv/gateway/tls/a", PAIR);
  vault.put("secret/gateway/tls", PAIR);
  for (const path of ["1/tls/a", "2/tls"]) {
    const taken = supply.take(item(`$secret://vault/${path}/cert`, `$secret://vault/${path}/key`));
    assert.equal(pairOf(taken).cert, `$secret://vault/${path}/cert`);
    assert.match(supply.objection()!, /vault\/\S+ has not answered yet/);
    const ssl = await next();
    assert.deepEqual(ssl.pairs, [PAIR]);
    assert.equal(ssl.supply?.isMissing, false);
    assert.equal(supply.objection(), null);
    assert.deepEqual(pairOf(supply.filled(item("", ""))), PAIR);
    supply.take({ kind: "ssl", id: "1", value: null });
  }
  assert.deepEqual(vault.asked, ["/v1/kv/gateway/tls/a", "/v1/secret/data/gateway/tls"]);
  assert.deepEqual(warned, []);
  assert.deepEqual(supply.families(), []);
});

test("what a Vault gave serves on while it is down, and follows it when it is back", async (t) => {
  const { supply, vault, next, warned, warning, published } = await kit(t);
  vault.put("kv/gateway/a", PAIR);
  vault.namespace = "team";
  const first = supply.take(item("$secret://vault/1/a/cert", "$secret://vault/1/a/key"));
  assert.match(first!.value!, /"isMissing":true/);
  assert.match(await warning(), /"source":"vault\/1\/a","reason":"127\.0\.0\.1:\d+: status 403"/);
  vault.namespace = null;
  await supply.secretsChanged();
  assert.deepEqual((await next()).pairs, [PAIR]);
  vault.isSealed = true;
  await supply.secretsChanged();
  assert.deepEqual(pairOf(supply.filled(item("", ""))), PAIR);
  // The same resource with another name is written while it is down.
  const renamed = item("$secret://vault/1/a/cert", "$secret://vault/1/a/key", { names: ["b.com"] });
  assert.deepEqual(pairOf(supply.take(renamed)), PAIR);
  vault.isSealed = false;
  vault.put("kv/gateway/a", { ...PAIR, key: OTHER_KEY });
  await supply.secretsChanged();
  assert.deepEqual(pairOf(supply.filled(item("", ""))), PAIR);
  assert.ok(warned.some((line) => line.startsWith("a certificate and a key from elsewhere cannot be used")));
  assert.deepEqual(published, []);
  for (const line of warned) assert.doesNotMatch(line, /BEGIN|root-token/);
  const [ages, failures] = supply.families(Date.now() + 5000);
  assert.deepEqual(ages.samples[0].labels, { type: "secret", source: "vault/1/a" });
  assert.ok(ages.samples[0].value >= 5 && ages.samples[0].value < 60);
  assert.equal(failures.samples[0].value, 2);
});

test("a resource that is changed to a reference stays as it was until there is a good answer", async (t) => {
  const { supply, vault, next, warning } = await kit(t);
  const plain = item(CERTIFICATE, PRIVATE_KEY);
  assert.equal(supply.take(plain), plain);
  const reference = ["$secret://vault/1/a/cert", "$secret://vault/1/a/key"] as const;
  assert.equal(supply.take(item(...reference)), null);
  assert.equal(supply.filled(item(...reference)).value, plain.value);
  assert.match(await warning(), /status 404/);
  assert.equal(supply.filled(item(...reference)).value, plain.value);
  vault.put("kv/gateway/a", PAIR);
  await supply.secretsChanged();
  const { pairs, supply: facts } = await next();
  assert.deepEqual(pairs, [PAIR]);
  assert.equal(facts?.isMissing, false);
  // Not where clients are asked for more than before.
  supply.take(plain);
  const guarded = supply.take(item(...reference, { client: { ca: CERTIFICATE, depth: 1 } }));
  assert.notEqual(guarded, null);
});

test("only what the node began with keeps it from traffic while it is slow", async (t) => {
  const { supply, vault, next } = await kit(t);
  vault.put("kv/gateway/a", PAIR);
  supply.take(item("$secret://vault/1/a/cert", "$secret://vault/1/a/key"));
  supply.loaded();
  assert.match(supply.objection()!, /vault\/1\/a has not answered yet/);
  await next();
  assert.equal(supply.objection(), null);
  // Whoever may write a certificate could name something slow again and again.
  supply.take(item("$secret://vault/1/b/cert", "$secret://vault/1/b/key"));
  supply.loaded();
  assert.equal(supply.objection(), null);
});

test("a secret that is no certificate is no authority either, and stays where it is", async (t) => {
  const { supply, vault, next } = await kit(t);
  vault.put("kv/gateway/a", PAIR);
  vault.put("kv/gateway/db", { password: "$ecret" });
  const client = { ca: "$secret://vault/1/db/password", depth: 1 };
  supply.take(item("$secret://vault/1/a/cert", "$secret://vault/1/a/key", { client }));
  await vault.answered(2);
  while (supply.objection() !== null) await new Promise((resolve) => setImmediate(resolve));
  const published = supply.filled(item("", "")).value!;
  assert.doesNotMatch(published, /\$ecret"/);
  assert.equal((JSON.parse(published) as PublishedSsl).client!.ca, client.ca);
  assert.deepEqual((await next()).pairs, [PAIR]);
  vault.put("kv/gateway/db", { password: CERTIFICATE });
  await supply.secretsChanged();
  assert.equal((await next()).client!.ca, CERTIFICATE);
  vault.put("kv/gateway/db", { password: "lost" });
  await supply.secretsChanged();
  assert.equal((JSON.parse(supply.filled(item("", "")).value!) as PublishedSsl).client!.ca, CERTIFICATE);
});

test("references that lead nowhere are told and change nothing else", async (t) => {
  const { supply, vault, secrets, warning, published } = await kit(t);
  secrets.set("aws/1", {});
  secrets.set("vault/3", { uri: vault.uri, prefix: "kv", token: "$env://CARDEA_NO_SUCH" });
  secrets.set("vault/4", { uri: vault.uri, prefix: "kv/../../sys", token: "x" });
  vault.put("kv/gateway/a", { cert: 1 });
  for (const [text, reason] of [
    ["$secret://vault/9/a/cert", /there is no secret vault\/9/],
    ["$secret://aws/1/a/cert", /vault alone/],
    [
      "$secret://vault/3/a/cert",
      /the token of vault\/3 is given as \$env:\/\/CARDEA_NO_SUCH, which has no value here/,
    ],
    ["$secret://vault/4/a/cert", /leads upwards/],
    ["$secret://vault/1/b/cert", /status 404/],
    // A URL takes a backslash for a slash and leaves out tabs; a server decodes what it gets.
    ["$secret://vault/1/..\\..\\..\\sys/cert", /leads upwards/],
    ["$secret://vault/1/.\t./.\t./sys/cert", /leads upwards/],
    ["$secret://vault/1/..%2F..%2fsys/cert", /leads upwards/],
  ] as const) {
    supply.take(item(text, text));
    assert.match(await warning(), reason);
    supply.take({ kind: "ssl", id: "1", value: null });
  }
  supply.take(item("$secret://vault/1/a/cert", "$secret://vault/1/a/none"));
  await vault.answered(2);
  assert.ok(vault.asked.every((path) => path.startsWith("/v1/kv/gateway/")));
  supply.take(item("$env://CARDEA_NO_SUCH", "$secret://vault"));
  assert.equal(supply.objection(), null);
  assert.deepEqual(published, []);
});

test("sources that look alike are one series, and a failure says whom it is about", async (t) => {
  const { supply, warning } = await kit(t);
  const source = { url: "https://127.0.0.1:1/pair", refresh_s: 10 };
  const take = (id: string, more: object): unknown =>
    supply.take({
      ...item("$source://1", "$source://1", { source: { ...source, ...more } }),
      id,
    });
  take("1", {});
  take("2", { ca: CERTIFICATE });
  const lines = [await warning(), await warning()];
  assert.match(lines[0], /"ssls":\["1"\],"meanwhile":"it has given nothing yet"/);
  assert.match(lines[1], /"ssls":\["2"\]/);
  const [failures] = supply.families();
  assert.equal(failures.name, "ssl_source_failures_total");
  assert.equal(failures.samples.length, 1);
  assert.ok(failures.samples[0].value >= 2);
});
