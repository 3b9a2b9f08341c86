/** Deep copies of JSON values: several times as fast as `structuredClone`, which matters for 50,000 routes. */

/** `value` holds nothing but JSON; its depth is bounded by `json-limits.ts`. Own keys only, never a prototype. */
export function copyJson<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copyJson) as T;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    if (key !== "__proto__") copy[key] = copyJson((value as Record<string, unknown>)[key]);
  }
  return copy as T;
}
