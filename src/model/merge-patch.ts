/**
 * What `PATCH` does to a stored value: a merge (objects recursively, arrays and scalars replaced, `null`
 * deletes), or, with a path below the resource, the replacement of that one node. Never changes its arguments,
 * never follows or creates a prototype.
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
 * on the way are made; numbers step into arrays, counted from 1 as APISIX does. An empty path replaces all.
 */
export function patchAt(target: unknown, subPath: string, value: unknown): unknown {
  const steps = subPath.replace(/^\//, "").split("/");
  if (steps.includes("__proto__")) throw new InvalidSubPathError(`invalid sub-path: /${subPath}`);
  const root = { "": structuredClone(target) };
  let parent: unknown = root[""];
  for (let i = 0; i < steps.length - 1; i++) {
    if (!isContainer(parent))
      throw new InvalidSubPathError(`invalid sub-path: /${steps.slice(0, i).join("/")}`);
    const at = stepOf(parent, steps[i]);
    if (own(parent, at) === undefined) put(parent, at, {});
    parent = own(parent, at);
    if (!isContainer(parent))
      throw new InvalidSubPathError(`invalid sub-path: /${steps.slice(0, i + 1).join("/")}`);
  }
  const last = steps.at(-1)!;
  if (last === "") return structuredClone(value);
  if (!isContainer(parent)) throw new InvalidSubPathError(`invalid sub-path: /${steps.join("/")}`);
  put(parent, stepOf(parent, last), structuredClone(value));
  return root[""];
}

type Container = Record<string, unknown> | unknown[];

function isContainer(value: unknown): value is Container {
  return typeof value === "object" && value !== null;
}

function stepOf(parent: Container, step: string): string {
  if (!Array.isArray(parent)) return step;
  const position = Number(step);
  if (/^[1-9]\d{0,8}$/.test(step) && position <= parent.length + 1) return String(position - 1);
  throw new InvalidSubPathError(`invalid sub-path: /${step}`);
}

function own(object: Container, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}

function put(object: Container, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}
