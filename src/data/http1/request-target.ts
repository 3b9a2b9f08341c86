/**
 * Authorities and absolute targets of requests (RFC 9112 3.2, RFC 9110 4.2 and 7.2).
 *
 * Narrower than the grammar of RFC 3986: no user information, no percent-encoding and no sub-delimiters in a
 * host, no empty port. No DNS name needs them, and other parsers split such hosts elsewhere.
 */

import { isIPv6 } from "node:net";
import { CLASSES, COLON, DIGIT, HOST } from "./characters.ts";

const MAX_HOST_LENGTH = 255;
const BRACKET = 0x5b;

/** Lower-case "host" or "host:port" of a Host field or an absolute target; null when it is none. */
export function authorityOf(value: string): string | null {
  if (value.length === 0 || value.length > MAX_HOST_LENGTH + 6) return null;
  let at = 0;
  let hasUpper = false;
  if (value.charCodeAt(0) === BRACKET) {
    at = value.indexOf("]") + 1;
    // A zone ("fe80::1%eth0") means something on the sender's machine only.
    if (at === 0 || value.includes("%") || !isIPv6(value.slice(1, at - 1))) return null;
    hasUpper = true;
  } else {
    for (; at < value.length; at++) {
      const code = value.charCodeAt(at);
      if ((CLASSES[code] & HOST) === 0) break;
      if (code <= 0x5a && code >= 0x41) hasUpper = true;
    }
    if (at === 0 || at > MAX_HOST_LENGTH) return null;
  }
  if (at < value.length && !isPort(value, at)) return null;
  return hasUpper ? value.toLowerCase() : value;
}

/** ":1" to ":65535" from `at` to the end. */
function isPort(value: string, at: number): boolean {
  if (value.charCodeAt(at) !== COLON) return false;
  const digits = value.length - at - 1;
  if (digits < 1 || digits > 5) return false;
  let port = 0;
  for (let i = at + 1; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if ((CLASSES[code] & DIGIT) === 0) return false;
    port = port * 10 + (code - 0x30);
  }
  return port > 0 && port <= 65_535;
}

export interface AbsoluteTarget {
  authority: string;
  /** The same as it was written. */
  sentAuthority: string;
  /** Origin form; "*" for OPTIONS without a path (RFC 9112 3.2.4). */
  target: string;
}

/** Takes "http://host/path" apart; null when it is not such a target. */
export function splitAbsoluteTarget(target: string, method: string): AbsoluteTarget | null {
  const scheme = target.slice(0, 8).toLowerCase();
  const from = scheme.startsWith("http://") ? 7 : scheme === "https://" ? 8 : 0;
  if (from === 0) return null;
  let end = from;
  for (; end < target.length; end++) {
    const character = target[end];
    if (character === "/" || character === "?" || character === "#" || character === "\\") break;
  }
  const sentAuthority = target.slice(from, end);
  const authority = authorityOf(sentAuthority);
  if (authority === null) return null;
  const rest = target.slice(end);
  if (rest.startsWith("/")) return { authority, sentAuthority, target: rest };
  if (rest === "") return { authority, sentAuthority, target: method === "OPTIONS" ? "*" : "/" };
  return rest.startsWith("?") ? { authority, sentAuthority, target: `/${rest}` } : null;
}
