/**
 * Bodies of calls that failed: what `grpc-status-details-bin` says (a `google.rpc.Status`, see
 * googleapis/google/rpc/status.proto), else what the status and its message do.
 */

import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { Registry } from "@bufbuild/protobuf";
import type { HeaderList } from "../../plugin/index.ts";
import { type JsonWriter, textOfBytes } from "./json-writer.ts";

const UNKNOWN = 2;

interface Detail {
  typeUrl: string;
  value: Uint8Array;
}

/** How details are written. */
export interface DetailForm {
  /** Details of this type are written as such messages, others with the bytes that they have. Undefined: all of them. */
  readonly type: string | undefined;
  readonly types: Registry;
  readonly writer: JsonWriter;
}

/** As JSON text. What cannot be read is left as it is, or out, and told to `onFault`. */
export function errorBody(headers: HeaderList, form: DetailForm, onFault: (reason: string) => void): string {
  const encoded = headers.get("grpc-status-details-bin");
  if (encoded !== undefined) {
    try {
      const { code, message, details } = readStatus(Buffer.from(encoded, "base64"));
      const written = details.map((detail) => detailText(detail, form, onFault));
      return bodyOf(code, message, written);
    } catch (error) {
      onFault(`grpc-status-details-bin: ${(error as Error).message}`);
    }
  }
  return bodyOf(Number(headers.get("grpc-status")), decodedMessage(headers.get("grpc-message") ?? ""), []);
}

function bodyOf(code: number, message: string, details: readonly string[]): string {
  const known = Number.isInteger(code) ? code : UNKNOWN;
  return `{"error":{"code":${known},"message":${JSON.stringify(message)},"details":[${details.join(",")}]}}`;
}

function detailText(
  { typeUrl, value }: Detail,
  { type: wanted, types, writer }: DetailForm,
  onFault: (reason: string) => void,
): string {
  const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
  if (wanted !== undefined && (name === "" || name === wanted)) {
    const type = types.getMessage(wanted);
    try {
      if (type !== undefined) return writer.write(type, value);
      onFault(`the proto has no message ${JSON.stringify(wanted)} (status_detail_type)`);
    } catch (error) {
      onFault(`a detail is no ${wanted}: ${(error as Error).message}`);
    }
  }
  return JSON.stringify({ type_url: typeUrl, value: textOfBytes(value) });
}

function readStatus(bytes: Uint8Array): { code: number; message: string; details: Detail[] } {
  const status = { code: 0, message: "", details: [] as Detail[] };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === 1) status.code = reader.int32();
    else if (number === 2) status.message = reader.string();
    else if (number === 3) status.details.push(readAny(reader.bytes()));
    else reader.skip(wireType, number);
  }
  return status;
}

function readAny(bytes: Uint8Array): Detail {
  const detail: Detail = { typeUrl: "", value: Buffer.alloc(0) };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === 1) detail.typeUrl = reader.string();
    else if (number === 2) detail.value = reader.bytes();
    else reader.skip(wireType, number);
  }
  return detail;
}

/** Percent-encoded UTF-8 in the header. */
function decodedMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not encoded as it should be
  }
}
