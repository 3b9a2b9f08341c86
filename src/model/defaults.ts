/**
 * Fills the defaults of a schema into a copy of a value, for the published form. What is stored stays as the
 * client wrote it. Where APISIX's one empty table makes `{}` and `[]` interchangeable, the copy has the right one.
 */

import { fits } from "./explain.ts";
import type { JsonSchema } from "./explain.ts";

/** A deep copy with defaults. `value` must be accepted by `schema`; an object that is not comes back unfilled. */
export function withDefaults(schema: JsonSchema, value: unknown): unknown {
  return fill(schema, structuredClone(value));
}

function fill(schema: JsonSchema | boolean | undefined, given: unknown): unknown {
  if (typeof schema !== "object" || given === null || typeof given !== "object") return given;
  const value = emptyTwin(schema, given);
  if (Array.isArray(value)) fillItems(schema, value);
  else fillProperties(schema, value as Record<string, unknown>);
  for (const branch of schema.allOf ?? []) fill(branch, value);
  fill(
    schema.anyOf?.find((branch) => fits(branch, value)),
    value,
  );
  fill(
    schema.oneOf?.find((branch) => fits(branch, value)),
    value,
  );
  if (schema.if !== undefined) fill(fits(schema.if, value) ? schema.then : schema.else, value);
  return value;
}

function fillItems(schema: JsonSchema, items: unknown[]): void {
  for (let i = 0; i < items.length; i++) {
    items[i] = fill(Array.isArray(schema.items) ? schema.items[i] : schema.items, items[i]);
  }
}

function fillProperties(schema: JsonSchema, object: Record<string, unknown>): void {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (Object.hasOwn(object, name)) object[name] = fill(property, object[name]);
    else if (typeof property === "object" && property.default !== undefined) {
      object[name] = fill(property, structuredClone(property.default));
    }
  }
  if (typeof schema.additionalProperties !== "object" && schema.patternProperties === undefined) return;
  for (const name of Object.keys(object)) {
    if (Object.hasOwn(schema.properties ?? {}, name)) continue;
    const pattern = Object.keys(schema.patternProperties ?? {}).find((one) => new RegExp(one).test(name));
    const rule = pattern === undefined ? schema.additionalProperties : schema.patternProperties?.[pattern];
    object[name] = fill(rule, object[name]);
  }
}

function emptyTwin(schema: JsonSchema, value: object): object {
  if (schema.type === "object" && Array.isArray(value) && value.length === 0) return {};
  if (schema.type === "array" && !Array.isArray(value) && Object.keys(value).length === 0) return [];
  return value;
}
