/**
 * A certificate with its key from an HTTPS server (`source` of `ssls`), which may ask for a certificate of the gateway. The
 * answer is JSON with `cert` and `key`, or PEM with both; it is taken when they can be read and belong together.
 */

import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { resolveReference } from "../../lib/environment-reference.ts";
import type { PublishedSsl } from "../../model/published.ts";
import type { RegistryClient } from "../discovery/registry-client.ts";
import type { FetchPlan } from "./fetched-values.ts";

export type CertificateSource = NonNullable<PublishedSsl["source"]>;

const MAX_ANSWER_BYTES = 1024 ** 2;
const TIMEOUTS = { connectMs: 5000, readMs: 5000 };
const LEAST_PAUSE_MS = 5000;
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[^-]+-----END \1-----/;

export interface RemoteSources {
  client: RegistryClient;
  authorities(): string[];
  isOwn(url: URL): boolean;
}

/** The value that is fetched is `{ cert, key }` as JSON. */
export function remotePlan(source: CertificateSource, sources: RemoteSources): FetchPlan {
  const url = new URL(source.url);
  return {
    key: `remote ${createHash("sha256").update(JSON.stringify(source)).digest("hex")}`,
    type: "remote",
    shown: `${url.origin}${url.pathname}`,
    async fetch(signal) {
      if (sources.isOwn(url)) throw new Error(`${url.host} is a listener of this node`);
      const { client_cert: cert, client_key: key, ca, refresh_s: refreshS } = source;
      const { body } = await sources.client.ask({
        url,
        headers: { accept: "application/json, application/x-pem-file;q=0.9" },
        ca: ca === undefined ? sources.authorities() : resolved(ca, "ca"),
        ...(cert !== undefined &&
          key !== undefined && {
            client: { cert: resolved(cert, "client_cert"), key: resolved(key, "client_key") },
          }),
        timeouts: TIMEOUTS,
        maxBytes: MAX_ANSWER_BYTES,
        signal,
      });
      const pair = pairIn(body);
      if (pair === null) {
        throw new Error(`${url.host}: an answer that is neither JSON with cert and key nor PEM with both`);
      }
      if (!isPair(pair.cert, pair.key))
        throw new Error(`${url.host}: a cert and a key that cannot be read, or do not belong together`);
      const leftMs = Date.parse(new X509Certificate(pair.cert).validTo) - Date.now();
      const pauseMs = Math.min(refreshS * 1000, Math.max(leftMs / 2, LEAST_PAUSE_MS));
      return { value: JSON.stringify(pair), pauseMs };
    },
  };
}

/** Whether both can be read and belong together. */
export function isPair(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    // OpenSSL's reasons say nothing, and no part of a key may reach a log.
    return false;
  }
}

/** Anything else must not reach workers, which name what leads nowhere. */
export function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0;
  } catch {
    // As above.
    return false;
  }
}

function resolved(text: string, field: string): string {
  const value = resolveReference(text);
  if (value === undefined) throw new Error(`source.${field}: given ${text}, which has no value here`);
  return value;
}

function pairIn(body: string): { cert: string; key: string } | null {
  if (!body.trimStart().startsWith("{")) {
    const cert = body.match(CERTIFICATES)?.join("\n");
    const key = KEY.exec(body)?.[0];
    return cert === undefined || key === undefined ? null : { cert, key };
  }
  let value: { cert?: unknown; key?: unknown };
  try {
    value = JSON.parse(body) as typeof value;
  } catch {
    return null;
  }
  const { cert, key } = value;
  return typeof cert === "string" && typeof key === "string" ? { cert, key } : null;
}
