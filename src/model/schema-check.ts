/**
 * Checks values against a schema: a validator compiled by Ajv says yes quickly; a refusal is explained by
 * `explain.ts`, which also knows what APISIX lets pass. Compiled validators live as long as their schema.
 */

import type { TSchema } from "@sinclair/typebox";
import { Ajv } from "ajv";
import type { ValidateFunction } from "ajv";
import { explain, FORMATS } from "./explain.ts";
import type { ValidationError } from "./resource-type.ts";

/**
 * A compilation blocks the event loop, so what makes it long is off: the check of the schema against its own
 * schema, which each instance would compile first, and the optimiser (36 schemas: 1219 ms with both, 373 without
 * the first, 90 without either; a route is then checked in 1.1 µs instead of 0.7). Built-in schemas are checked by
 * a test.
 */
const OPTIONS = {
  strict: false,
  ownProperties: true,
  unicodeRegExp: false,
  logger: false,
  meta: false,
  validateSchema: false,
  code: { optimize: false },
} as const;

/**
 * One Ajv per schema: an instance keeps all that it ever compiled, and uploaded plugins bring schemas without
 * end. Here a schema that nobody holds takes its validator with it.
 */
const validators = new WeakMap<TSchema, ValidateFunction>();

/**
 * Null when `value` fits; the message carries no prefix of its own. `secrets`: whether references to secrets may
 * stand for text.
 */
export function checkSchema(schema: TSchema, value: unknown, secrets: boolean): ValidationError | null {
  const validate = validatorOf(schema);
  if (validate(value)) return null;
  const { error, lenient } = explain(schema, value, secrets);
  if (error !== null) return error;
  // What the explanation does not know it cannot call lenient: then the validator has the last word.
  if (lenient && isExplainable(schema)) return null;
  const reason = validate.errors?.at(-1);
  return { message: reason?.message ?? "does not match the schema", pointer: reason?.instancePath ?? "" };
}

/** Keywords that refuse values and that `explain.ts` passes over. Plugins brought along may use them. */
const UNEXPLAINED =
  /"(?:\$ref|\$dynamicRef|contains|propertyNames|prefixItems|additionalItems|unevaluated\w+|dependent\w+)":/;
const explainable = new WeakMap<TSchema, boolean>();

function isExplainable(schema: TSchema): boolean {
  let known = explainable.get(schema);
  if (known === undefined) {
    known = !UNEXPLAINED.test(JSON.stringify(schema));
    explainable.set(schema, known);
  }
  return known;
}

export function validatorOf(schema: TSchema): ValidateFunction {
  let validate = validators.get(schema);
  if (validate === undefined) {
    const ajv = new Ajv(OPTIONS);
    for (const [name, test] of Object.entries(FORMATS)) ajv.addFormat(name, test);
    validate = ajv.compile(schema);
    validators.set(schema, validate);
  }
  return validate;
}
