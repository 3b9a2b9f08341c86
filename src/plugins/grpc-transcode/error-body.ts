/**
 * Bodies of calls that failed: what `grpc-status-details-bin` says (a `google.rpc.Status`, see
 * googleapis/google/rpc/status.proto), else what the status and its message do.
 */

import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { Registry } from "@bufbuild/protobuf";
import type { HeaderList } from "../../plugin/index.ts";
import { type JsonWriter, textOfBytes } from "./json-writer.ts";

interface Detail {
  typeUrl: string;
  value: Uint8Array;
}

/**
 * The body of a failed call as JSON text. Details whose type is `detailType` are written as such messages, others with the
 * bytes that they have. Throws for details that are none.
 */
export function errorBody(
  headers: HeaderList,
  detailType: string | undefined,
  types: Registry,
  writer: JsonWriter,
): string {
  const encoded = headers.get("grpc-status-details-bin");
  if (encoded === undefined) {
    const message = decodedMessage(headers.get("grpc-message") ?? "");
    return bodyOf(Number(headers.get("grpc-status")), message, []);
  }
  const { code, message, details } = readStatus(Buffer.from(encoded, "base64"));
  return bodyOf(
    code,
    message,
    details.map((detail) => detailText(detail, detailType, types, writer)),
  );
}

export function bodyOf(code: number, message: string, details: readonly string[]): string {
  const known = Number.isInteger(code) ? code : 2;
  return `{"error":{"code":${known},"message":${JSON.stringify(message)},"details":[${details.join(",")}]}}`;
}

function detailText(
  { typeUrl, value }: Detail,
  detailType: string | undefined,
  types: Registry,
  writer: JsonWriter,
): string {
  const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
  if (detailType === undefined || (name !== "" && name !== detailType))
    return JSON.stringify({ type_url: typeUrl, value: textOfBytes(value) });
  const type = types.getMessage(detailType);
  if (type === undefined) throw new Error(`the proto has no message ${detailType}`);
  return writer.write(type, value);
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
