/** Reads `Authorization: Basic ...` (RFC 7617) and compares passwords. */

import { timingSafeEqual } from "node:crypto";

export interface Credentials {
  username: string;
  password: string;
}

const SCHEME = /^basic\s/i;
const SCHEME_LENGTH = "basic ".length;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const WHITESPACE = /\s+/g;

/** Null: not the Basic scheme, not base64, or no colon in it. The password may hold colons, the name none. */
export function readBasicCredentials(authorization: string): Credentials | null {
  if (!SCHEME.test(authorization)) return null;
  const encoded = authorization.slice(SCHEME_LENGTH).trim();
  if (!BASE64.test(encoded)) return null;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon === -1 ? null : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** As APISIX reads them: a line feed that a shell put behind the password does not count, nor other blanks. */
export function withoutWhitespace({ username, password }: Credentials): Credentials {
  return { username: username.replace(WHITESPACE, ""), password: password.replace(WHITESPACE, "") };
}

/** The time that this takes tells the length of the password at most. Not by digests: one costs 1.3 µs. */
export function isPassword(given: string, expected: Buffer): boolean {
  const bytes = Buffer.from(given);
  const isAsLong = bytes.length === expected.length;
  return timingSafeEqual(isAsLong ? bytes : expected, expected) && isAsLong;
}
