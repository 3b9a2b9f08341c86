/** Schemas that several resources share. Bounds and patterns are those of APISIX, so that its data stays valid. */

import { Type } from "../lib/schema.ts";
import type { SchemaOptions, TSchema, TUnsafe } from "@sinclair/typebox";

export function oneOf<const T extends readonly (string | number)[]>(
  values: T,
  options: SchemaOptions = {},
): TUnsafe<T[number]> {
  return Type.Unsafe<T[number]>({
    type: typeof values[0] === "number" ? "integer" : "string",
    enum: values,
    ...options,
  });
}

/** A schema in JSON Schema's own words, for compositions that TypeBox has no name for. */
export function raw(schema: object): TSchema {
  return Type.Unsafe<unknown>(schema);
}

/** An object in which unknown keys are refused. */
export function strictObject<T extends Record<string, TSchema>>(properties: T, options: SchemaOptions = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options });
}

export const Id = Type.Unsafe<string | number>({
  anyOf: [
    { type: "string", minLength: 1, maxLength: 64, pattern: "^[a-zA-Z0-9-_.]+$" },
    { type: "integer", minimum: 1 },
  ],
});
export const Name = Type.String({ minLength: 1, maxLength: 256 });
export const Description = Type.String({ maxLength: 256 });
export const Labels = Type.Unsafe<Record<string, string>>({
  type: "object",
  patternProperties: { ".*": { type: "string", pattern: "^\\S+$", minLength: 1, maxLength: 256 } },
});
const Timestamp = Type.Integer();

/** One `*` at the start; a port may follow. Patterns are APISIX's to the letter: refusals show them. */
export const HOST_PATTERN = "^\\*$|^\\*?[0-9a-zA-Z-._\\[\\]:]+$";
export const Host = Type.String({ pattern: HOST_PATTERN });
export const Hosts = Type.Array(Host, { minItems: 1, uniqueItems: true });

/** IPv4, IPv6, or a CIDR of either; exact beyond what the pattern could say. */
export const AddressOrCidr = Type.Unsafe<string>({
  type: "string",
  anyOf: [{ format: "ipv4" }, { format: "ipv4-cidr" }, { format: "ipv6" }, { format: "ipv6-cidr" }],
});

const Seconds = Type.Number({ exclusiveMinimum: 0 });
export const Timeout = Type.Object({ connect: Seconds, send: Seconds, read: Seconds });

export const Plugins = Type.Unsafe<Record<string, unknown>>({ type: "object" });
export const Status = oneOf([1, 0], { default: 1 });
export const Port = Type.Integer({ minimum: 1, maximum: 65535 });

/** What every resource has. Times are seconds since 1970 and set by the server. */
export const common = {
  id: Type.Optional(Id),
  create_time: Type.Optional(Timestamp),
  update_time: Type.Optional(Timestamp),
};
export const described = {
  ...common,
  name: Type.Optional(Name),
  desc: Type.Optional(Description),
  labels: Type.Optional(Labels),
};

/** As a plugin's configuration may carry in `_meta`. */
export const Meta = raw({
  type: "object",
  properties: {
    disable: { type: "boolean" },
    error_response: { oneOf: [{ type: "string" }, { type: "object" }] },
    priority: { type: "integer" },
    filter: { type: "array" },
    pre_function: { type: "string" },
  },
  additionalProperties: false,
});
