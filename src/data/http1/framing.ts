/**
 * What fields say about the body behind a head (RFC 9112 section 6), gathered while fields are parsed.
 *
 * Stricter than the RFC permits: one Content-Length of plain digits, or one Transfer-Encoding that is exactly
 * `chunked`, never both; everything else is an error, for requests and answers alike.
 */

import { CLASSES, DIGIT, SPACE, TAB } from "./characters.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";

/** Digits of a length: 999 TB is enough, and the sum of two lengths is still exact. */
const MAX_LENGTH_DIGITS = 15;

export type BodyFraming =
  | "none"
  /** Exactly so many bytes. */
  | "length"
  | "chunked"
  /** Everything until the connection ends; answers only. */
  | "close";

export class FramingFields {
  /** -1: there was none. */
  contentLength = -1;
  isChunked = false;
  error: ProtocolError | null = null;

  reset(): void {
    this.contentLength = -1;
    this.isChunked = false;
    this.error = null;
  }

  addContentLength(value: string): void {
    if (this.contentLength !== -1) this.error ??= ERRORS.contentLengthRepeated;
    if (value.length === 0 || value.length > MAX_LENGTH_DIGITS) {
      this.error ??= ERRORS.contentLength;
      return;
    }
    let length = 0;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if ((CLASSES[code] & DIGIT) === 0) {
        this.error ??= ERRORS.contentLength;
        return;
      }
      length = length * 10 + (code - 0x30);
    }
    this.contentLength = length;
  }

  addTransferEncoding(value: string): void {
    if (this.isChunked) this.error ??= ERRORS.transferEncoding;
    else if (value === "chunked" || value.toLowerCase() === "chunked") this.isChunked = true;
    else this.error ??= hasUnknownCoding(value) ? ERRORS.transferCoding : ERRORS.transferEncoding;
  }

  /** After the last field; `isVersion10`: the message is HTTP/1.0, which knows no chunks (RFC 9112 6.1). */
  check(isVersion10: boolean): ProtocolError | null {
    if (this.error !== null) return this.error;
    if (this.isChunked && this.contentLength !== -1) return ERRORS.bothFramings;
    if (this.isChunked && isVersion10) return ERRORS.transferEncodingVersion;
    return null;
  }
}

const KNOWN_CODINGS = new Set([
  "chunked",
  "gzip",
  "x-gzip",
  "deflate",
  "compress",
  "x-compress",
  "identity",
  "",
]);

function hasUnknownCoding(value: string): boolean {
  return value
    .split(",")
    .some((coding) => !KNOWN_CODINGS.has(coding.replaceAll(/^[ \t]+|[ \t]+$/g, "").toLowerCase()));
}

/** Which of the tokens that matter a Connection field holds; bits, so that repeated fields can be joined. */
export const SAYS_CLOSE = 1;
export const SAYS_KEEP_ALIVE = 2;
export const SAYS_UPGRADE = 4;

/** The bits of one Connection field (RFC 9110 7.6.1). */
export function connectionTokens(value: string): number {
  switch (value) {
    case "keep-alive":
    case "Keep-Alive":
      return SAYS_KEEP_ALIVE;
    case "close":
    case "Close":
      return SAYS_CLOSE;
    case "Upgrade":
    case "upgrade":
      return SAYS_UPGRADE;
    case "":
      return 0;
    default:
      return scanTokens(value);
  }
}

function scanTokens(value: string): number {
  let found = 0;
  for (let at = 0; at < value.length;) {
    let end = value.indexOf(",", at);
    if (end === -1) end = value.length;
    let last = end;
    while (at < last && isBlank(value.charCodeAt(at))) at++;
    while (last > at && isBlank(value.charCodeAt(last - 1))) last--;
    const length = last - at;
    if (length === 5 || length === 7 || length === 10) {
      const token = value.slice(at, last).toLowerCase();
      if (token === "close") found |= SAYS_CLOSE;
      else if (token === "upgrade") found |= SAYS_UPGRADE;
      else if (token === "keep-alive") found |= SAYS_KEEP_ALIVE;
    }
    at = end + 1;
  }
  return found;
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
