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
    const ajv = new Ajv({ strict: false, ownProperties: true, unicodeRegExp: false, logger: false });
    for (const [name, test] of Object.entries(FORMATS)) ajv.addFormat(name, test);
    validate = ajv.compile(schema);
    validators.set(schema, validate);
  }
  return validate;
}
