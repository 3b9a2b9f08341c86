import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { describe, test } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "./certificate-kit.ts";
import type { PublishedSsl } from "./published.ts";
import type { JsonObject } from "./resource-type.ts";
import { sslType } from "./ssl.ts";
import { validateResource } from "./validate.ts";

const plugins = { get: () => undefined };
const pair = { cert: CERTIFICATE, key: PRIVATE_KEY };

function fault(value: JsonObject): string | null {
  const error = validateResource(sslType, value, { plugins }, "1");
  return error === null ? null : `${error.pointer}: ${error.message}`;
}

function published(value: JsonObject): PublishedSsl {
  assert.equal(fault(value), null);
  return sslType.normalize!("1", value, plugins, 7);
}

describe("a certificate", () => {
  test("with the key of another one is refused", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const key = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    assert.equal(fault({ sni: "a.com", ...pair, key }), "/key: the key does not belong to the cert");
    assert.equal(
      fault({ sni: "a.com", ...pair, certs: [CERTIFICATE], keys: [key] }),
      "/certs/0: failed to handle cert-key pair[1]: the key does not belong to the cert",
    );
  });

  test("that cannot be read is refused with the mistake that people make, where it shows", () => {
    const encrypted = createPrivateKey(PRIVATE_KEY).export({
      type: "pkcs8",
      format: "pem",
      cipher: "aes-128-cbc",
      passphrase: "secret",
    }) as string;
    for (const [value, expected] of [
      [{ cert: PRIVATE_KEY, key: CERTIFICATE }, /^\/cert: failed .* failed: a private key is given/],
      [{ cert: CERTIFICATE, key: CERTIFICATE }, /^\/key: failed .* failed: a certificate is given/],
      [{ cert: CERTIFICATE, key: encrypted }, /^\/key: failed .* failed: it is encrypted/],
      [{ ...pair, cert: CERTIFICATE.replaceAll("\n", "\\n") }, /^\/cert: failed .* failed: its line ends/],
      [{ ...pair, cert: CERTIFICATE.replace("MII", "MIX") }, /^\/cert: failed .* failed$/],
    ] as const)
      assert.match(fault({ sni: "a.com", ...value })!, expected);
  });

  test("may stand for listeners alone, and not for nothing", () => {
    const { names, listen } = published({ ...pair, listen: [{ port: 9443 }, { ip: "::1", port: 9444 }] });
    assert.deepEqual(names, []);
    assert.deepEqual(listen, [{ port: 9443 }, { ip: "::1", port: 9444 }]);
    assert.match(fault({ ...pair })!, /then clause did not match/);
    assert.match(fault({ ...pair, listen: [{ ip: "::1" }] })!, /port/);
    assert.equal(
      fault({ ...pair, listen: [{ port: 1 }, { ip: "10.1.1.300", port: 1 }] }),
      '/listen/1/ip: listen: item 2: ip: given "10.1.1.300", expected an IP address',
    );
    assert.equal(fault({ ...pair, sni: "a.com", listen: [{ port: 1 }] }), null);
  });

  test("asks for client certificates except below paths whose patterns can be used", () => {
    const client = { ca: CERTIFICATE, skip_mtls_uri_regex: ["^/open"] };
    assert.deepEqual(published({ sni: "a.com", ...pair, client }).client, { depth: 1, ...client });
    assert.match(
      fault({ sni: "a.com", ...pair, client: { ...client, skip_mtls_uri_regex: ["("] } })!,
      /^\/client\/skip_mtls_uri_regex\/0: invalid regular expression "\(": /,
    );
  });
});

test("workers get names, pairs and versions in one spelling", () => {
  const { id, created, enabled, names, pairs, versions } = published({
    snis: ["A.com.", "*.B.com"],
    ...pair,
    certs: ["$env://CERT"],
    keys: ["$env://KEY"],
    ssl_protocols: ["TLSv1.3", "TLSv1.2"],
    status: 0,
  });
  assert.deepEqual([id, created, enabled], ["1", 7, false]);
  assert.deepEqual(names, ["a.com", "*.b.com"]);
  assert.deepEqual(pairs, [pair, { cert: "$env://CERT", key: "$env://KEY" }]);
  assert.deepEqual(versions, ["TLSv1.2", "TLSv1.3"]);

  test("may stand on a server instead, which is named whole and safely", () => {
    const url = "https://keys.example:8443/a.com?x=1";
    const { pairs, source } = published({ sni: "a.com", source: { url } });
    assert.deepEqual(pairs, [{ cert: "$source://1", key: "$source://1" }]);
    assert.deepEqual(source, { url, refresh_s: 300 });
    const own = { client_cert: CERTIFICATE, client_key: PRIVATE_KEY, ca: CERTIFICATE };
    assert.equal(fault({ listen: [{ port: 1 }], source: { url, ...own, refresh_s: 10 } }), null);
    assert.equal(
      fault({ sni: "a.com", source: { url, client_cert: "$env://A", client_key: "$env://B" } }),
      null,
    );
    for (const [value, expected] of [
      [{ sni: "a.com", source: { url: "http://keys.example/" } }, /^\/source\/url: /],
      [{ sni: "a.com", source: { url: "https://user:password@keys.example/" } }, /^\/source\/url: /],
      [{ sni: "a.com", source: { url: "https://keys.example:99999/" } }, /^\/source\/url: /],
      [{ sni: "a.com", ...pair, source: { url } }, /^\/source: either source or cert/],
      [{ source: { url } }, /./],
      [{ type: "client", ...pair, source: { url } }, /^\/source: .*type server/],
      [{ sni: "a.com", source: { url, client_cert: CERTIFICATE } }, /^\/source: .*belong together/],
      [
        { sni: "a.com", source: { url, client_cert: "$secret://vault/1/a/b", client_key: "$env://A" } },
        /not$/,
      ],
      [
        { sni: "a.com", source: { url, ...own, client_key: "x".repeat(64) } },
        /^\/source\/client_key: source: /,
      ],
      [{ sni: "a.com", source: { url, ca: "x".repeat(128) } }, /^\/source\/ca: source\.ca: /],
      [{ sni: "a.com", source: { url, refresh_s: 1 } }, /^\/source\/refresh_s: /],
    ] as const)
      assert.match(fault(value) ?? "", expected, JSON.stringify(value).slice(0, 80));
  });
});
