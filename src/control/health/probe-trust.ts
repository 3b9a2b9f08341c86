/**
 * What probes over TLS go by: the authorities of the static file, and the certificates that upstreams show, their own
 * or those of an `ssls` resource. As workers do for requests, in the control thread.
 *
 * Contexts are made once for each certificate and trust; renewed certificates are others.
 */

import type { SecureContext } from "node:tls";
import { readAuthorities } from "../../lib/authorities.ts";
import { resolveReference } from "../../lib/environment-reference.ts";
import { LruMap } from "../../lib/lru.ts";
import type { PublishedSsl, PublishedUpstream } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";

const MAX_CONTEXTS = 256;

interface Pair {
  cert: string;
  key: string;
}

export class ProbeTrust {
  readonly #sources: readonly string[];
  /** Certificates for upstreams that are in use, by id. */
  readonly #byId = new Map<string, Pair>();
  readonly #contexts = new LruMap<string, SecureContext>(MAX_CONTEXTS);
  #authorities: string[] | null = null;

  /** `sources`: "system", and paths of PEM files. */
  constructor(sources: readonly string[] = ["system"]) {
    this.#sources = sources;
  }

  take({ kind, id, value }: ConfigurationItem): void {
    if (kind !== "ssl") return;
    const ssl = value === null ? null : (JSON.parse(value) as PublishedSsl);
    if (ssl !== null && ssl.type === "client" && ssl.enabled) this.#byId.set(id, ssl.pairs[0]);
    else this.#byId.delete(id);
  }

  /** Throws when the certificate, its key or an authority cannot be used. */
  contextFor({ tls }: Pick<PublishedUpstream, "tls">, verifies: boolean): SecureContext {
    const pair = this.#pairOf(tls ?? {});
    const name = `${verifies}\0${pair === null ? "" : `${pair.cert}\0${pair.key}`}`;
    let context = this.#contexts.get(name);
    if (context === undefined) this.#contexts.set(name, (context = this.#make(pair, verifies)));
    return context;
  }

  #pairOf({
    client_cert: cert,
    client_key: key,
    client_cert_id: id,
  }: Readonly<Record<string, unknown>>): Pair | null {
    if (typeof id === "string" || typeof id === "number") {
      const pair = this.#byId.get(String(id));
      if (pair === undefined) throw new Error(`tls.client_cert_id: no ssl ${id} of type client is in use`);
      return pair;
    }
    return typeof cert === "string" && typeof key === "string" ? { cert, key } : null;
  }

  #make(pair: Pair | null, verifies: boolean): SecureContext {
    const { createSecureContext } = process.getBuiltinModule("node:tls");
    const ca = verifies ? (this.#authorities ??= readAuthorities(this.#sources)) : [];
    if (pair === null) return createSecureContext({ ca });
    return createSecureContext({ ca, cert: resolved(pair.cert), key: resolved(pair.key) });
  }
}

function resolved(text: string): string {
  const value = resolveReference(text);
  if (value === undefined) throw new Error(`client certificate: ${text} leads nowhere`);
  return value;
}
