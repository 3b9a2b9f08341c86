/** Takes a refused value out of the text that refuses it, where the value may be a secret. */

import { MAX_DEPTH } from "../model/json-limits.ts";
import { isObject } from "../model/resource-type.ts";

/** `pointer` (RFC 6901) says where the value stands in `resource`. */
export function redacted(reason: string, resource: unknown, pointer: string): string {
  let value = resource;
  for (const step of pointer.split("/").slice(1)) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(value)) value = (value as unknown[])[Number(name)];
    else value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  }
  let text = reason;
  for (const secret of textsOf(value)) {
    text = text.replaceAll(JSON.stringify(secret).slice(1, -1), "...").replaceAll(secret, "...");
  }
  return text;
}

/** Longer texts first, since one may be part of another. What lies deeper than a resource may be is in no reason. */
function textsOf(value: unknown, depth = 0): string[] {
  if (typeof value === "string") return value === "" ? [] : [value];
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return [];
  return Object.values(value)
    .flatMap((inner) => textsOf(inner, depth + 1))
    .toSorted((a, b) => b.length - a.length);
}
