/**
 * From named values to the message of a call. Names are those of the proto, or their form in protobuf's own JSON; others are
 * ignored, and so is null.
 *
 * Texts stand for numbers, truth and enums, too, since forms and queries have nothing else. As in APISIX bytes are text in
 * UTF-8, and whole numbers may be written "#123", "0x1F" or "#-0x1F". What does not fit is refused with the name of the field.
 */

import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { type Arguments, isObject } from "./arguments.ts";
import { InvalidRequest } from "./invalid-request.ts";

/** As deep as the library reads messages. */
const MAX_DEPTH = 100;
const INTEGER = /^[#+-]*(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20})$/;
const MAX_NUMBER_CHARACTERS = 64;
const MAX_SHOWN_CHARACTERS = 64;

/** Fields, set or not, of all messages of a request, and the elements of its lists: some tenths of a second's work. */
const MAX_VALUES = 250_000;

/** Where the encoder stands. */
interface Walk {
  /** Messages inside each other. */
  depth: number;
  /** Values that may still come. */
  left: number;
}

/** Throws `InvalidRequest`. */
export function encodeMessage(type: DescMessage, values: Arguments): Uint8Array {
  const message = fill(type, values, "", { depth: 0, left: MAX_VALUES });
  try {
    return toBinary(type, message.message);
  } catch (error) {
    throw invalid("", (error as Error).message);
  }
}

function fill(type: DescMessage, values: Arguments, path: string, walk: Walk): ReflectMessage {
  if (++walk.depth > MAX_DEPTH) throw invalid(path, `messages are more than ${MAX_DEPTH} deep`);
  spend(walk, 1 + type.fields.length, path);
  const message = reflect(type, create(type));
  for (const field of type.fields) {
    const value = own(values, field.name) ?? own(values, field.jsonName);
    if (value === undefined || value === null) continue;
    const place = path === "" ? field.name : `${path}.${field.name}`;
    try {
      set(message, field, value, place, walk);
    } catch (error) {
      // The library's words for a number that is out of range, say.
      throw error instanceof InvalidRequest ? error : invalid(place, (error as Error).message);
    }
  }
  walk.depth--;
  return message;
}

function spend(walk: Walk, values: number, path: string): void {
  walk.left -= values;
  if (walk.left < 0) throw invalid(path, `more than ${MAX_VALUES} fields and elements of lists`);
}

function own(values: Arguments, name: string): unknown {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

function set(message: ReflectMessage, field: DescField, value: unknown, path: string, walk: Walk): void {
  switch (field.fieldKind) {
    case "message":
      message.set(field, fill(field.message, objectOf(value, path), path, walk));
      break;
    case "enum":
      message.set(field, enumValue(field.enum, value, path));
      break;
    case "scalar":
      message.set(field, scalarValue(field.scalar, value, path));
      break;
    case "list": {
      const list = message.get(field);
      for (const [i, item] of listOf(value, path).entries())
        list.add(itemValue(field, item, `${path}[${i}]`, walk));
      break;
    }
    case "map": {
      const map = message.get(field);
      for (const [key, item] of Object.entries(objectOf(value, path))) {
        const place = `${path}[${shown(key)}]`;
        map.set(scalarValue(field.mapKey, key, place), itemValue(field, item, place, walk));
      }
      break;
    }
  }
}

/** An element of a list, a value of a map. */
function itemValue(
  field: DescField & { fieldKind: "list" | "map" },
  value: unknown,
  path: string,
  walk: Walk,
): ReflectMessage | number | string | bigint | boolean | Uint8Array {
  spend(walk, 1, path);
  if (field.message !== undefined) return fill(field.message, objectOf(value, path), path, walk);
  if (field.enum !== undefined) return enumValue(field.enum, value, path);
  return scalarValue(field.scalar, value, path);
}

function objectOf(value: unknown, path: string): Arguments {
  if (!isObject(value)) throw expected("an object", value, path);
  return value;
}

/** A form has a list only where a name stands twice. */
function listOf(value: unknown, path: string): unknown[] {
  if (Array.isArray(value)) return value as unknown[];
  if (typeof value === "string") return [value];
  throw expected("a list", value, path);
}

function enumValue(type: DescEnum, value: unknown, path: string): number {
  if (typeof value === "string") {
    const found = type.values.find(({ name }) => name === value);
    if (found !== undefined) return found.number;
  }
  const number = integerOf(value);
  if (number === null) throw expected(`a value of ${type.typeName}`, value, path);
  return Number(number);
}

function scalarValue(
  type: ScalarType,
  value: unknown,
  path: string,
): number | string | bigint | boolean | Uint8Array {
  switch (type) {
    case ScalarType.STRING:
      return textOf(value, path);
    case ScalarType.BYTES:
      return Buffer.from(textOf(value, path));
    case ScalarType.BOOL:
      return truthOf(value, path);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return numberOf(value, path);
    default: {
      const integer = integerOf(value);
      if (integer === null) throw expected("a whole number", value, path);
      return isLong(type) ? integer : Number(integer);
    }
  }
}

function isLong(type: ScalarType): boolean {
  return (
    type === ScalarType.INT64 ||
    type === ScalarType.UINT64 ||
    type === ScalarType.FIXED64 ||
    type === ScalarType.SFIXED64 ||
    type === ScalarType.SINT64
  );
}

function textOf(value: unknown, path: string): string {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (typeof value !== "string") throw expected("text", value, path);
  if (!value.isWellFormed()) throw invalid(path, "half a character of UTF-16");
  return value;
}

/** "?flag" in a query is "". */
function truthOf(value: unknown, path: string): boolean {
  if (value === true || value === "true" || value === "1" || value === 1 || value === "") return true;
  if (value === false || value === "false" || value === "0" || value === 0) return false;
  throw expected("true or false", value, path);
}

function numberOf(value: unknown, path: string): number {
  if (typeof value === "number" || typeof value === "bigint") return Number(value);
  if (typeof value === "string" && value.trim() !== "" && value.length <= MAX_NUMBER_CHARACTERS) {
    const number = Number(value);
    if (!Number.isNaN(number) || value === "NaN") return number;
  }
  throw expected("a number", value, path);
}

function integerOf(value: unknown): bigint | null {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : null;
  if (typeof value !== "string" || value.length > MAX_NUMBER_CHARACTERS || !INTEGER.test(value)) return null;
  const digits = value.replace(/^[#+-]*/, "");
  const size = BigInt(digits);
  const minuses = value.split("-").length - 1;
  return minuses % 2 === 1 ? -size : size;
}

function expected(what: string, value: unknown, path: string): InvalidRequest {
  return invalid(path, `expected ${what}, got ${shown(value)}`);
}

function invalid(path: string, reason: string): InvalidRequest {
  return new InvalidRequest(path === "" ? reason : `${path}: ${reason}`);
}

function shown(value: unknown): string {
  if (typeof value === "object") return Array.isArray(value) ? "a list" : "an object";
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? "");
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
}
