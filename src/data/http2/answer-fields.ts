/**
 * Header and trailer sections as `node:http2` takes them: one flat list of names and values, in order.
 *
 * Promises, as the serialiser of HTTP/1.1: what plugins put into a list cannot split a message (`InvalidFieldError`,
 * nothing is written), names are lower case, and no field of a connection goes out (RFC 9113 8.2.2).
 */

import type { HeaderList } from "../../lib/headers.ts";
import { isAll, TOKEN, VALUE } from "../http1/characters.ts";
import { InvalidFieldError } from "../http1/errors.ts";
import { withoutBlanks } from "./field-blanks.ts";
import { isConnectionField } from "./head.ts";

/** The longest head that may be asked for (`cardea.upstream.max_header_size`): a longer one would end all that runs beside it. */
export const MAX_HEAD_BYTES = 16 * 1024 * 1024;

/** `length`: value of content-length; -1: there is none. */
export function headFields(status: number, headers: HeaderList, length: number): string[] {
  const fields = [":status", String(status)];
  append(fields, headers);
  if (length >= 0) fields.push("content-length", String(length));
  return fields;
}

export function trailerFields(trailers: HeaderList): string[] {
  const fields: string[] = [];
  append(fields, trailers);
  return fields;
}

/** Bytes of the section as HTTP/1.1 would write it: what `$bytes_sent` counts, since HPACK's are not told. */
export function fieldBytes(fields: readonly string[]): number {
  let bytes = 0;
  for (let i = 0; i < fields.length; i += 2) bytes += fields[i].length + fields[i + 1].length + 4;
  return bytes;
}

/** Appends what may go over HTTP/2, without `host`, `te` and the length, which stand elsewhere or are the transport's. */
export function append(fields: string[], { names, values, isChecked }: HeaderList): void {
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (name === "content-length" || name === "te" || name === "host" || isConnectionField(name)) continue;
    let value = values[i];
    if (!isChecked) {
      // A leading colon is no token: nobody makes a pseudo-header.
      if (name === "" || !isAll(name, TOKEN)) throw new InvalidFieldError(name, "name", name);
      if (!isAll(value, VALUE)) throw new InvalidFieldError(name, "value", value);
      value = withoutBlanks(value);
    }
    fields.push(name, value);
  }
}

/** Where `node:http2` takes no list: repeated names become one field of several values. */
export function asObject(fields: readonly string[]): Record<string, string | string[]> {
  const object = Object.create(null) as Record<string, string | string[]>;
  for (let i = 0; i < fields.length; i += 2) {
    const before = object[fields[i]];
    if (before === undefined) object[fields[i]] = fields[i + 1];
    else if (typeof before === "string") object[fields[i]] = [before, fields[i + 1]];
    else before.push(fields[i + 1]);
  }
  return object;
}
