/**
 * Heads of HTTP/2 requests (RFC 9113 8.2 and 8.3) as the exchange takes them: as strict as the parser of HTTP/1.1.
 *
 * nghttp2 has refused most of what RFC 9113 forbids before it comes here. What it leaves to its user is judged here,
 * and what it refuses is looked at again where a mistake would let a message have two readings upstream.
 */

import { HeaderList } from "../../lib/headers.ts";
import {
  CLASSES,
  COLON,
  DIGIT,
  isAll,
  METHOD,
  RELAXED_TARGET,
  TARGET,
  TOKEN,
  VALUE,
} from "../http1/characters.ts";
import { ERRORS, type ProtocolError } from "../http1/errors.ts";
import { isBodyUnusual, MAX_METHOD_BYTES, type RequestLimits } from "../http1/request-parser.ts";
import { authorityOf } from "../http1/request-target.ts";
import { isForbiddenTrailer } from "../http1/trailer-parser.ts";
import { applyUnderscorePolicy } from "../http1/underscores.ts";
import { type RequestHead, UNKNOWN_LENGTH } from "../transport.ts";
import { withoutBlanks } from "./field-blanks.ts";

/** What a field costs beside its name and value in HTTP/1.1: so `headBytes` and the limit mean the same in both. */
const FIELD_BYTES = 4;
/** Largest length that is exact as a number. */
const MAX_LENGTH_DIGITS = 15;

/** The gateway reads `fields` (name, value, name, value, as received); `hasEnded`: no body follows. */
export function readHead(
  fields: readonly string[],
  hasEnded: boolean,
  limits: RequestLimits,
): RequestHead | ProtocolError {
  const headers = new HeaderList();
  let method = "";
  let target = "";
  let scheme = "";
  let named = "";
  let host: string | null = null;
  let length = UNKNOWN_LENGTH;
  let cookieAt = -1;
  let expectsContinue = false;
  let hasUnderscore = false;
  let headBytes = 0;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i];
    let value = fields[i + 1];
    headBytes += name.length + value.length + FIELD_BYTES;
    if (name.charCodeAt(0) === COLON) {
      if (name === ":method") method = value;
      else if (name === ":path") target = value;
      else if (name === ":authority") named = value;
      else if (name === ":scheme") scheme = value;
      else return ERRORS.fieldName;
      continue;
    }
    if (!isLowerToken(name)) return ERRORS.fieldName;
    if (!isAll(value, VALUE)) return ERRORS.fieldValue;
    value = withoutBlanks(value);
    switch (name) {
      case "host":
        if (host !== null) return ERRORS.hostRepeated;
        host = value;
        continue;
      case "content-length":
        if (length !== UNKNOWN_LENGTH) return ERRORS.contentLengthRepeated;
        length = lengthOf(value);
        if (length === UNKNOWN_LENGTH) return ERRORS.contentLength;
        break;
      case "cookie":
        // Clients send one field per crumb; elsewhere it is one field (RFC 9113 8.2.3).
        if (cookieAt !== -1) {
          headers.values[cookieAt] += `; ${value}`;
          continue;
        }
        cookieAt = headers.length;
        break;
      case "expect":
        expectsContinue = value.toLowerCase() === "100-continue";
        break;
      case "te":
        if (value.toLowerCase() !== "trailers") return ERRORS.connectionField;
        break;
      default:
        if (isConnectionField(name)) return ERRORS.connectionField;
        if (!hasUnderscore && name.includes("_")) hasUnderscore = true;
    }
    if (headers.length === limits.maxHeaders) return ERRORS.tooManyFields;
    headers.push(name, name, value);
  }
  if (headBytes > limits.maxHeaderBytes) return ERRORS.headTooLarge;
  if (method.length > MAX_METHOD_BYTES || method === "" || !isAll(method, METHOD)) return ERRORS.method;
  if (method === "CONNECT" || method === "TRACE") return ERRORS.methodRefused;
  if (scheme !== "http" && scheme !== "https") return ERRORS.scheme;
  if (target.length > limits.maxTargetBytes) return ERRORS.targetTooLong;
  if (!isTarget(target, method, limits.relaxedTarget)) return ERRORS.target;
  const authority = oneAuthority(named, host);
  if (typeof authority !== "string") return authority;
  const sentAuthority = named === "" ? host! : named;
  headers.push("host", "host", sentAuthority);
  if (hasEnded && length > 0) return ERRORS.contentLength;
  const bodyLength = hasEnded ? 0 : length;
  if (bodyLength !== 0 && limits.refuseUnusualBodies && isBodyUnusual(method)) return ERRORS.unusualBody;
  if (hasUnderscore && !applyUnderscorePolicy(headers, limits.underscoresInHeaders)) return ERRORS.underscore;
  return {
    method,
    target,
    authority,
    sentAuthority,
    headers,
    version: "2",
    bodyLength,
    upgrade: null,
    expectsContinue: expectsContinue && bodyLength !== 0,
    headBytes,
  };
}

/** A trailer section; null: none of it may be passed on. What has no place in it is dropped as over HTTP/1.1. */
export function readTrailers(
  fields: readonly string[],
  limits: RequestLimits,
): HeaderList | null | ProtocolError {
  const trailers = new HeaderList();
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i];
    const value = fields[i + 1];
    if (!isLowerToken(name)) return ERRORS.fieldName;
    if (!isAll(value, VALUE)) return ERRORS.fieldValue;
    if (name === "content-length" || isConnectionField(name)) return ERRORS.trailerFraming;
    if (isForbiddenTrailer(name)) continue;
    if (trailers.length === limits.maxHeaders) return ERRORS.trailersTooLarge;
    trailers.push(name, name, withoutBlanks(value));
  }
  return trailers.length === 0 ? null : trailers;
}

export function isProtocolError<T extends object>(result: T | ProtocolError): result is ProtocolError {
  return "code" in result;
}

/** Fields of one connection, which HTTP/2 has not (RFC 9113 8.2.2). By length first, as most are others. */
export function isConnectionField(name: string): boolean {
  switch (name.length) {
    case 7:
      return name === "upgrade";
    case 10:
      return name === "connection" || name === "keep-alive";
    case 14:
      return name === "http2-settings";
    case 16:
      return name === "proxy-connection";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

/** `:authority` and `Host` name one host, whichever of them was sent (RFC 9113 8.3.1). */
function oneAuthority(named: string, host: string | null): string | ProtocolError {
  if (named === "" && host === null) return ERRORS.hostMissing;
  const authority = authorityOf(named === "" ? host! : named);
  if (authority === null) return ERRORS.host;
  if (named !== "" && host !== null && authorityOf(host) !== authority) return ERRORS.hostDiffers;
  return authority;
}

function isTarget(target: string, method: string, isRelaxed: boolean): boolean {
  if (target.charCodeAt(0) !== 0x2f) return target === "*" && method === "OPTIONS";
  return isAll(target, isRelaxed ? RELAXED_TARGET : TARGET);
}

function isLowerToken(name: string): boolean {
  if (name === "") return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if ((CLASSES[code] & TOKEN) === 0 || (code >= 0x41 && code <= 0x5a)) return false;
  }
  return true;
}

function lengthOf(value: string): number {
  if (value === "" || value.length > MAX_LENGTH_DIGITS || !isAll(value, DIGIT)) return UNKNOWN_LENGTH;
  return Number(value);
}
