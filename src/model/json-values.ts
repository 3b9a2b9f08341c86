/** Facts about values of JSON, as JSON Schema and jsonschema-lua see them. */

/** A type of JSON Schema. */
export function isOfType(type: string, value: unknown): boolean {
  switch (type) {
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return typeof value === "number" && Number.isInteger(value);
    case "number":
      return typeof value === "number" && Number.isFinite(value);
    case "null":
      return value === null;
    default:
      return typeof value === type;
  }
}

/** An empty object in the place of an array, or the other way round: Lua has one empty table. */
export function isEmptyTwin(type: string, value: unknown): boolean {
  if (type === "object") return Array.isArray(value) && value.length === 0;
  return type === "array" && isOfType("object", value) && Object.keys(value as object).length === 0;
}

/** What Lua calls it. */
export function luaType(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return typeof value === "object" ? "table" : typeof value;
}

/** Within what floating point loses. */
export function isMultiple(value: number, of: number): boolean {
  const quotient = value / of;
  const rounded = Math.round(quotient);
  return Math.abs(quotient - rounded) <= 1e-12 * Math.max(1, Math.abs(rounded));
}

/** The length of a text as JSON Schema counts it. */
export function codePoints(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    count++;
    if (text.codePointAt(i)! > 0xffff) i++;
  }
  return count;
}

/** Equal for equal JSON, whatever the order of keys. */
export function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const object = value as Record<string, unknown>;
  const fields = Object.keys(object).toSorted();
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonical(object[name])}`).join(",")}}`;
}
