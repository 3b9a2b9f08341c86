/**
 * Who may use the Admin API: the address must be in the allow list, and the key must be known.
 *
 * Keys are compared by their digests, in a time that depends neither on the key nor on which one matches.
 * A viewer may only read. A cookie, which browsers send on their own, counts for writes only when no page of another
 * origin asks.
 */

import { createHash, timingSafeEqual } from "node:crypto";
import type { AdminConfig, AdminKey } from "../../config/static-config.ts";
import { AddressSet } from "../../lib/address.ts";
import type { Answer } from "./answer.ts";
import { KeyScope } from "./scope.ts";

/** What a request shows of itself. */
export interface Credentials {
  method: string;
  /** Query argument `api_key`. */
  query: string | undefined;
  /** Header `X-API-KEY`. */
  header: string | undefined;
  /** Header `Cookie`. */
  cookie: string | undefined;
  /** Header `Origin`: the page that asks; browsers name it with every write. */
  origin: string | undefined;
  /** Header `Host`. */
  host: string | undefined;
}

/** Who asks. */
export interface Identity {
  /** Name of the key. */
  name: string;
  /** Null: no limits. */
  scope: KeyScope | null;
  mayWrite: boolean;
}

interface KnownKey {
  digest: Buffer;
  key: AdminKey;
  identity: Identity;
}

export class AdminAccess {
  readonly #allowed: AddressSet;
  readonly #keyRequired: boolean;
  readonly #keys: readonly KnownKey[];

  constructor(config: Pick<AdminConfig, "allow" | "keyRequired">, keys: readonly AdminKey[]) {
    this.#allowed = new AddressSet(config.allow);
    this.#keyRequired = config.keyRequired;
    this.#keys = keys.map((key) => {
      const scope = key.scope === undefined || key.scope === null ? null : new KeyScope(key.scope);
      return {
        digest: digestOf(key.key),
        key,
        identity: { name: key.name, scope, mayWrite: key.role === "admin" },
      };
    });
  }

  /** An empty list allows everyone. */
  allowsAddress(address: string, listIsEmpty: boolean): boolean {
    return listIsEmpty || this.#allowed.has(address);
  }

  /** Whose key it is, or the answer that refuses. */
  identify(credentials: Credentials): Identity | Answer {
    if (!this.#keyRequired) return ANONYMOUS;
    const given = credentials.query ?? credentials.header ?? cookieFor(credentials);
    if (given === undefined || given === "") return unauthorized("missing apikey");
    const digest = digestOf(given);
    let found: KnownKey | null = null;
    for (const candidate of this.#keys) {
      if (timingSafeEqual(candidate.digest, digest) && found === null) found = candidate;
    }
    if (found === null) return unauthorized("wrong apikey");
    if (found.key.role === "viewer" && !isRead(credentials.method)) {
      return unauthorized("invalid method for role viewer");
    }
    return found.identity;
  }
}

const ANONYMOUS: Identity = { name: "anonymous", scope: null, mayWrite: true };

function unauthorized(description: string): Answer {
  return { status: 401, body: { error_msg: "failed to check token", description } };
}

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

function isRead(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** A form of any page can post text here without a preflight, and the browser adds the cookie. */
function cookieFor({ method, cookie, origin, host }: Credentials): string | undefined {
  const isForeign = origin !== undefined && !origin.endsWith(`://${host ?? ""}`);
  return isForeign && !isRead(method) ? undefined : cookieOf(cookie);
}

function cookieOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  for (const pair of header.split(";", 100)) {
    const at = pair.indexOf("=");
    if (at !== -1 && pair.slice(0, at).trim() === "x_api_key") return pair.slice(at + 1).trim();
  }
  return undefined;
}
