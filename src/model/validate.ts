/**
 * Whether a resource may be written: bounds, schema, what a schema cannot say, plugins, references, in this
 * order; the first fault is the answer. Does not look at times and ids of the request: the Admin API does.
 */

import { checkJsonLimits } from "./json-limits.ts";
import { checkPlugins } from "./plugin-check.ts";
import { referencesOf } from "./references.ts";
import { isObject, refused } from "./resource-type.ts";
import type { JsonObject, ModelContext, ResourceType, ValidationError } from "./resource-type.ts";
import { checkSchema } from "./schema-check.ts";

/**
 * Null when `value` is accepted as resource `id` of `type`. Never throws for any JSON value, and never
 * changes it. `id` is absent when the store is going to choose one.
 */
export function validateResource(
  type: ResourceType,
  value: unknown,
  context: ModelContext,
  id?: string,
): ValidationError | null {
  const outOfBounds = checkJsonLimits(value);
  if (outOfBounds !== null) return invalid(outOfBounds);
  if (!isObject(value)) {
    const given = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
    return invalid(refused(`wrong type: expected object, got ${given}`, ""));
  }
  const early = type.checkFirst?.(value, context, id) ?? null;
  if (early !== null) return early;
  const misfit = checkSchema(
    schemaFor(type, context, id),
    withId(type, value, id),
    type.secretReferences === true,
  );
  if (misfit !== null) return invalid(misfit);
  const fault = type.check?.(value, context, id) ?? null;
  if (fault !== null) return fault;
  if (type.plugins !== undefined && isObject(value["plugins"])) {
    const error = checkPlugins(value["plugins"], type.plugins, context.plugins);
    if (error !== null) return refused((type.pluginErrorPrefix ?? "") + error.message, error.pointer);
  }
  return checkReferences(type, value, context);
}

/** Where the id is required in the body, the one of the path counts for it. */
function withId(type: ResourceType, value: JsonObject, id: string | undefined): JsonObject {
  if (id === undefined || type.id.field !== "id" || Object.hasOwn(value, "id")) return value;
  return { ...value, id };
}

function schemaFor(
  type: ResourceType,
  context: ModelContext,
  id: string | undefined,
): ResourceType["schema"] {
  return type.schemaFor?.(id, context) ?? type.schema;
}

function checkReferences(
  type: ResourceType,
  value: Record<string, unknown>,
  context: ModelContext,
): ValidationError | null {
  if (context.get === undefined) return null;
  for (const { to, id, title, pointer, reference } of referencesOf(type, value)) {
    const target = context.get(to, id);
    if (target === undefined) {
      const message = `failed to fetch ${title} info by ${title} id [${id}], response code: 404`;
      return refused(reference.missing?.(id) ?? message, pointer);
    }
    const unfit = reference.unfit?.(target, value, id) ?? null;
    if (unfit !== null) return refused(unfit, pointer);
  }
  return null;
}

function invalid(error: ValidationError): ValidationError {
  return refused(`invalid configuration: ${error.message}`, error.pointer);
}
