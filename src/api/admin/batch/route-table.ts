/**
 * Which routes a request would be compared with, in which order, for a set of routes that need not be in service. The
 * order is the router's: a property test holds the two together.
 *
 * Conditions are not evaluated: a claim that has some may pass, and the next one is named after it.
 */

import type { PublishedRoute } from "../../../model/published.ts";

/** One path of one route, on one of its hosts. */
export interface Claim {
  readonly route: PublishedRoute;
  readonly uri: string;
  /** "" for none; without a tree of hosts always "". */
  readonly host: string;
  /** Hosts as a condition, where there is no tree of them. */
  readonly hosts: readonly string[] | null;
}

export interface Place {
  host: string;
  /** As the router files it: an exact path, or a prefix with "*". */
  path: string;
}

/** No host and no path has it: what stands for "any other" in a sample. */
const ANY = "\u0001";

export class RouteTable {
  readonly #hasHostTree: boolean;
  readonly #withParameters: boolean;
  /** By host, then by path. */
  readonly #hosts = new Map<string, Map<string, Claim[]>>();
  /** Entries with "*", the longest first; made when asked for. */
  #wildcards: string[] | null = null;

  constructor(mode: "radixtree_host_uri" | "radixtree_uri" | "radixtree_uri_with_parameter") {
    this.#hasHostTree = mode === "radixtree_host_uri";
    this.#withParameters = mode === "radixtree_uri_with_parameter";
  }

  /** `hosts`: those of the route or of its service. */
  add(route: PublishedRoute, hosts: readonly string[] | undefined): void {
    if (!route.enabled) return;
    const names = hosts === undefined || hosts.length === 0 ? null : hosts.map((host) => host.toLowerCase());
    const tables = this.#hasHostTree && names !== null ? new Set(names) : [""];
    const condition = this.#hasHostTree ? null : names;
    for (const host of tables) {
      for (const uri of route.uris) this.#file({ route, uri, host, hosts: condition });
    }
    this.#wildcards = null;
  }

  /** Where a route is filed. */
  places(route: PublishedRoute, hosts: readonly string[] | undefined): Place[] {
    const tables = this.#hasHostTree && hosts !== undefined && hosts.length > 0 ? hosts : [""];
    return tables.flatMap((host) =>
      route.uris.map((uri) => ({ host: host.toLowerCase(), path: this.#pathOf(uri) })),
    );
  }

  /** The claims of one place, in the order in which they are tried. */
  at({ host, path }: Place): readonly Claim[] {
    return this.#hosts.get(host)?.get(path) ?? [];
  }

  /**
   * Narrower paths below this place that are filed under wider hosts: a route here takes their requests for its host. At
   * most `limit`.
   */
  within({ host, path }: Place, limit: number): Place[] {
    const found: Place[] = [];
    if (host === "" || !path.endsWith("*")) return found;
    const prefix = path.slice(0, -1);
    for (const wider of this.#widerThan(host)) {
      for (const each of this.#hosts.get(wider)?.keys() ?? []) {
        if (each === path || !each.startsWith(prefix)) continue;
        found.push({ host, path: each });
        if (found.length >= limit) return found;
      }
    }
    return found;
  }

  *#widerThan(host: string): Generator<string> {
    const name = host.replace(/:\d+$/, "");
    if (name !== host) yield name;
    for (const entry of this.#longestWildcards()) {
      if (entry !== host && name.replace(/^\*/, "").endsWith(entry.slice(1))) yield entry;
    }
    yield "";
  }

  /** Claims that a request to this place may meet, of at most `limit` routes, up to the first that takes whatever comes. */
  meet(place: Place, limit: number): Claim[] {
    const host = place.host.startsWith("*") ? ANY + place.host.slice(1) : place.host;
    const path = place.path.endsWith("*") ? place.path.slice(0, -1) + ANY : place.path;
    const met: Claim[] = [];
    const ids = new Set<string>();
    for (const claim of this.candidates(host, path, this.#hasHostTree)) {
      met.push(claim);
      ids.add(claim.route.id);
      if (ids.size >= limit || !isConditional(claim, this.#pathOf(claim.uri))) break;
    }
    return met;
  }

  /** `host` as it was sent, in lower case. Unless `asksHosts`, hosts that are conditions are left open. */
  *candidates(host: string, path: string, asksHosts = true): Generator<Claim> {
    const asked = asksHosts ? host : null;
    const plain = host.replace(/:\d+$/, "");
    for (const hasPort of [true, false]) {
      const name = hasPort ? host : plain;
      const exact = this.#hosts.get(name);
      if (name !== "" && exact !== undefined && namesPort(name) === hasPort)
        yield* candidatesOf(exact, path, asked);
      for (const entry of this.#longestWildcards()) {
        if (namesPort(entry) !== hasPort || !name.endsWith(entry.slice(1))) continue;
        yield* candidatesOf(this.#hosts.get(entry)!, path, asked);
      }
    }
    const others = this.#hosts.get("");
    if (others !== undefined) yield* candidatesOf(others, path, asked);
  }

  #file(claim: Claim): void {
    let paths = this.#hosts.get(claim.host);
    if (paths === undefined) this.#hosts.set(claim.host, (paths = new Map()));
    const path = this.#pathOf(claim.uri);
    const claims = paths.get(path);
    if (claims === undefined) {
      paths.set(path, [claim]);
      return;
    }
    let at = claims.length;
    while (at > 0 && precedes(claim, claims[at - 1])) at--;
    claims.splice(at, 0, claim);
  }

  /** "/a/:id" and "/a/*name/b" stand below "/a/". */
  #pathOf(uri: string): string {
    const parameter = this.#withParameters ? uri.indexOf("/:") : -1;
    const named = uri.indexOf("*");
    const starts = [parameter === -1 ? -1 : parameter + 1, named].filter((at) => at !== -1);
    return starts.length === 0 ? uri : `${uri.slice(0, Math.min(...starts))}*`;
  }

  #longestWildcards(): string[] {
    this.#wildcards ??= [...this.#hosts.keys()]
      .filter((host) => host.startsWith("*"))
      .sort((a, b) => b.length - a.length);
    return this.#wildcards;
  }
}

function* candidatesOf(paths: Map<string, Claim[]>, path: string, host: string | null): Generator<Claim> {
  yield* fitting(paths.get(path), host);
  for (let length = path.length; length >= 0; length--) {
    yield* fitting(paths.get(`${path.slice(0, length)}*`), host);
  }
}

function* fitting(claims: readonly Claim[] | undefined, host: string | null): Generator<Claim> {
  for (const claim of claims ?? []) {
    if (host === null || claim.hosts === null || claim.hosts.some((entry) => fits(entry, host))) yield claim;
  }
}

function fits(entry: string, host: string): boolean {
  const name = namesPort(entry) ? host : host.replace(/:\d+$/, "");
  return entry.startsWith("*") ? name.endsWith(entry.slice(1)) : name === entry;
}

function namesPort(host: string): boolean {
  return /:\d+$/.test(host) && !host.endsWith("]");
}

function precedes({ route: a, uri }: Claim, { route: b, uri: other }: Claim): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (uri.length !== other.length) return uri.length > other.length;
  if (a.created !== b.created) return a.created < b.created;
  return a.id < b.id;
}

function isConditional({ route, uri, hosts }: Claim, path: string): boolean {
  const { methods, remote_addrs: addresses, vars } = route;
  return [methods, addresses, vars, hosts ?? undefined].some(isGiven) || (path !== uri && uri !== "*");
}

function isGiven(list: readonly unknown[] | undefined): boolean {
  return list !== undefined && list.length > 0;
}
