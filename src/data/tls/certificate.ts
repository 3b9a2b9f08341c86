/**
 * One `ssls` resource on a worker: for which names and listeners it stands, what it asks of clients, and OpenSSL's
 * contexts for it, made when a handshake first needs them (about a millisecond each).
 *
 * It keeps the bytes that all workers share, and no PEM of its own beside the contexts.
 */

import { constants, createHash, X509Certificate } from "node:crypto";
import type { SecureContext, SecureVersion } from "node:tls";
import type { TlsConfig, TlsVersion } from "../../config/static-config.ts";
import type { PublishedSsl } from "../../model/published.ts";
import type { ClientHello } from "../../plugin/client-hello.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";
import { MutualRules } from "./mutual-rules.ts";
import { StapledPairs } from "./stapled-pairs.ts";
import { resolveReference } from "../../lib/environment-reference.ts";

const FORBIDDING: Readonly<Record<TlsVersion, number>> = {
  "TLSv1.1": constants.SSL_OP_NO_TLSv1_1,
  "TLSv1.2": constants.SSL_OP_NO_TLSv1_2,
  "TLSv1.3": constants.SSL_OP_NO_TLSv1_3,
};

/**
 * OpenSSL's own groups without those of finite fields: ffdhe2048 is worth 112 bits. From 3.5 on they are ranked (`/`), the one
 * that a quantum computer does not break first; before, unknown names are errors.
 */
const GROUPS = /^3\.[0-4]\./.test(process.versions.openssl)
  ? "X25519:P-256:X448:P-384:P-521"
  : "?X25519MLKEM768 / ?X25519:?secp256r1 / ?X448:?secp384r1:?secp521r1";

export class Certificate {
  readonly id: string;
  readonly created: number;
  readonly isServer: boolean;
  readonly names: readonly string[];
  readonly listen: PublishedSsl["listen"];
  readonly versions: readonly TlsVersion[] | null;
  readonly mutual: MutualRules | null;
  readonly #stapled: StapledPairs | null;
  readonly #bytes: ItemBytes;
  /** Where the pairs stand: its own bytes, or earlier ones when their source does not answer control. */
  readonly #pairBytes: ItemBytes;
  readonly #origin: string | null;
  #fresh: readonly X509Certificate[] = [];
  readonly #contexts = new Map<string, SecureContext>();

  /** `former`: what it takes the place of. */
  constructor(bytes: ItemBytes, former: Certificate | null) {
    const ssl = bytes.parse<PublishedSsl>();
    const { supply } = ssl;
    this.#bytes = bytes;
    this.#origin = supply?.origin ?? null;
    this.#pairBytes =
      former !== null && supply?.isMissing === true && supply.origin === former.#origin
        ? former.#pairBytes
        : bytes;
    this.id = ssl.id;
    this.created = ssl.created;
    this.isServer = ssl.type === "server" && ssl.enabled;
    this.names = ssl.names;
    this.listen = ssl.listen;
    this.versions = ssl.versions ?? null;
    const { client } = ssl;
    this.mutual = client === undefined ? null : new MutualRules(client, () => this.#authority() ?? "");
    this.#stapled = StapledPairs.of(ssl);
  }

  /** Which of the pairs a client that wants an OCSP answer is shown with it; -1: it gets none, and the choice is open. */
  pairToStaple(hello: ClientHello, versions: readonly TlsVersion[], nowMs: number): number {
    return this.#stapled === null ? -1 : this.#stapled.choose(hello, versions, nowMs);
  }

  /** What `pairToStaple` chose, DER. */
  staple(pair: number): Buffer {
    return this.#stapled!.response(pair);
  }

  /** Whether a request for this path may come without a client certificate. */
  isOpen(path: string): boolean {
    if (this.mutual === null) return true;
    return this.mutual.openPaths !== null && this.mutual.openPaths.some((pattern) => pattern.test(path));
  }

  /** Throws when a certificate or key cannot be had. `pair`: which alone, or -1 for all. `ticketKeys`: 48 bytes, or null for no tickets. */
  context(
    versions: readonly TlsVersion[],
    pair: number,
    config: TlsConfig,
    ticketKeys: Buffer | null,
  ): SecureContext {
    const key = `${versions.join(" ")} ${pair}`;
    let context = this.#contexts.get(key);
    if (context === undefined)
      this.#contexts.set(key, (context = this.#make(versions, pair, config, ticketKeys)));
    return context;
  }

  /** Certificates that were made into contexts since the last call, and whose time has not come or is over. */
  takeUnfitDates(nowMs: number): readonly X509Certificate[] {
    if (this.#fresh.length === 0) return this.#fresh;
    const unfit = this.#fresh.filter(
      ({ validFrom, validTo }) => Date.parse(validFrom) > nowMs || Date.parse(validTo) < nowMs,
    );
    this.#fresh = [];
    return unfit;
  }

  /** They are made again when they are needed; connections keep theirs. */
  dropContexts(): void {
    this.#contexts.clear();
  }

  /** PEM, or a reference to it. */
  #authority(): string | undefined {
    const { client } = this.#bytes.parse<PublishedSsl>();
    const isMissing = this.#pairBytes !== this.#bytes && client?.ca.startsWith("$") === true;
    return isMissing ? this.#pairBytes.parse<PublishedSsl>().client?.ca : client?.ca;
  }

  #make(
    versions: readonly TlsVersion[],
    pair: number,
    config: TlsConfig,
    ticketKeys: Buffer | null,
  ): SecureContext {
    const authority = this.#authority();
    const { pairs: all } = this.#pairBytes.parse<PublishedSsl>();
    const pairs = pair === -1 ? all : [all[pair]];
    const certs = pairs.map(({ cert }) => resolved(cert, "cert"));
    this.#fresh = certs.map((cert) => new X509Certificate(cert));
    const ca = authority === undefined ? undefined : resolved(authority, "client.ca");
    let options = ticketKeys === null ? constants.SSL_OP_NO_TICKET : 0;
    for (const version of Object.keys(FORBIDDING) as TlsVersion[])
      if (!versions.includes(version)) options |= FORBIDDING[version];
    // Not imported: a worker that terminates no TLS need not hold the module (about 2 MB).
    const { createSecureContext } = process.getBuiltinModule("node:tls");
    return createSecureContext({
      cert: certs,
      key: pairs.map(({ key }) => resolved(key, "key")),
      ca,
      // TLS 1.1 signs with SHA-1, which OpenSSL allows at this level alone.
      ciphers: versions.includes("TLSv1.1") ? `${config.ciphers}:@SECLEVEL=0` : config.ciphers,
      honorCipherOrder: true,
      ecdhCurve: GROUPS,
      minVersion: versions[0] as SecureVersion,
      maxVersion: versions.at(-1) as SecureVersion,
      secureOptions: options | constants.SSL_OP_NO_RENEGOTIATION,
      ...(ticketKeys === null ? {} : { ticketKeys }),
      // A session that was begun here is no way into another certificate, or past another authority.
      sessionIdContext: createHash("sha256")
        .update(`${this.id}\n${ca ?? ""}`)
        .digest("hex")
        .slice(0, 32),
    });
  }
}

function resolved(text: string, field: string): string {
  const value = resolveReference(text);
  if (value === undefined) throw new Error(`${field}: given ${text}, which has no value (yet)`);
  return value;
}
