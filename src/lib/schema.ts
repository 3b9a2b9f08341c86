/**
 * Builders of JSON Schemas with static types: the part of TypeBox's `Type` that Cardea and its plugins need.
 *
 * What they return is to the letter what TypeBox 0.34 returns, and the types are TypeBox's own, so schemas of both
 * may be mixed; a plugin that needs more of TypeBox can import it. The reason for own builders: TypeBox's entry
 * is some 400 modules, which cost every thread 10 MB and 60 ms, while the builders are one line each.
 */

import type { SchemaOptions, Type as TypeBox } from "@sinclair/typebox";

const KIND = Symbol.for("TypeBox.Kind");
const OPTIONAL = Symbol.for("TypeBox.Optional");

const ANY_KEY = "^(.*)$";

type Built = { [KIND]?: string; [OPTIONAL]?: string } & SchemaOptions;

/** As in TypeBox, a keyword of the kind itself cannot be overridden by an option. */
function make(kind: string, keywords: object, options?: SchemaOptions): Built {
  return { ...options, [KIND]: kind, ...keywords };
}

const builders = {
  Any: (options?: SchemaOptions) => make("Any", {}, options),
  Unknown: (options?: SchemaOptions) => make("Unknown", {}, options),
  Null: (options?: SchemaOptions) => make("Null", { type: "null" }, options),
  Boolean: (options?: SchemaOptions) => make("Boolean", { type: "boolean" }, options),
  Integer: (options?: SchemaOptions) => make("Integer", { type: "integer" }, options),
  Number: (options?: SchemaOptions) => make("Number", { type: "number" }, options),
  String: (options?: SchemaOptions) => make("String", { type: "string" }, options),
  Literal: (value: string | number | boolean, options?: SchemaOptions) =>
    make("Literal", { const: value, type: typeof value }, options),
  Array: (items: Built, options?: SchemaOptions) => make("Array", { type: "array", items }, options),
  Object(properties: Record<string, Built>, options?: SchemaOptions): Built {
    const required = Object.keys(properties).filter((name) => properties[name][OPTIONAL] === undefined);
    const keywords = required.length > 0 ? { required, properties } : { properties };
    return make("Object", { type: "object", ...keywords }, options);
  },
  /** Keys are strings, possibly with a pattern. */
  Record(key: Built & { pattern?: string }, value: Built, options?: SchemaOptions): Built {
    if (key[KIND] !== "String")
      throw new TypeError(`Type.Record: given a key of kind ${key[KIND]}, expected String`);
    return make(
      "Record",
      { type: "object", patternProperties: { [key.pattern ?? ANY_KEY]: value } },
      options,
    );
  },
  Union(types: Built[], options?: SchemaOptions): Built {
    if (types.length === 0) return make("Never", { not: {} }, options);
    if (types.length === 1) return { ...options, ...types[0] };
    return make("Union", { anyOf: types }, options);
  },
  /** Any keywords, under a type that the caller states. */
  Unsafe: (options: SchemaOptions & { [KIND]?: string } = {}) => make(options[KIND] ?? "Unsafe", {}, options),
  Optional: (schema: Built): Built => ({ ...schema, [OPTIONAL]: "Optional" }),
};

/** See TypeBox's documentation of each. */
export const Type = builders as unknown as Pick<typeof TypeBox, keyof typeof builders>;
