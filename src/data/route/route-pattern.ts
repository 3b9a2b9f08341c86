/**
 * The words between the router and its callers: what a route asks for, what a request offers, what a match yields.
 */

import type { Expression } from "../../lib/expression.ts";

/** How hosts and paths are looked up; the values of `router.http` in the static file. */
export type RouterMode = "radixtree_host_uri" | "radixtree_uri" | "radixtree_uri_with_parameter";

/** When a route applies. The router keeps references to these arrays: they must not change afterwards. */
export interface RoutePattern {
  readonly id: string;
  /**
   * At least one path. A `*` at the end is a prefix; `/*name/` and, in parameter mode, `/:name/` stand for segments.
   */
  readonly uris: readonly string[];
  /** "a.com", "*.a.com", "a.com:9080" (compared with the host as sent); absent or empty: any. */
  readonly hosts?: readonly string[];
  /** Upper case; absent or empty: any. */
  readonly methods?: readonly string[];
  /** Addresses and CIDR ranges of clients; absent or empty: any. */
  readonly remoteAddrs?: readonly string[];
  /** Higher is tried first, among routes of the same path node. */
  readonly priority: number;
  /** Must hold. Compiled when the route is first considered; one that does not compile never holds. */
  readonly vars?: Expression;
  /** Breaks ties: the route that was created first is tried first. */
  readonly createdOrder: number;
}

/** What the router asks about a request. It reads only what the routes on the way ask for. */
export interface RouteQuery {
  /** Lower case, without port; "" when the request named none. */
  readonly host: string;
  /** Lower case, with the port if one was sent. */
  readonly rawHost?: string;
  /** Decoded and normalised, without query. */
  readonly path: string;
  readonly method: string;
  readonly clientAddress: string;
  variable(name: string): unknown;
}

const NO_TEXTS: readonly string[] = [];

/** Where `Router.match` writes; reusable. Its fields mean something only after a match. */
export class RouteMatch<T> {
  value: T | null = null;
  /** The `uris` entry that matched. */
  matchedUri = "";
  /** The `hosts` entry that matched; "" when the route names no host. */
  matchedHost = "";
  /** Names and values of path parameters, in the order of the path. Fresh arrays for each match that has some. */
  paramNames: readonly string[] = NO_TEXTS;
  paramValues: readonly string[] = NO_TEXTS;

  /** Value of a path parameter (`uri_param_<name>`), undefined when the matched path has none of that name. */
  param(name: string): string | undefined {
    const at = this.paramNames.indexOf(name);
    return at === -1 ? undefined : this.paramValues[at];
  }

  clear(): void {
    this.value = null;
    this.matchedUri = "";
    this.matchedHost = "";
    this.clearParams();
  }

  clearParams(): void {
    this.paramNames = NO_TEXTS;
    this.paramValues = NO_TEXTS;
  }
}
