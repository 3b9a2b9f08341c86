/**
 * What a route asks for, one condition at a time, and whether a described request has it. The conditions are asked
 * with the means of the router itself.
 */

import { AddressSet } from "../../lib/address.ts";
import { compileExpression } from "../../lib/expression.ts";
import type { PublishedRoute } from "../../model/published.ts";
import type { ExplainedCondition } from "../../shared/explanation.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { methodBit, methodMask } from "../route/conditions.ts";
import type { RoutePattern, RouterMode } from "../route/route-pattern.ts";
import { RouteMatch } from "../route/route-pattern.ts";
import { Router } from "../route/router.ts";

/** Of one variable's value. */
const VALUE_CHARACTERS = 200;
const VARIABLES_SHOWN = 32;

/** `hosts`: the route's own or its service's. */
export function explainConditions(
  route: PublishedRoute,
  hosts: readonly string[] | undefined,
  mode: RouterMode,
  x: HttpExchange,
): ExplainedCondition[] {
  const conditions: ExplainedCondition[] = [];
  if (!route.enabled) conditions.push({ condition: "status", holds: false, expected: 1, given: 0 });
  if (hosts !== undefined && hosts.length > 0) {
    const holds = fits({ uris: ["*"], hosts }, "radixtree_host_uri", x);
    conditions.push({ condition: "host", holds, expected: hosts, given: x.rawHost });
  }
  const holds = fits({ uris: route.uris }, mode, x);
  conditions.push({ condition: "uri", holds, expected: route.uris, given: x.path });
  const { methods, remote_addrs: addresses, vars } = route;
  if (methods !== undefined && methods.length > 0) {
    const isNamed = (methodMask(methods) & methodBit(x.method)) !== 0;
    conditions.push({ condition: "methods", holds: isNamed, expected: methods, given: x.method });
  }
  if (addresses !== undefined && addresses.length > 0) {
    const isInside = new AddressSet(addresses).has(x.clientAddress);
    conditions.push({
      condition: "remote_addrs",
      holds: isInside,
      expected: addresses,
      given: x.clientAddress,
    });
  }
  if (vars !== undefined && vars.length > 0) {
    conditions.push({
      condition: "vars",
      holds: varsHold(vars, x),
      expected: vars,
      given: valuesOf(vars, x),
    });
  }
  return conditions;
}

/** Asked of a router with this one route. */
function fits(pattern: Pick<RoutePattern, "uris" | "hosts">, mode: RouterMode, x: HttpExchange): boolean {
  const router = new Router<null>(mode);
  router.insert({ ...pattern, id: "", priority: 0, createdOrder: 0 }, null);
  return router.match(x, new RouteMatch<null>());
}

function varsHold(vars: readonly unknown[], x: HttpExchange): boolean {
  try {
    return compileExpression(vars).evaluate(x);
  } catch {
    // The router lets such a route take nothing either.
    return false;
  }
}

/** The variables that an expression names, with their values; null where there is none. */
function valuesOf(vars: readonly unknown[], x: HttpExchange): Record<string, unknown> {
  const values: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const name of variablesOf(vars)) {
    const value = x.variable(name);
    values[name] = typeof value === "string" ? value.slice(0, VALUE_CHARACTERS) : (value ?? null);
  }
  return values;
}

const LOGIC = /^!?(?:and|or)$/i;

function variablesOf(rule: unknown, found: Set<string> = new Set()): Set<string> {
  if (!Array.isArray(rule) || found.size >= VARIABLES_SHOWN) return found;
  const [first] = rule as unknown[];
  if (typeof first === "string" && !LOGIC.test(first)) found.add(first);
  else for (const inner of rule) variablesOf(inner, found);
  return found;
}
