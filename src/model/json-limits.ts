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

/** Null when the value is within bounds. The recursion is as deep as `MAX_DEPTH` at most. */
export function checkJsonLimits(value: unknown): ValidationError | null {
  return visit(value, 0, { count: 0 });
}

/** Pointers are made on the way back, so that a good value costs none. */
function visit(value: unknown, depth: number, seen: { count: number }): ValidationError | null {
  if (++seen.count > MAX_VALUES) return refused(`more than ${MAX_VALUES} values`, "");
  if (typeof value !== "object" || value === null) return null;
  if (depth > MAX_DEPTH) return refused(`nested more than ${MAX_DEPTH} levels deep`, "");
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const error = visit(value[i], depth + 1, seen);
      if (error !== null) return refused(error.message, pointerStep(i) + error.pointer);
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value) as unknown;
  if (prototype !== Object.prototype && prototype !== null) return refused("not a JSON value", "");
  const object = value as Record<string, unknown>;
  for (const key of Object.keys(object)) {
    if (key === "__proto__") return refused("the property is forbidden: __proto__", pointerStep(key));
    const error = visit(object[key], depth + 1, seen);
    if (error !== null) return refused(error.message, pointerStep(key) + error.pointer);
  }
  return null;
}

/** Whether a value of JSON is so deep that whoever walks through it could run out of stack, as `JSON.stringify` does. */
export function isTooDeep(value: unknown, depth = 0): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (depth > MAX_DEPTH) return true;
  return Object.values(value).some((inner) => isTooDeep(inner, depth + 1));
}
