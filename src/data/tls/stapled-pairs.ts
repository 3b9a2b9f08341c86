/**
 * The OCSP answers of a certificate resource on a worker: who is shown which.
 *
 * An answer belongs to one certificate, and OpenSSL takes it before it chooses among several. So where there are several
 * pairs, the choice is made here, from the hello, for those clients whose choice is certain: with TLS 1.3 a pair can be
 * used when the client lists the scheme of its key. Others choose as ever and get no answer.
 */

import { createPublicKey } from "node:crypto";
import type { TlsVersion } from "../../config/static-config.ts";
import type { PublishedSsl } from "../../model/published.ts";
import type { ClientHello } from "../../plugin/client-hello.ts";
import { resolveReference } from "../../lib/environment-reference.ts";

const STATUS_REQUEST = 5;
const TLS_1_3 = 0x0304;

/** Schemes of RFC 8446 4.2.3, by curve. */
const SCHEMES: Readonly<Record<string, number>> = {
  prime256v1: 0x0403,
  secp384r1: 0x0503,
  secp521r1: 0x0603,
};
const RSA_PSS_SHA256 = 0x0804;
const ED25519 = 0x0807;

interface Stapled {
  /** What a client must list to be able to use the pair with TLS 1.3; 0: not known. */
  readonly scheme: number;
  readonly response: Buffer | null;
  readonly untilMs: number;
}

export class StapledPairs {
  readonly #pairs: readonly Stapled[];

  private constructor(pairs: readonly Stapled[]) {
    this.#pairs = pairs;
  }

  /** Null: nothing to staple. */
  static of({ pairs, staples }: PublishedSsl): StapledPairs | null {
    if (staples === undefined || staples.every((staple) => staple === null)) return null;
    return new StapledPairs(
      pairs.map(({ cert }, i) => {
        const staple = staples[i];
        const response = staple === null ? null : Buffer.from(staple.response, "base64");
        const scheme = pairs.length === 1 ? 0 : schemeOf(cert);
        return { scheme, response, untilMs: staple === null ? 0 : staple.untilMs };
      }),
    );
  }

  /** Index of the pair that is shown with its answer; -1: no answer. Never one whose time is over. */
  choose(hello: ClientHello, versions: readonly TlsVersion[], nowMs: number): number {
    if (!hello.extensions.includes(STATUS_REQUEST)) return -1;
    const pairs = this.#pairs;
    if (pairs.length === 1) return isFresh(pairs[0], nowMs) ? 0 : -1;
    if (!versions.includes("TLSv1.3") || !hello.supportedVersions.includes(TLS_1_3)) return -1;
    let chosen = -1;
    for (let i = 0; i < pairs.length; i++) {
      const { scheme } = pairs[i];
      if (!hello.signatureAlgorithms.includes(scheme) || !isFresh(pairs[i], nowMs)) continue;
      if (scheme !== RSA_PSS_SHA256) return i;
      // The others cost less.
      chosen = i;
    }
    return chosen;
  }

  response(pair: number): Buffer {
    return this.#pairs[pair].response!;
  }
}

function isFresh({ response, untilMs }: Stapled, nowMs: number): boolean {
  return response !== null && nowMs < untilMs;
}

function schemeOf(cert: string): number {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey(resolveReference(cert) ?? "");
    if (asymmetricKeyType === "ed25519") return ED25519;
    if (asymmetricKeyType === "rsa") return RSA_PSS_SHA256;
    return SCHEMES[asymmetricKeyDetails?.namedCurve ?? ""] ?? 0;
  } catch {
    // The handshake that needs the pair says so.
    return 0;
  }
}
