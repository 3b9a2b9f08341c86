import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { CERTIFICATE } from "../../model/certificate-kit.ts";
import type { StateEntry } from "../state.ts";
import { CertificateExpiry } from "./expiry.ts";

const entry = (id: string, cert: string | null): StateEntry =>
  ({
    id,
    published: cert === null ? null : JSON.stringify({ names: ["a.com"], pairs: [{ cert, key: "" }] }),
  }) as StateEntry;

test("the metrics page tells how long certificates hold, as far as they are known", () => {
  const expiry = new CertificateExpiry();
  const endsAtMs = Date.parse(new X509Certificate(CERTIFICATE).validTo);
  const all = [entry("1", CERTIFICATE), entry("2", "$env://CERT"), entry("3", null)];
  const values = (nowMs: number) =>
    expiry.families({ list: () => all }, nowMs).flatMap(({ samples }) => samples);
  assert.deepEqual(values(endsAtMs - 60_000), [{ labels: { ssl: "1", sni: "a.com" }, value: 60 }]);
  assert.equal(values(endsAtMs + 1000)[0].value, -1);
  all.shift();
  assert.deepEqual(expiry.families({ list: () => all }, 0), []);
});
