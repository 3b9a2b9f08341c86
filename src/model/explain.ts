/**
 * Why a value does not fit a schema, in the words and in the order of jsonschema-lua, which APISIX's clients and
 * tests know (`property "uri" validation failed: wrong type: expected string, got number`), and where.
 *
 * Also the judge of two leniencies that APISIX has: an empty object counts as an empty array and the other way
 * round (Lua has one empty table), and a reference to a secret (`$secret://...`, `$env://...`) fits wherever
 * text fits, where the caller allows it. An interpreter: `schema-check.ts` asks a compiled validator first and comes here for refusals.
 */

import { isIP } from "node:net";
import { isAddress, isCidr } from "../lib/address.ts";
import { canonical, codePoints, isEmptyTwin, isMultiple, isOfType, luaType } from "./json-values.ts";
import { pointerStep } from "./resource-type.ts";
import type { ValidationError } from "./resource-type.ts";

export interface JsonSchema {
  type?: string | string[];
  properties?: Record<string, JsonSchema | boolean>;
  required?: string[];
  dependencies?: Record<string, string[] | JsonSchema>;
  patternProperties?: Record<string, JsonSchema>;
  additionalProperties?: boolean | JsonSchema;
  minProperties?: number;
  maxProperties?: number;
  items?: JsonSchema | boolean | JsonSchema[];
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  enum?: unknown[];
  const?: unknown;
  allOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  if?: JsonSchema;
  then?: JsonSchema;
  else?: JsonSchema;
  not?: JsonSchema;
  format?: string;
  default?: unknown;
}

export interface Explanation {
  error: ValidationError | null;
  /** A leniency was needed: a strict validator refuses the value. */
  lenient: boolean;
}

/** Patterns of schemas are few and written by us or by plugin authors; the bound is for uploads without end. */
const PATTERN_CACHE_LIMIT = 2048;
const patterns = new Map<string, RegExp>();

export const FORMATS: Readonly<Record<string, (text: string) => boolean>> = {
  ipv4: (text) => isIP(text) === 4,
  ipv6: (text) => isIP(text) === 6 && isAddress(text),
  "ipv4-cidr": (text) => isCidr(text) && !text.includes(":"),
  "ipv6-cidr": (text) => isCidr(text) && text.includes(":"),
};

/** `secrets`: whether references to secrets may stand for text, as in plugins and certificates. */
export function explain(schema: JsonSchema, value: unknown, secrets: boolean): Explanation {
  const state: State = { lenient: false, secrets };
  return { error: check(schema, value, "", state), lenient: state.lenient };
}

/** Whether `value` fits, leniencies included. */
export function fits(schema: JsonSchema, value: unknown): boolean {
  return check(schema, value, "", { lenient: false, secrets: true }) === null;
}

export function isSecretReference(value: unknown): boolean {
  return typeof value === "string" && /^\$(?:secret:|(?:env|ENV):)\/\//.test(value);
}

interface State {
  lenient: boolean;
  readonly secrets: boolean;
}

type Check = ValidationError | null;

function check(schema: JsonSchema | boolean, value: unknown, at: string, state: State): Check {
  if (schema === true) return null;
  if (schema === false) return fail("expect false always", at);
  if (state.secrets && (schema.type ?? "string") === "string" && isSecretReference(value)) {
    state.lenient = true;
    return null;
  }
  return (
    checkType(schema, value, at, state) ??
    checkObject(schema, value, at, state) ??
    checkArray(schema, value, at, state) ??
    checkText(schema, value, at) ??
    checkNumber(schema, value, at) ??
    checkEnum(schema, value, at) ??
    checkComposition(schema, value, at, state) ??
    checkConst(schema, value, at)
  );
}

function checkType(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  const { type } = schema;
  if (type === undefined) return null;
  const types = typeof type === "string" ? [type] : type;
  if (types.some((one) => isOfType(one, value))) return null;
  if (types.some((one) => isEmptyTwin(one, value))) {
    state.lenient = true;
    return null;
  }
  const wanted = typeof type === "string" ? type : `one of ${type.join(", ")}`;
  return fail(`wrong type: expected ${wanted}, got ${luaType(value)}`, at);
}

function checkObject(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    // An empty array in the place of an object lacks what the object must have.
    return Array.isArray(value) && value.length === 0 && schema.type === "object"
      ? checkRequired(schema, {}, at)
      : null;
  }
  const object = value as Record<string, unknown>;
  return (
    checkProperties(schema, object, at, state) ??
    checkRequired(schema, object, at) ??
    checkDependencies(schema, object, at, state) ??
    checkOtherProperties(schema, object, at, state) ??
    checkPropertyCount(schema, object, at)
  );
}

function checkProperties(
  schema: JsonSchema,
  object: Record<string, unknown>,
  at: string,
  state: State,
): Check {
  const properties = schema.properties ?? {};
  for (const name of Object.keys(properties)) {
    if (Object.hasOwn(object, name)) {
      const error = check(properties[name], object[name], at + pointerStep(name), state);
      if (error !== null) return prefixed(`property ${quoted(name)} validation failed: `, error);
      const dependency = checkDependency(schema, name, object, at, state);
      if (dependency !== null) return dependency;
    } else if (schema.required?.includes(name) === true) {
      return fail(`property ${quoted(name)} is required`, at + pointerStep(name));
    }
  }
  return null;
}

function checkRequired(schema: JsonSchema, object: Record<string, unknown>, at: string): Check {
  const missing = schema.required?.find((name) => !Object.hasOwn(object, name));
  return missing === undefined
    ? null
    : fail(`property ${quoted(missing)} is required`, at + pointerStep(missing));
}

/** Of fields without a schema of their own; the others were seen beside theirs. */
function checkDependencies(
  schema: JsonSchema,
  object: Record<string, unknown>,
  at: string,
  state: State,
): Check {
  for (const name of Object.keys(schema.dependencies ?? {})) {
    if (Object.hasOwn(schema.properties ?? {}, name) || !Object.hasOwn(object, name)) continue;
    const error = checkDependency(schema, name, object, at, state);
    if (error !== null) return error;
  }
  return null;
}

function checkDependency(
  schema: JsonSchema,
  name: string,
  object: Record<string, unknown>,
  at: string,
  state: State,
): Check {
  const dependency = schema.dependencies?.[name];
  if (dependency === undefined) return null;
  if (Array.isArray(dependency)) {
    const missing = dependency.find((other) => !Object.hasOwn(object, other));
    if (missing === undefined) return null;
    return fail(
      `property ${quoted(missing)} is required when ${quoted(name)} is set`,
      at + pointerStep(missing),
    );
  }
  const error = check(dependency, object, at, state);
  return error === null ? null : prefixed(`failed to validate dependent schema for ${quoted(name)}: `, error);
}

function checkOtherProperties(
  schema: JsonSchema,
  object: Record<string, unknown>,
  at: string,
  state: State,
): Check {
  const { patternProperties, additionalProperties } = schema;
  const closed = additionalProperties !== undefined && additionalProperties !== true;
  if (patternProperties === undefined && !closed) return null;
  for (const name of Object.keys(object)) {
    let matched = Object.hasOwn(schema.properties ?? {}, name);
    for (const pattern of Object.keys(patternProperties ?? {})) {
      if (!compiled(pattern).test(name)) continue;
      matched = true;
      const error = check(patternProperties![pattern], object[name], at + pointerStep(name), state);
      if (error !== null)
        return prefixed(`failed to validate ${name} (matching ${quoted(pattern)}): `, error);
    }
    if (matched || !closed) continue;
    if (additionalProperties === false) {
      return fail(`additional properties forbidden, found ${name}`, at + pointerStep(name));
    }
    const error = check(additionalProperties, object[name], at + pointerStep(name), state);
    if (error !== null) return prefixed(`failed to validate additional property ${name}: `, error);
  }
  return null;
}

function checkPropertyCount(schema: JsonSchema, object: Record<string, unknown>, at: string): Check {
  const count = Object.keys(object).length;
  if (schema.minProperties !== undefined && count < schema.minProperties) {
    return fail(`expect object to have at least ${schema.minProperties} properties`, at);
  }
  if (schema.maxProperties !== undefined && count > schema.maxProperties) {
    return fail(`expect object to have at most ${schema.maxProperties} properties`, at);
  }
  return null;
}

function checkArray(schema: JsonSchema, given: unknown, at: string, state: State): Check {
  const value = Array.isArray(given) ? (given as unknown[]) : isEmptyTwin("array", given) ? [] : null;
  if (value === null || (schema.type === "object" && value.length === 0)) return null;
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    // An empty object without a declared type is an object.
    if (!Array.isArray(given) && schema.type === undefined) return null;
    return fail(`expect array to have at least ${schema.minItems} items`, at);
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    return fail(`expect array to have at most ${schema.maxItems} items`, at);
  }
  for (let i = 0; i < value.length; i++) {
    const item = Array.isArray(schema.items) ? schema.items[i] : schema.items;
    if (item === undefined) break;
    const error = check(item, value[i], at + pointerStep(i), state);
    if (error !== null) return prefixed(`failed to validate item ${i + 1}: `, error);
  }
  return schema.uniqueItems === true ? checkUnique(value, at) : null;
}

function checkUnique(items: unknown[], at: string): Check {
  const seen = new Map<string, number>();
  for (let i = 0; i < items.length; i++) {
    const key = canonical(items[i]);
    const first = seen.get(key);
    if (first !== undefined) {
      return fail(`expected unique items but items ${first + 1} and ${i + 1} are equal`, at + pointerStep(i));
    }
    seen.set(key, i);
  }
  return null;
}

function checkText(schema: JsonSchema, value: unknown, at: string): Check {
  if (typeof value !== "string") return null;
  const { minLength, maxLength, pattern, format } = schema;
  if (minLength !== undefined || maxLength !== undefined) {
    const length = codePoints(value);
    if (minLength !== undefined && length < minLength) {
      return fail(`string too short, expected at least ${minLength}, got ${length}`, at);
    }
    if (maxLength !== undefined && length > maxLength) {
      return fail(`string too long, expected at most ${maxLength}, got ${length}`, at);
    }
  }
  if (pattern !== undefined && !compiled(pattern).test(value)) {
    return fail(`failed to match pattern ${quoted(pattern)} with ${quoted(value)}`, at);
  }
  if (format !== undefined && Object.hasOwn(FORMATS, format) && !FORMATS[format](value)) {
    return fail(`expect valid ${format} format but got: ${value}`, at);
  }
  return null;
}

function checkNumber(schema: JsonSchema, value: unknown, at: string): Check {
  if (typeof value !== "number") return null;
  const { minimum, exclusiveMinimum, maximum, exclusiveMaximum, multipleOf } = schema;
  if (minimum !== undefined && value < minimum)
    return fail(`expected ${value} to be at least ${minimum}`, at);
  if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) {
    return fail(`expected ${value} to be greater than ${exclusiveMinimum}`, at);
  }
  if (maximum !== undefined && value > maximum) return fail(`expected ${value} to be at most ${maximum}`, at);
  if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) {
    return fail(`expected ${value} to be smaller than ${exclusiveMaximum}`, at);
  }
  if (multipleOf !== undefined && !isMultiple(value, multipleOf)) {
    return fail(`expected ${value} to be a multiple of ${multipleOf}`, at);
  }
  return null;
}

function checkEnum(schema: JsonSchema, value: unknown, at: string): Check {
  if (schema.enum === undefined || schema.enum.some((one) => canonical(one) === canonical(value)))
    return null;
  return fail("matches none of the enum values", at);
}

function checkConst(schema: JsonSchema, value: unknown, at: string): Check {
  if (schema.const === undefined || canonical(schema.const) === canonical(value)) return null;
  return fail("failed to check const value", at);
}

function checkComposition(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  return (
    checkAllOf(schema, value, at, state) ??
    checkAnyOf(schema, value, at, state) ??
    checkOneOf(schema, value, at, state) ??
    checkCondition(schema, value, at, state) ??
    checkNot(schema, value, at)
  );
}

function checkAllOf(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  const branches = schema.allOf ?? [];
  for (let i = 0; i < branches.length; i++) {
    const error = check(branches[i], value, at, state);
    if (error !== null) return prefixed(`allOf ${i + 1} failed: `, error);
  }
  return null;
}

function checkAnyOf(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  if (schema.anyOf === undefined) return null;
  let pointer = at;
  for (const branch of schema.anyOf) {
    const own: State = { lenient: false, secrets: state.secrets };
    const error = check(branch, value, at, own);
    if (error === null) {
      state.lenient ||= own.lenient;
      return null;
    }
    // The form that was meant is the one that got furthest.
    if (branch.required === undefined && error.pointer.length > pointer.length) pointer = error.pointer;
  }
  const requires = schema.anyOf.filter((branch) => branch.required !== undefined);
  const list = requires.map((branch) => JSON.stringify(branch.required)).join(" or ");
  return fail(`object matches none of the required${list === "" ? "" : `: ${list}`}`, pointer);
}

function checkOneOf(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  if (schema.oneOf === undefined) return null;
  let matched = 0;
  for (let i = 0; i < schema.oneOf.length; i++) {
    const own: State = { lenient: false, secrets: state.secrets };
    if (check(schema.oneOf[i], value, at, own) !== null) continue;
    if (matched > 0) {
      return fail(`value should match only one schema, but matches both schemas ${matched} and ${i + 1}`, at);
    }
    matched = i + 1;
    state.lenient ||= own.lenient;
  }
  return matched > 0 ? null : fail("value should match only one schema, but matches none", at);
}

function checkCondition(schema: JsonSchema, value: unknown, at: string, state: State): Check {
  if (schema.if === undefined) return null;
  const holds = fits(schema.if, value);
  const branch = holds ? schema.then : schema.else;
  if (branch === undefined) return null;
  const error = check(branch, value, at, state);
  return error === null ? null : fail(`${holds ? "then" : "else"} clause did not match`, error.pointer);
}

function checkNot(schema: JsonSchema, value: unknown, at: string): Check {
  if (schema.not === undefined || !fits(schema.not, value)) return null;
  return fail("value wasn't supposed to match schema", at);
}

function compiled(pattern: string): RegExp {
  let regexp = patterns.get(pattern);
  if (regexp === undefined) {
    if (patterns.size >= PATTERN_CACHE_LIMIT) patterns.clear();
    regexp = new RegExp(pattern);
    patterns.set(pattern, regexp);
  }
  return regexp;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function fail(message: string, pointer: string): ValidationError {
  return { message, pointer };
}

function prefixed(prefix: string, error: ValidationError): ValidationError {
  return { message: prefix + error.message, pointer: error.pointer };
}
