/**
 * Values that fit a simple schema (`type`, `properties`, `items`, `example`): an example where there is one, else
 * something random.
 *
 * A schema is compiled once. Arrays in arrays multiply: a sample ends at `MAX_VALUES` values, the rest is left out.
 */

import type { VariableReader } from "../../lib/expression.ts";
import { compileTemplate } from "../../lib/template.ts";

/** Bound of one sample; ten nested arrays would hold up to 59,049. */
export const MAX_VALUES = 10_000;

/** Bound of a schema's depth. */
const MAX_DEPTH = 32;

/** Makes one value. `budget.values` counts down; undefined: nothing can be made. */
type Maker = (reader: VariableReader, budget: { values: number }) => unknown;

export type Sampler = (reader: VariableReader) => Record<string, unknown>;

/** `schema` is that of an object. Throws an Error that says what is wrong with it. */
export function compileSample(schema: unknown): Sampler {
  const make = compileObject(schema, "response_schema", 1);
  return (reader) => make(reader, { values: MAX_VALUES });
}

type ObjectMaker = (reader: VariableReader, budget: { values: number }) => Record<string, unknown>;

function compileObject(schema: unknown, at: string, depth: number): ObjectMaker {
  const properties = Object.entries(fieldsOf(fieldsOf(schema)["properties"])).map(([name, property]) => ({
    name,
    make: compileValue(property, `${at}.properties.${name}`, depth + 1),
  }));
  return (reader, budget) => {
    const object: Record<string, unknown> = {};
    for (const { name, make } of properties) {
      const value = make(reader, budget);
      // Not an assignment: a field may be called __proto__.
      if (value !== undefined) Object.defineProperty(object, name, { value, enumerable: true });
    }
    return object;
  };
}

function compileValue(schema: unknown, at: string, depth: number): Maker {
  if (depth > MAX_DEPTH) throw new Error(`${at} is nested deeper than ${MAX_DEPTH}`);
  const { type, example, items } = fieldsOf(schema);
  const make = compileType(type, example, items, schema, at, depth);
  return (reader, budget) => (budget.values-- > 0 ? make(reader, budget) : undefined);
}

function compileType(
  type: unknown,
  example: unknown,
  items: unknown,
  schema: unknown,
  at: string,
  depth: number,
): Maker {
  switch (typeof type === "string" ? type.toLowerCase() : undefined) {
    case "string": {
      if (typeof example !== "string") return () => randomText();
      const template = compileTemplate(example);
      return (reader) => template.render(reader);
    }
    case "number":
      return typeof example === "number" ? () => example : () => Math.random() * 10_000;
    case "integer":
      return typeof example === "number" ? () => Math.floor(example) : () => randomInteger(1, 10_000);
    case "boolean":
      return typeof example === "boolean" ? () => example : () => Math.random() < 0.5;
    case "array":
      return items === undefined
        ? () => undefined
        : compileArray(compileValue(items, `${at}.items`, depth + 1));
    case "object":
      return compileObject(schema, at, depth);
    default:
      throw new Error(
        `${at}.type is ${JSON.stringify(type) ?? "absent"}, expected string, number, integer, boolean, array or object`,
      );
  }
}

function compileArray(make: Maker): Maker {
  return (reader, budget) => {
    const array: unknown[] = [];
    for (let left = randomInteger(1, 3); left > 0; left--) {
      const value = make(reader, budget);
      if (value !== undefined) array.push(value);
    }
    return array;
  };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function randomText(): string {
  let text = "";
  for (let left = randomInteger(1, 10); left > 0; left--) text += String.fromCharCode(randomInteger(97, 122));
  return text;
}

/** Both bounds included. */
function randomInteger(from: number, to: number): number {
  return from + Math.floor(Math.random() * (to - from + 1));
}
