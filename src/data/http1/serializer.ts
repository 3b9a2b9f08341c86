/**
 * Writes heads: one Latin-1 string each, with the framing and connection fields that the body calls for.
 *
 * Promises: whatever plugins put into a header list, the text holds exactly the given fields: names are
 * tokens, values have no CR, LF, NUL or characters beyond Latin-1 (which would turn into others on the wire);
 * a breach throws `InvalidFieldError` and nothing is written. `connection`, `keep-alive`, `content-length` and
 * `transfer-encoding` in a list are skipped: only the transport knows the truth about them.
 */

import { REASON_PHRASES, reasonPhrase } from "../../lib/status-codes.ts";
import type { HeaderList } from "../../lib/headers.ts";
import { UNKNOWN_LENGTH } from "../transport.ts";
import { CLASSES, isAll, RELAXED_TARGET, TOKEN, VALUE } from "./characters.ts";
import { InvalidFieldError } from "./errors.ts";

/**
 * Head of a request to an upstream. `bodyLength` as in `UpstreamTransport.writeHead`. An `upgrade` field in
 * `headers` brings "Connection: upgrade", a `te` field "Connection: TE"; else there is no Connection field,
 * which in HTTP/1.1 means keep-alive.
 */
export function requestHeadText(
  method: string,
  target: string,
  headers: HeaderList,
  bodyLength: number,
): string {
  if (!isAll(method, TOKEN) || method === "") throw new InvalidFieldError(":method", "method", method);
  if (!isAll(target, RELAXED_TARGET) || target === "")
    throw new InvalidFieldError(":target", "target", target);
  let text = `${method} ${target} HTTP/1.1\r\n${fieldsText(headers)}`;
  if (bodyLength > 0) text += `Content-Length: ${bodyLength}\r\n`;
  else if (bodyLength === UNKNOWN_LENGTH) text += "Transfer-Encoding: chunked\r\n";
  else if (impliesBody(method)) text += "Content-Length: 0\r\n";
  if (headers.has("upgrade")) text += "Connection: upgrade\r\n";
  else if (headers.has("te")) text += "Connection: TE\r\n";
  return `${text}\r\n`;
}

/**
 * Head of an answer to a client. `framing` is the line from `lengthField`, `CHUNKED_FIELD` or ""; `keepAlive`
 * decides the Connection field (a 101 gets "upgrade").
 */
export function responseHeadText(
  status: number,
  reason: string,
  headers: HeaderList,
  framing: string,
  keepAlive: boolean,
): string {
  return (
    statusLine(status, reason) +
    fieldsText(headers) +
    framing +
    (status === 101 ? UPGRADE_END : keepAlive ? KEEP_ALIVE_END : CLOSE_END)
  );
}

/** A 1xx head: no framing, no Connection. */
export function informationalHeadText(status: number, headers: HeaderList): string {
  return `${statusLine(status, reasonPhrase(status))}${fieldsText(headers)}\r\n`;
}

export const CHUNKED_FIELD = "Transfer-Encoding: chunked\r\n";
export const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

const UPGRADE_END = "Connection: upgrade\r\n\r\n";
const KEEP_ALIVE_END = "Connection: keep-alive\r\n\r\n";
const CLOSE_END = "Connection: close\r\n\r\n";

export function lengthField(length: number): string {
  return `Content-Length: ${length}\r\n`;
}

/** The last chunk with its trailer section. */
export function lastChunkText(trailers: HeaderList | null): string {
  return trailers === null ? "0\r\n\r\n" : `0\r\n${fieldsText(trailers)}\r\n`;
}

/** Field lines of a list, each ended by CRLF. What is not known to be fit for the wire is looked through first. */
export function fieldsText(headers: HeaderList): string {
  const { names, rawNames, values } = headers;
  let text = "";
  if (headers.isChecked) {
    for (let i = 0; i < names.length; i++) {
      if (!isTransports(names[i])) text += `${rawNames[i]}: ${values[i]}\r\n`;
    }
    return text;
  }
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (isTransports(name)) continue;
    const rawName = rawNames[i];
    const value = values[i];
    if (!isAll(rawName, TOKEN) || rawName === "") throw new InvalidFieldError(rawName, "name", rawName);
    if (!isValue(value)) throw new InvalidFieldError(rawName, "value", value);
    text += `${rawName}: ${value}\r\n`;
  }
  return text;
}

const statusLines = new Map<number, string>();
for (const [status, reason] of Object.entries(REASON_PHRASES)) {
  statusLines.set(Number(status), `HTTP/1.1 ${status} ${reason}\r\n`);
}

function statusLine(status: number, reason: string): string {
  if (reason === REASON_PHRASES[status]) return statusLines.get(status)!;
  if (!isValue(reason)) throw new InvalidFieldError(":reason", "reason", reason);
  return `HTTP/1.1 ${status} ${reason}\r\n`;
}

function isTransports(name: string): boolean {
  switch (name.length) {
    case 10:
      return name === "connection" || name === "keep-alive";
    case 14:
      return name === "content-length";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

function isValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) if ((CLASSES[value.charCodeAt(i)] & VALUE) === 0) return false;
  return true;
}

/** Methods for which a missing length would make a server wait or answer 411 (RFC 9110 8.6). */
function impliesBody(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}
