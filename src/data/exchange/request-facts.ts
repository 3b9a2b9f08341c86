/**
 * A request as plugins see and change it, read from its head; and the target that goes upstream from it.
 *
 * What goes upstream has the one reading that router and plugins had: a target that needed no normalisation
 * and that no plugin changed is passed on as it came, any other is encoded anew from the normalised path.
 */

import type { ExchangeRequest } from "../../plugin/exchange.ts";
import type { HeaderList } from "../../lib/headers.ts";
import type { RequestHead } from "../transport.ts";
import { encodePath, normalizeTarget, type NormalTarget, type PathRules } from "../../lib/uri.ts";

const ENCODED_SLASH = "%2F";

const normal: NormalTarget = { path: "", routingPath: "", query: "", hasQuery: false };

export class RequestFacts implements ExchangeRequest {
  method: string;
  path: string;
  query: string;
  readonly headers: HeaderList;
  readonly host: string;
  readonly target: string;
  readonly version: "1.0" | "1.1" | "2";
  /** What the router matches: `path`, unless encoded slashes are kept for it. */
  readonly routingPath: string;
  readonly #originalPath: string;
  readonly #originalQuery: string;

  constructor(head: RequestHead, path: string, routingPath: string, query: string) {
    this.method = head.method;
    this.path = path;
    this.query = query;
    this.headers = head.headers;
    this.host = withoutPort(head.authority);
    this.target = head.target;
    this.version = head.version;
    this.routingPath = routingPath;
    this.#originalPath = path;
    this.#originalQuery = query;
  }

  /** Origin form of the request as it is now. */
  upstreamTarget(): string {
    const { path, query, target } = this;
    const isUntouched = path === this.#originalPath && query === this.#originalQuery;
    if (isUntouched && isVerbatim(target, path, query)) return target;
    const encoded =
      isUntouched && this.routingPath !== path
        ? encodeKeepingSlashes(this.routingPath, path)
        : encodePath(path);
    return query === "" ? encoded : `${encoded}?${query}`;
  }
}

/** Null: the target has no valid reading (answer 400). */
export function readRequest(head: RequestHead, rules: PathRules): RequestFacts | null {
  if (!normalizeTarget(head.target, rules, normal)) return null;
  return new RequestFacts(head, normal.path, normal.routingPath, normal.query);
}

/** The target was normal as it came: path and query stand in it letter by letter. */
function isVerbatim(target: string, path: string, query: string): boolean {
  const length = query === "" ? path.length : path.length + 1 + query.length;
  return target.length === length && target.startsWith(path);
}

/** `routingPath` says where a slash came encoded; a path that holds "%2F" as text cannot be told apart. */
function encodeKeepingSlashes(routingPath: string, path: string): string {
  if (path.includes(ENCODED_SLASH)) return encodePath(path);
  return routingPath.split(ENCODED_SLASH).map(encodePath).join(ENCODED_SLASH);
}

/** "a.com:9080" → "a.com", "[::1]:80" → "[::1]". */
function withoutPort(authority: string): string {
  if (!authority.includes(":")) return authority;
  const colon = authority.lastIndexOf(":");
  return colon === -1 || authority.endsWith("]") ? authority : authority.slice(0, colon);
}
