/**
 * What a route asks for beyond its path: methods as a bit mask, and clients, hosts and variables as one object.
 *
 * A route that asks for nothing has the mask 0 and no object, and costs two comparisons. Expressions are compiled when
 * they are first needed: of 50,000 routes a worker may meet a few hundred.
 */

import { HTTP_METHODS } from "../../lib/http-methods.ts";
import { AddressSet } from "../../lib/address.ts";
import { compileExpression, type CompiledExpression, type Expression } from "../../lib/expression.ts";
import type { RoutePattern, RouteQuery } from "./route-pattern.ts";

const METHOD_BITS: ReadonlyMap<string, number> = new Map(HTTP_METHODS.map((method, at) => [method, 1 << at]));

/** Bit of a method that routes can name; 0 for every other, which only routes without `methods` take. */
export function methodBit(method: string): number {
  return METHOD_BITS.get(method) ?? 0;
}

/** A mask for `RoutePattern.methods`; 0 for "any". Throws a RangeError for a method that routes cannot name. */
export function methodMask(methods: readonly string[] | undefined): number {
  let mask = 0;
  for (const method of methods ?? []) {
    const bit = methodBit(method);
    if (bit === 0)
      throw new RangeError(`methods: unknown method ${method}, expected one of ${HTTP_METHODS.join(", ")}`);
    mask |= bit;
  }
  return mask;
}

/** Conditions of one route, methods and path apart. */
export class RouteConditions {
  readonly #clients: AddressSet | null;
  /** Lower case, where hosts are a condition; else null. */
  readonly #hosts: readonly string[] | null;
  #vars: Expression | CompiledExpression | null;

  constructor(clients: AddressSet | null, hosts: readonly string[] | null, vars: Expression | null) {
    this.#clients = clients;
    this.#hosts = hosts;
    this.#vars = vars;
  }

  hold(query: RouteQuery): boolean {
    if (this.#clients !== null && !this.#clients.has(query.clientAddress)) return false;
    if (this.#hosts !== null && this.matchedHost(query) === "") return false;
    return this.#vars === null || this.#compiledVars(this.#vars).evaluate(query);
  }

  /** The first entry of `hosts` that fits; "" when none does or hosts are no condition. */
  matchedHost(query: RouteQuery): string {
    if (this.#hosts !== null) {
      for (const entry of this.#hosts) if (hostFits(entry, query)) return entry;
    }
    return "";
  }

  #compiledVars(vars: Expression | CompiledExpression): CompiledExpression {
    if ("evaluate" in vars) return vars;
    let compiled: CompiledExpression;
    try {
      compiled = compileExpression(vars);
    } catch {
      // Control refuses such an expression at write; one that slipped through must not open its route.
      compiled = NEVER;
    }
    this.#vars = compiled;
    return compiled;
  }
}

const NEVER: CompiledExpression = { evaluate: () => false };

/** Null for a route without conditions. `hostsAreCondition`: the mode has no host tree. Throws for a bad address. */
export function compileConditions(pattern: RoutePattern, hostsAreCondition: boolean): RouteConditions | null {
  const clients = isGiven(pattern.remoteAddrs) ? new AddressSet(pattern.remoteAddrs) : null;
  const hosts =
    hostsAreCondition && isGiven(pattern.hosts) ? pattern.hosts.map((host) => host.toLowerCase()) : null;
  const vars = isGiven(pattern.vars) ? pattern.vars : null;
  return clients === null && hosts === null && vars === null
    ? null
    : new RouteConditions(clients, hosts, vars);
}

function isGiven<List extends readonly unknown[]>(list: List | undefined): list is List {
  return list !== undefined && list.length > 0;
}

function hostFits(entry: string, query: RouteQuery): boolean {
  const host = hasPort(entry) ? (query.rawHost ?? query.host) : query.host;
  return entry.charCodeAt(0) === ASTERISK ? endsWithTail(host, entry) : host === entry;
}

const ASTERISK = 42;

/** Whether a `hosts` entry names a port ("a.com:9080", "[::1]:9080") and so is compared with the host as sent. */
export function hasPort(entry: string): boolean {
  return entry.includes(":") && !entry.endsWith("]");
}

/** Whether `host` ends with what follows the first character of `entry`, without slicing it. */
export function endsWithTail(host: string, entry: string): boolean {
  let at = host.length;
  if (at < entry.length - 1) return false;
  for (let i = entry.length - 1; i > 0; i--) if (host.charCodeAt(--at) !== entry.charCodeAt(i)) return false;
  return true;
}
