/**
 * What `PATCH` does to a stored value: a merge (objects recursively, arrays and scalars replaced, `null`
 * deletes), or, with a path below the resource, the replacement of that one node. Never changes its arguments,
 * never follows or creates a prototype. What a client sent must have passed `checkJsonLimits` before: depth is not
 * bounded here.
 */

import { isObject } from "./resource-type.ts";

/** A path that leads nowhere; the message is APISIX's, answered with 400. */
export class InvalidSubPathError extends Error {
  override name = "InvalidSubPathError";
}

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return structuredClone(patch);
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else if (isObject(value)) {
      put(
        merged,
        key,
        isObject(own(merged, key)) ? mergePatch(own(merged, key), value) : structuredClone(value),
      );
    } else put(merged, key, structuredClone(value));
  }
  return merged;
}

/**
 * Replaces the node at `subPath` ("plugins/limit-count/count", as in the URL behind the id, decoded). Objects
 * on the way are made. An empty path replaces all. Throws `InvalidSubPathError` where the path leads through a
 * scalar or into an array: elements have no names, and an array is replaced as a whole.
 */
export function patchAt(target: unknown, subPath: string, value: unknown): unknown {
  const steps = subPath.replace(/^\//, "").split("/");
  const last = steps.at(-1)!;
  if (last === "" && steps.length === 1) return structuredClone(value);
  const root: unknown = structuredClone(target);
  let parent = root;
  for (let i = 0; i < steps.length; i++) {
    if (!isObject(parent) || steps[i] === "__proto__" || steps[i] === "") {
      throw new InvalidSubPathError(
        `invalid sub-path: /${steps.slice(0, isObject(parent) ? i + 1 : i).join("/")}`,
      );
    }
    if (i === steps.length - 1) break;
    if (own(parent, steps[i]) === undefined) put(parent, steps[i], {});
    parent = own(parent, steps[i]);
  }
  put(parent as Record<string, unknown>, last, structuredClone(value));
  return root;
}

function own(object: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function put(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}
