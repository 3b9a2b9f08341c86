/**
 * What a certificate resource asks of clients: who must have signed their certificates, over how many intermediate ones,
 * and which paths need none.
 */

import { X509Certificate } from "node:crypto";
import { resolveReference } from "../../lib/environment-reference.ts";
import { compilePattern, type Pattern } from "../../lib/pattern.ts";
import type { PublishedSsl } from "../../model/published.ts";

/** Certificates that a client sends along and that are looked at. */
const MAX_SENT = 16;
const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

export class MutualRules {
  /** Paths that need no certificate; null: all need one, and the handshake fails without. */
  readonly openPaths: readonly Pattern[] | null;
  /** Most intermediate certificates between that of the client and an authority. */
  readonly #depth: number;
  readonly #bundle: () => string;
  #authorities: readonly X509Certificate[] | null = null;

  /** `bundle` gives the authorities as PEM, or a reference to them. */
  constructor(
    { depth, skip_mtls_uri_regex: skip }: NonNullable<PublishedSsl["client"]>,
    bundle: () => string,
  ) {
    this.#depth = depth;
    this.#bundle = bundle;
    this.openPaths = skip === undefined ? null : skip.map((pattern) => compilePattern(pattern));
  }

  /**
   * Whether the certificate of a client that OpenSSL has verified comes from an authority over few enough others. Each
   * step is verified here, since what the client sent along need not be what OpenSSL went by.
   */
  permitsChain(peer: X509Certificate): boolean {
    let current: X509Certificate = peer;
    let sent: X509Certificate[] | null = null;
    for (let depth = 0; ; depth++) {
      if (this.#isFromAuthority(current)) return true;
      if (depth === this.#depth) return false;
      sent ??= sentAlong(peer);
      const issuer = sent.find((each) => isIssuedBy(current, each));
      if (issuer === undefined || depth === sent.length) return false;
      current = issuer;
    }
  }

  #isFromAuthority(certificate: X509Certificate): boolean {
    this.#authorities ??= ((resolveReference(this.#bundle()) ?? "").match(PEM) ?? []).flatMap(readable);
    return this.#authorities.some((authority) => isIssuedBy(certificate, authority));
  }
}

/** In their order; a server of Node.js finds them linked like a chain, whatever they are. */
function sentAlong(peer: X509Certificate): X509Certificate[] {
  const sent: X509Certificate[] = [];
  for (let each = peer.issuerCertificate; each !== undefined; each = each.issuerCertificate) {
    if (sent.push(each) === MAX_SENT) break;
  }
  return sent;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** None: it can have signed nobody's certificate. Without it the rest still guards. */
function readable(pem: string): X509Certificate[] {
  try {
    return [new X509Certificate(pem)];
  } catch {
    return [];
  }
}
