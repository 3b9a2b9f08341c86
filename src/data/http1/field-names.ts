/**
 * Known header names, found from their bytes without building a string.
 *
 * The parser hashes a name while it checks it; this direct-mapped cache gives the string that was built for
 * the same spelling before, its lower-case form and what the name means for framing. A miss costs one string
 * and replaces the slot, so a hostile mix of names costs time but no memory.
 */

import { internalized, lowerName } from "../../lib/headers.ts";

export const OTHER = 0;
export const CONTENT_LENGTH = 1;
export const TRANSFER_ENCODING = 2;
/** Kinds up to here frame the message. */
export const LAST_FRAMING = TRANSFER_ENCODING;
export const HOST_FIELD = 3;
export const CONNECTION = 4;
export const UPGRADE = 5;
export const EXPECT = 6;

const KINDS = new Map<string, number>([
  ["host", HOST_FIELD],
  ["content-length", CONTENT_LENGTH],
  ["transfer-encoding", TRANSFER_ENCODING],
  ["connection", CONNECTION],
  ["upgrade", UPGRADE],
  ["expect", EXPECT],
]);

export interface FieldName {
  readonly raw: string;
  readonly lower: string;
  readonly kind: number;
  readonly hasUnderscore: boolean;
}

const SLOTS = 1024;
const cache: FieldName[] = Array.from({ length: SLOTS }, () => describe(""));

/** The step of the hash that `fieldName` expects: fold it over all codes of the name, from 0. */
export function hashStep(hash: number, code: number): number {
  return (Math.imul(hash, 31) + code) | 0;
}

/** `text[from, to)` as a field name; `hash` is `hashStep` folded over its codes. */
export function fieldName(text: string, from: number, to: number, hash: number): FieldName {
  const slot = (hash ^ (hash >>> 10)) & (SLOTS - 1);
  const known = cache[slot];
  if (known.raw.length === to - from && text.startsWith(known.raw, from)) return known;
  // A copy: a slice would keep the whole head that it came from alive for as long as the cache.
  const name = describe(internalized(Buffer.from(text.slice(from, to), "latin1").toString("latin1")));
  cache[slot] = name;
  return name;
}

function describe(raw: string): FieldName {
  const lower = lowerName(raw);
  return { raw, lower, kind: KINDS.get(lower) ?? OTHER, hasUnderscore: raw.includes("_") };
}
