/**
 * Heads of requests to upstreams that speak HTTP/2, and what their answers say, checked on the way in as the parser of
 * HTTP/1.1 does.
 */

import { HeaderList } from "../../lib/headers.ts";
import { reasonPhrase } from "../../lib/status-codes.ts";
import { isAll, METHOD, RELAXED_TARGET, TOKEN, VALUE } from "../http1/characters.ts";
import { InvalidFieldError } from "../http1/errors.ts";
import { type ResponseHead, UNKNOWN_LENGTH } from "../transport.ts";
import { append } from "./answer-fields.ts";
import { withoutBlanks } from "./field-blanks.ts";

const MAX_LENGTH = /^\d{1,15}$/;

/** `headers` with its `host`, which becomes `:authority`. Throws `InvalidFieldError` before anything is sent. */
export function requestFields(
  scheme: "http" | "https",
  method: string,
  target: string,
  headers: HeaderList,
  bodyLength: number,
): string[] {
  if (!isAll(method, METHOD) || method === "") throw new InvalidFieldError(":method", "method", method);
  if (!isAll(target, RELAXED_TARGET) || target === "") throw new InvalidFieldError(":path", "target", target);
  const host = headers.get("host") ?? "";
  if (!isAll(host, VALUE)) throw new InvalidFieldError(":authority", "value", host);
  const fields = [":method", method, ":scheme", scheme, ":authority", host, ":path", target];
  append(fields, headers);
  if (headers.get("te") === "trailers") fields.push("te", "trailers");
  if (bodyLength > 0) fields.push("content-length", String(bodyLength));
  return fields;
}

/** Null: the answer breaks the protocol. `hasEnded`: nothing follows. */
export function readAnswer(
  fields: readonly string[],
  hasEnded: boolean,
  method: string,
): ResponseHead | null {
  const headers = new HeaderList();
  let status = 0;
  let length = UNKNOWN_LENGTH;
  let hasTrailers = false;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i];
    const value = withoutBlanks(fields[i + 1]);
    if (name === ":status") {
      status = Number(value);
      continue;
    }
    if (name === "" || !isAll(name, TOKEN) || !isAll(value, VALUE)) return null;
    if (name === "content-length") {
      if (length !== UNKNOWN_LENGTH || !MAX_LENGTH.test(value)) return null;
      length = Number(value);
    } else if (name === "trailer" || (name === "content-type" && isGrpcType(value))) hasTrailers = true;
    headers.push(name, name, value);
  }
  if (!(status >= 100 && status <= 999)) return null;
  const hasNoBody = hasEnded || method === "HEAD" || status === 204 || status === 304;
  // A length that is known leaves no room for trailers on the way to the client.
  const bodyLength = hasNoBody ? 0 : hasTrailers ? UNKNOWN_LENGTH : length;
  return { status, reason: reasonPhrase(status), headers, version: "2", bodyLength };
}

/** "application/grpc", with a format ("+proto") or parameters behind it; not gRPC-Web, which is HTTP as any other. */
export function isGrpcType(value: string): boolean {
  if (!value.startsWith("application/grpc")) return false;
  const next = value.charCodeAt("application/grpc".length);
  return Number.isNaN(next) || next === 0x2b || next === 0x3b || next === 0x20;
}
