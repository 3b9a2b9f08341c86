/**
 * The kinds of value that the static configuration knows beyond JSON's: durations, sizes, addresses. Each is a
 * TypeBox schema with a `kind`; `decode.ts` turns the user's spelling into the unit that code uses.
 *
 * Annotations: `description` goes into the reference page; `effect: "none"` marks a key of APISIX that is
 * understood and not used yet; `expects` replaces the generated text of what was expected.
 */

import { Type } from "../lib/schema.ts";
import type { SchemaOptions, TSchema, TUnsafe } from "@sinclair/typebox";
import { isIP } from "node:net";

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** Milliseconds of "10s", "500ms", "1h" or a number of seconds; null if it is none of these. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === "number")
    return value >= 0 && Number.isFinite(value) ? Math.round(value * 1000) : null;
  if (typeof value !== "string") return null;
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(value.trim());
  return parts === null ? null : Math.round(Number(parts[1]) * DURATION_UNITS_MS[parts[2] ?? "s"]);
}

/** Bytes of "16k", "8m", "1g" or a number of bytes; null if it is none of these. */
export function parseSize(value: unknown): number | null {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? value : null;
  if (typeof value !== "string") return null;
  const parts = /^(\d+)([kmg]?)b?$/i.exec(value.trim());
  if (parts === null) return null;
  const bytes = Number(parts[1]) * SIZE_UNITS[parts[2].toLowerCase()];
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** The shortest spelling that `parseDuration` reads as `ms`. */
export function durationText(ms: number): string {
  for (const unit of ["d", "h", "m", "s"]) {
    if (ms > 0 && ms % DURATION_UNITS_MS[unit] === 0) return `${ms / DURATION_UNITS_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

/** The shortest spelling that `parseSize` reads as `bytes`. */
export function sizeText(bytes: number): string {
  for (const unit of ["g", "m", "k"]) {
    if (bytes > 0 && bytes % SIZE_UNITS[unit] === 0) return `${bytes / SIZE_UNITS[unit]}${unit}`;
  }
  return String(bytes);
}

export function isCidrText(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const slash = value.indexOf("/");
  const family = isIP(slash === -1 ? value : value.slice(0, slash));
  if (family === 0 || slash === -1) return family !== 0;
  const bits = value.slice(slash + 1);
  return /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}

interface Bounds {
  /** In the unit of the decoded value: milliseconds or bytes. */
  minimum?: number;
  maximum?: number;
}

/** Decoded to milliseconds. */
export function duration(options: SchemaOptions & Bounds): TUnsafe<number> {
  return Type.Unsafe<number>({ kind: "duration", ...options });
}

/** Decoded to bytes. */
export function size(options: SchemaOptions & Bounds): TUnsafe<number> {
  return Type.Unsafe<number>({ kind: "size", ...options });
}

export function port(options: SchemaOptions = {}): TUnsafe<number> {
  return Type.Unsafe<number>({
    type: "integer",
    minimum: 1,
    maximum: 65535,
    expects: "a port (1..65535)",
    ...options,
  });
}

/** An IP address to listen on. */
export function address(options: SchemaOptions = {}): TUnsafe<string> {
  return Type.Unsafe<string>({ kind: "address", ...options });
}

export function cidr(options: SchemaOptions = {}): TUnsafe<string> {
  return Type.Unsafe<string>({ kind: "cidr", ...options });
}

/** "ip", "ip:port" or "[ipv6]:port" of a name server. */
export function nameServer(options: SchemaOptions = {}): TUnsafe<string> {
  return Type.Unsafe<string>({ kind: "name-server", ...options });
}

export function choice<const T extends readonly string[]>(
  values: T,
  options: SchemaOptions = {},
): TUnsafe<T[number]> {
  return Type.Unsafe<T[number]>({ type: "string", enum: values, ...options });
}

/** Versions of TLS by their names, with spaces between them. */
export function tlsVersions(options: SchemaOptions = {}): TUnsafe<string> {
  return Type.Unsafe<string>({
    type: "string",
    pattern: "^ *TLSv1\\.[123](?: +TLSv1\\.[123])* *$",
    expects: "some of TLSv1.1 TLSv1.2 TLSv1.3, with spaces between them",
    ...options,
  });
}

/** A key of APISIX without effect here (yet): accepted in any form and named in one warning. */
export function withoutEffect(description: string): TUnsafe<unknown> {
  return Type.Unsafe<unknown>({ effect: "none", description });
}

/** A section: unknown keys in it are errors, and it is filled with defaults even when the file omits it. */
export function section<T extends Record<string, TSchema>>(properties: T, options: SchemaOptions = {}) {
  return Type.Object(properties, { additionalProperties: false, default: {}, ...options });
}
