/**
 * What a message on the wire will cost, counted before anything of it is made: an empty message in a list takes two bytes
 * there, and memory and time for each field that it could have, so that an answer of a megabyte could hold a worker for
 * minutes.
 */

import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Fields, set or not, of all messages of an answer, and the elements of its lists. About a second's work. */
const MAX_VALUES = 1_000_000;
/** As deep as the library reads. */
const MAX_DEPTH = 100;
const CONTINUES = 0x80;

const fieldsOf = new WeakMap<DescMessage, Map<number, DescField>>();

/** Throws for more than `MAX_VALUES`, and for some bytes that are no message at all. */
export function checkValueCount(type: DescMessage, bytes: Uint8Array): void {
  new Count(bytes).message(type, bytes.length, 1);
}

class Count {
  readonly #bytes: Uint8Array;
  readonly #reader: BinaryReader;
  #left = MAX_VALUES;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#reader = new BinaryReader(bytes);
  }

  /** From where the reader stands to `end`, or to the end of the group. */
  message(type: DescMessage, end: number, depth: number): void {
    if (depth > MAX_DEPTH) throw new Error(`messages are more than ${MAX_DEPTH} deep`);
    const fields = fieldsByNumber(type);
    this.#spend(fields.size);
    const reader = this.#reader;
    while (reader.pos < end) {
      const [number, wireType] = reader.tag();
      if (wireType === WireType.EndGroup) return;
      this.#spend(1);
      const field = fields.get(number);
      if (wireType === WireType.LengthDelimited) this.#delimited(field, end, depth);
      else if (wireType === WireType.StartGroup && field?.message !== undefined)
        this.message(field.message, end, depth + 1);
      else reader.skip(wireType, number);
    }
  }

  #delimited(field: DescField | undefined, end: number, depth: number): void {
    const reader = this.#reader;
    const length = reader.uint32();
    const fieldEnd = reader.pos + length;
    if (fieldEnd > end) throw new Error("a field is longer than the message around it");
    if (field?.fieldKind === "map") this.#entry(field.message, fieldEnd, depth);
    else if (field?.message !== undefined) this.message(field.message, fieldEnd, depth + 1);
    else if (field?.fieldKind === "list")
      this.#packed(field.listKind === "enum" ? ScalarType.INT32 : field.scalar, length);
    reader.pos = fieldEnd;
  }

  /** Entries have the key in field 1 and the value in field 2. */
  #entry(type: DescMessage | undefined, end: number, depth: number): void {
    const reader = this.#reader;
    while (reader.pos < end) {
      const [number, wireType] = reader.tag();
      if (number !== 2 || type === undefined || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const length = reader.uint32();
      const valueEnd = reader.pos + length;
      if (valueEnd > end) throw new Error("a value is longer than the entry around it");
      this.message(type, valueEnd, depth + 1);
      reader.pos = valueEnd;
    }
  }

  /** Numbers stand in one field together. */
  #packed(type: ScalarType | undefined, length: number): void {
    switch (type) {
      case undefined:
      case ScalarType.STRING:
      case ScalarType.BYTES:
        return;
      case ScalarType.DOUBLE:
      case ScalarType.FIXED64:
      case ScalarType.SFIXED64:
        this.#spend(length >> 3);
        return;
      case ScalarType.FLOAT:
      case ScalarType.FIXED32:
      case ScalarType.SFIXED32:
        this.#spend(length >> 2);
        return;
      default:
        this.#varints(length);
    }
  }

  #varints(length: number): void {
    const from = this.#reader.pos;
    let values = 0;
    for (let at = from; at < from + length; at++) if (this.#bytes[at] < CONTINUES) values++;
    this.#spend(values);
  }

  #spend(values: number): void {
    this.#left -= values;
    if (this.#left < 0) throw new Error(`more than ${MAX_VALUES} fields and elements of lists`);
  }
}

function fieldsByNumber(type: DescMessage): Map<number, DescField> {
  let fields = fieldsOf.get(type);
  if (fields === undefined)
    fieldsOf.set(type, (fields = new Map(type.fields.map((field) => [field.number, field]))));
  return fields;
}
