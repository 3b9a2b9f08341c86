import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { silent } from "../../lib/silent-log.ts";
import { parseStaticConfig } from "../../config/load.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../model/certificate-kit.ts";
import type { PublishedSsl } from "../../model/published.ts";
import {
  ConfigurationReader,
  encodeConfiguration,
  type ItemBytes,
} from "../../shared/configuration-bytes.ts";
import { Certificates } from "./certificates.ts";

const REFERENCE = { cert: "$secret://vault/1/a/cert", key: "$secret://vault/1/a/key" };

function bytesOf(more: Partial<PublishedSsl>): ItemBytes {
  const ssl = { id: "1", type: "server", created: 1, enabled: true, names: ["a.com"], listen: [], ...more };
  const shared = encodeConfiguration([{ kind: "ssl", id: "1", value: JSON.stringify(ssl) }]);
  return new ConfigurationReader(shared).item(0).bytes!;
}

test("a pair that control no longer has serves on, with all that is new beside it", () => {
  const { config } = parseStaticConfig("(test)", "", {});
  const certificates = new Certificates(config.tls, null, silent);
  const pairs = [{ cert: CERTIFICATE, key: PRIVATE_KEY }];
  const canServe = (name: string): boolean =>
    certificates.contextOf(certificates.byName(name)!, ["TLSv1.3"], -1) !== null;
  const client = { ca: CERTIFICATE, depth: 0 };
  certificates.put("1", bytesOf({ pairs, client, supply: { origin: "x", isMissing: false } }));
  assert.ok(canServe("a.com"));
  for (let i = 0; i < 2; i++) {
    certificates.put(
      "1",
      bytesOf({
        pairs: [REFERENCE],
        names: ["b.com"],
        client: { ca: "$secret://vault/1/a/ca", depth: 0 },
        supply: { origin: "x", isMissing: true },
      }),
    );
    assert.equal(certificates.byName("a.com"), null);
    assert.ok(canServe("b.com"));
    const peer = new X509Certificate(CERTIFICATE);
    assert.ok(certificates.byName("b.com")!.mutual!.permitsChain(peer));
  }
  // From elsewhere, it is another.
  certificates.put("1", bytesOf({ pairs: [REFERENCE], supply: { origin: "y", isMissing: true } }));
  assert.ok(!canServe("a.com"));
});

test("what control closes has no handshake, and guards its names", () => {
  const { config } = parseStaticConfig("(test)", "", {});
  const certificates = new Certificates(config.tls, null, silent);
  const nothing = "$quarantine://1";
  const pairs = [{ cert: nothing, key: nothing }];
  certificates.put("1", bytesOf({ pairs, client: { ca: nothing, depth: 1 } }));
  const closed = certificates.byName("a.com")!;
  assert.equal(certificates.contextOf(closed, ["TLSv1.3"], -1), null);
  assert.equal(certificates.guardOf("a.com"), closed);
  assert.equal(closed.isOpen("/"), false);
  assert.equal(closed.mutual!.permitsChain(new X509Certificate(CERTIFICATE)), false);
});
