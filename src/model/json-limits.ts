/**
 * Bounds that hold for every resource before its schema is asked: depth, number of values, and keys that would
 * reach a prototype. JSON text parsed by `JSON.parse` has `__proto__` as an own key, which a later copy by
 * assignment would turn into a prototype; so it never gets in.
 */

import { pointerStep, refused } from "./resource-type.ts";
import type { ValidationError } from "./resource-type.ts";

export const MAX_DEPTH = 64;
/** Of objects, arrays and scalars together; a resource of a million bytes stays below. */
export const MAX_VALUES = 200_000;

/** Null when the value is within bounds. Works without recursion, so that no depth can exhaust the stack. */
export function checkJsonLimits(value: unknown): ValidationError | null {
  const open: { value: object; pointer: string; depth: number }[] = [];
  let count = 1;
  const visit = (child: unknown, pointer: string, depth: number): ValidationError | null => {
    if (++count > MAX_VALUES) return refused(`more than ${MAX_VALUES} values`, pointer);
    if (typeof child !== "object" || child === null) return null;
    if (depth > MAX_DEPTH) return refused(`nested more than ${MAX_DEPTH} levels deep`, pointer);
    open.push({ value: child, pointer, depth });
    return null;
  };
  let error = visit(value, "", 0);
  for (let next = open.pop(); next !== undefined && error === null; next = open.pop()) {
    error = visitChildren(next.value, next.pointer, next.depth, visit);
  }
  return error;
}

function visitChildren(
  value: object,
  pointer: string,
  depth: number,
  visit: (child: unknown, pointer: string, depth: number) => ValidationError | null,
): ValidationError | null {
  const proto = Object.getPrototypeOf(value) as unknown;
  if (proto !== Object.prototype && proto !== Array.prototype && proto !== null) {
    return refused("not a JSON value", pointer);
  }
  for (const key of Object.keys(value)) {
    const at = pointer + pointerStep(key);
    if (key === "__proto__") return refused("the property is forbidden: __proto__", at);
    const error = visit((value as Record<string, unknown>)[key], at, depth + 1);
    if (error !== null) return error;
  }
  return null;
}
