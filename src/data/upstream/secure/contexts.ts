/**
 * What all TLS connections of a worker to upstreams share: OpenSSL's contexts, one for each client certificate and
 * trust, sessions that can be resumed, and the authorities of the static file, read when they are first needed.
 *
 * Leaves to others: which certificate an upstream shows (`profile.ts`), and the handshake (`secure-connector.ts`).
 */

import { createHash } from "node:crypto";
import type { SecureContext } from "node:tls";
import { readAuthorities } from "../../../lib/authorities.ts";
import { LruMap } from "../../../lib/lru.ts";
import type { ItemBytes } from "../../../shared/configuration-bytes.ts";
import { resolveReference } from "../../../lib/environment-reference.ts";

/** Contexts (some 100 KB each, more with authorities) that are held for new connections. */
const MAX_CONTEXTS = 256;
/** Sessions (1 to 4 KB each), the one that was used longest ago goes first. */
const MAX_SESSIONS = 1024;

/** A certificate with its key: PEM, or references to where they stand. */
export interface ClientPair {
  cert: string;
  key: string;
}

export interface SecureSources {
  /** "system", and paths of PEM files. */
  authorities: readonly string[];
  /** Bytes of the `ssls` resource of that id; null: there is none. */
  sslOf(id: string): ItemBytes | null;
}

export class SecureContexts {
  /** By the identity of pools: a session leads only to where it came from, with the same certificate and trust. */
  readonly sessions = new LruMap<string, Buffer>(MAX_SESSIONS);
  readonly #contexts = new LruMap<string, SecureContext>(MAX_CONTEXTS);
  readonly #sources: SecureSources;
  #authorities: string[] | null = null;

  constructor(sources: SecureSources) {
    this.#sources = sources;
  }

  sslOf(id: string): ItemBytes | null {
    return this.#sources.sslOf(id);
  }

  /** Throws when the certificate, its key or an authority cannot be used. `name`: of `pair` and `verifies`. */
  get(name: string, pair: ClientPair | null, verifies: boolean): SecureContext {
    let context = this.#contexts.get(name);
    if (context === undefined) this.#contexts.set(name, (context = this.#make(pair, verifies)));
    return context;
  }

  #make(pair: ClientPair | null, verifies: boolean): SecureContext {
    const { createSecureContext } = process.getBuiltinModule("node:tls");
    // An empty list spares the 140 authorities that Node.js would load otherwise.
    const ca = verifies ? (this.#authorities ??= readAuthorities(this.#sources.authorities)) : [];
    if (pair === null) return createSecureContext({ ca });
    return createSecureContext({ ca, cert: resolved(pair.cert, "cert"), key: resolved(pair.key, "key") });
  }
}

/** Says in 16 characters what a client certificate and the will to verify are; equal for equal ones only. */
export function contextName(pair: ClientPair | null, verifies: boolean): string {
  const mode = verifies ? "verify" : "any";
  if (pair === null) return mode;
  const digest = createHash("sha256").update(`${pair.cert}\0${pair.key}`).digest("base64url");
  return `${mode}#${digest.slice(0, 22)}`;
}

function resolved(text: string, field: string): string {
  const value = resolveReference(text);
  if (value === undefined)
    throw new Error(`client certificate: ${field} is given as ${text}, which leads nowhere`);
  return value;
}
