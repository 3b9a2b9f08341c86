import assert from "node:assert/strict";
import { test } from "node:test";
import { CERTIFICATE, PRIVATE_KEY } from "../../model/certificate-kit.ts";
import type { PublishedSsl, Staple } from "../../model/published.ts";
import type { ClientHello } from "../../plugin/client-hello.ts";
import { StapledPairs } from "./stapled-pairs.ts";

const BOTH = ["TLSv1.2", "TLSv1.3"] as const;

const ssl = (...staples: (Staple | null)[]): PublishedSsl => ({
  id: "1",
  type: "server",
  created: 1,
  enabled: true,
  names: ["a.com"],
  listen: [],
  pairs: staples.map(() => ({ cert: CERTIFICATE, key: PRIVATE_KEY })),
  staples,
});

const hello = (more: Partial<ClientHello> = {}): ClientHello =>
  ({ extensions: [5], supportedVersions: [0x0304], signatureAlgorithms: [0x0403], ...more }) as ClientHello;

test("an OCSP answer is shown to who asks for one, and never when its time is over", () => {
  const pairs = StapledPairs.of(ssl({ response: "AAEC", untilMs: 1000 }))!;
  assert.equal(pairs.choose(hello(), BOTH, 999), 0);
  assert.deepEqual(pairs.response(0), Buffer.from([0, 1, 2]));
  assert.equal(pairs.choose(hello({ supportedVersions: [] }), BOTH, 999), 0);
  assert.equal(pairs.choose(hello(), BOTH, 1000), -1);
  assert.equal(pairs.choose(hello({ extensions: [0, 10] }), BOTH, 999), -1);
  assert.equal(StapledPairs.of(ssl(null)), null);
});

test("of several pairs one is shown with its answer when the client is sure to be able to use it", () => {
  const pairs = StapledPairs.of(ssl(null, { response: "AAEC", untilMs: 1000 }))!;
  assert.equal(pairs.choose(hello(), BOTH, 999), 1);
  assert.equal(pairs.choose(hello(), BOTH, 1000), -1);
  assert.equal(pairs.choose(hello({ signatureAlgorithms: [0x0503, 0x0804] }), BOTH, 999), -1);
  assert.equal(pairs.choose(hello({ supportedVersions: [0x0303] }), BOTH, 999), -1);
  assert.equal(pairs.choose(hello(), ["TLSv1.2"], 999), -1);
});
