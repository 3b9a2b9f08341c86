/**
 * Fills the defaults of a schema into a copy of a value, for the published form. What is stored stays as the
 * client wrote it. Where APISIX's one empty table makes `{}` and `[]` interchangeable, the copy has the right one.
 *
 * Also tells a schema's `required` from what a default supplies: the author of a plugin declares a field with a
 * default as present, since the plugin always sees it, and a client may leave it out.
 */

import type { TSchema } from "@sinclair/typebox";
import { fits } from "./explain.ts";
import type { JsonSchema } from "./explain.ts";
import { copyJson } from "./json-copy.ts";

/** A deep copy with defaults. Parts that do not fit the schema come back unfilled. */
export function withDefaults(schema: JsonSchema, value: unknown): unknown {
  const copy = copyJson(value);
  return fill(schema, copy);
}

/** The schema that a client's value must fit: fields with a default are not required, at any depth. */
export function withoutDefaulted(schema: TSchema): TSchema {
  return relax(schema) as TSchema;
}

function relax(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(relax);
  if (typeof schema !== "object" || schema === null) return schema;
  const relaxed: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    relaxed[keyword] =
      keyword === "default" || keyword === "enum" || keyword === "const" ? value : relax(value);
  }
  const { properties, required } = schema as JsonSchema;
  if (!Array.isArray(required) || typeof properties !== "object") return relaxed;
  relaxed["required"] = required.filter((name) => {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    return typeof property !== "object" || property.default === undefined;
  });
  return relaxed;
}

/** Changes `given`, which is a copy already, and returns it or its empty twin. */
function fill(schema: JsonSchema | boolean | undefined, given: unknown): unknown {
  if (typeof schema !== "object" || given === null || typeof given !== "object") return given;
  const value = emptyTwin(schema, given);
  if (Array.isArray(value)) fillItems(schema, value);
  else fillProperties(schema, value as Record<string, unknown>);
  if (schema.allOf !== undefined) for (const branch of schema.allOf) fill(branch, value);
  if (schema.anyOf !== undefined) fill(fitting(schema.anyOf, value), value);
  if (schema.oneOf !== undefined) fill(fitting(schema.oneOf, value), value);
  if (schema.if !== undefined) fill(fits(schema.if, value) ? schema.then : schema.else, value);
  return value;
}

function fitting(branches: JsonSchema[], value: unknown): JsonSchema | undefined {
  return branches.find((branch) => fits(branch, value));
}

function fillItems(schema: JsonSchema, items: unknown[]): void {
  if (schema.items === undefined) return;
  for (let i = 0; i < items.length; i++) {
    items[i] = fill(Array.isArray(schema.items) ? schema.items[i] : schema.items, items[i]);
  }
}

function fillProperties(schema: JsonSchema, object: Record<string, unknown>): void {
  const { properties, patternProperties, additionalProperties } = schema;
  for (const name in properties) {
    const property = properties[name];
    if (Object.hasOwn(object, name)) object[name] = fill(property, object[name]);
    else if (typeof property === "object" && property.default !== undefined) {
      object[name] = fill(property, copyJson(property.default));
    }
  }
  if (typeof additionalProperties !== "object" && patternProperties === undefined) return;
  for (const name of Object.keys(object)) {
    if (properties !== undefined && Object.hasOwn(properties, name)) continue;
    const pattern = Object.keys(patternProperties ?? {}).find((one) => new RegExp(one).test(name));
    object[name] = fill(
      pattern === undefined ? additionalProperties : patternProperties?.[pattern],
      object[name],
    );
  }
}

function emptyTwin(schema: JsonSchema, value: object): object {
  if (schema.type === "object" && Array.isArray(value) && value.length === 0) return {};
  if (schema.type === "array" && !Array.isArray(value) && Object.keys(value).length === 0) return [];
  return value;
}
