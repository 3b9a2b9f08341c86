/**
 * Messages of protobuf as JSON text, as `pb_option` says. Fields have the names of the proto.
 *
 * Where APISIX's JSON loses something this one keeps it: whole numbers are exact whatever their size, and bytes that are no
 * UTF-8 become base64 where APISIX writes them as they are, which no reader of JSON takes.
 */

import { isUtf8 } from "node:buffer";
import { type DescEnum, type DescField, type DescMessage, fromBinary, ScalarType } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { Edition, FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { checkValueCount } from "./value-count.ts";

/** Whole numbers from here to there are numbers, however 64 bits are to be written. */
const SMALLEST_NUMBER = -(2n ** 31n);
const LARGEST_NUMBER = 2n ** 32n - 1n;

const MAX_CHARACTERS = 128 * 1024 ** 2;

type Defaults = "auto" | "none" | "all" | "lists";

export class JsonWriter {
  readonly #enumsAreNumbers: boolean;
  readonly #longs: "number" | "string" | "hex";
  readonly #defaults: Defaults;

  /** `options`: of `pb_option`. Of two for one thing, the later in the alphabet holds, as in APISIX. */
  constructor(options: readonly string[]) {
    const sorted = options.toSorted();
    const chosen = (suffix: string): string | undefined =>
      sorted.findLast((option) => option.includes(suffix));
    this.#enumsAreNumbers = chosen("enum_as_") === "enum_as_value";
    const longs = chosen("int64_as_");
    this.#longs = longs === "int64_as_string" ? "string" : longs === "int64_as_hexstring" ? "hex" : "number";
    this.#defaults = DEFAULTS[chosen("_default_") ?? ""] ?? "auto";
  }

  /** Throws for bytes that are no such message, or one of too many values. */
  write(type: DescMessage, bytes: Uint8Array): string {
    checkValueCount(type, bytes);
    return this.#message(reflect(type, fromBinary(type, bytes, { readUnknownFields: false }), false));
  }

  #message(message: ReflectMessage): string {
    let text = "";
    for (const field of message.fields) {
      const value = message.isSet(field) ? this.#field(message, field) : this.#default(message, field);
      if (value === null) continue;
      text += `${text === "" ? "" : ","}"${field.name}":${value}`;
      checkLength(text);
    }
    return `{${text}}`;
  }

  #field(message: ReflectMessage, field: DescField): string {
    switch (field.fieldKind) {
      case "message":
        return this.#message(message.get(field));
      case "enum":
        return this.#enum(field.enum, message.get(field));
      case "scalar":
        return this.#scalar(field.scalar, message.get(field));
      case "list": {
        let text = "";
        for (const item of message.get(field)) {
          text += `${text === "" ? "" : ","}${this.#item(field, item)}`;
          checkLength(text);
        }
        return `[${text}]`;
      }
      default: {
        let text = "";
        for (const [key, value] of message.get(field))
          text += `${text === "" ? "" : ","}${JSON.stringify(String(key))}:${this.#item(field, value)}`;
        return `{${text}}`;
      }
    }
  }

  /** An element of a list, a value of a map. */
  #item(field: DescField & { fieldKind: "list" | "map" }, item: unknown): string {
    if (field.message !== undefined) return this.#message(item as ReflectMessage);
    if (field.enum !== undefined) return this.#enum(field.enum, item as number);
    return this.#scalar(field.scalar, item);
  }

  /** Null: the field is left out. */
  #default(message: ReflectMessage, field: DescField): string | null {
    const isProto2 = message.desc.file.edition === Edition.EDITION_PROTO2;
    if (this.#defaults === "none") return null;
    if (field.fieldKind === "list") return isProto2 ? null : "[]";
    if (field.fieldKind === "map") return isProto2 ? null : "{}";
    if (this.#defaults === "lists" || field.fieldKind === "message" || field.oneof !== undefined) return null;
    const isImplied = field.presence === Presence.IMPLICIT;
    const isDeclared = this.#defaults === "all" && field.getDefaultValue() !== undefined;
    return isImplied || isDeclared ? this.#field(message, field) : null;
  }

  #enum(type: DescEnum, value: number): string {
    const name = this.#enumsAreNumbers ? undefined : type.value[value]?.name;
    return name === undefined ? String(value) : `"${name}"`;
  }

  #scalar(type: ScalarType, value: unknown): string {
    switch (type) {
      case ScalarType.STRING:
        return JSON.stringify(value);
      case ScalarType.BYTES:
        return JSON.stringify(textOfBytes(value as Uint8Array));
      case ScalarType.FLOAT:
      case ScalarType.DOUBLE:
        // RFC 8259 has no such numbers; the texts are those of protobuf's own JSON.
        return Number.isFinite(value) ? JSON.stringify(value) : `"${String(value)}"`;
      case ScalarType.INT64:
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
      case ScalarType.SFIXED64:
      case ScalarType.SINT64:
        return this.#long(BigInt(value as bigint | string));
      default:
        return String(value);
    }
  }

  #long(value: bigint): string {
    if (this.#longs === "number" || (value >= SMALLEST_NUMBER && value <= LARGEST_NUMBER))
      return String(value);
    if (this.#longs === "string") return `"#${value}"`;
    const [sign, size] = value < 0n ? ["-", -value] : ["", value];
    return `"#${sign}0x${size.toString(16).toUpperCase()}"`;
  }
}

const DEFAULTS: Readonly<Record<string, Defaults>> = {
  auto_default_values: "auto",
  no_default_values: "none",
  use_default_values: "all",
  // Defaults that only Lua sees; what is written has the lists alone.
  use_default_metatable: "lists",
};

/** Fields that the server left out, and their names, can make an answer many times as long. */
function checkLength(text: string): void {
  if (text.length > MAX_CHARACTERS) throw new Error(`its JSON is longer than ${MAX_CHARACTERS} characters`);
}

/** UTF-8 as text, anything else in base64. */
export function textOfBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return buffer.toString(isUtf8(buffer) ? "utf8" : "base64");
}
