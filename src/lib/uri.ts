/**
 * Request targets: taken apart, normalised as nginx normalises `$uri`, and put together again for the upstream.
 *
 * There is one normaliser. The router, plugins and the upstream see its result, so no part of the gateway reads a path
 * otherwise than another. Percent-encodings are decoded once, slashes merged, dot segments resolved; decoded slashes and
 * dots count like plain ones. A broken encoding, `%00`, or a `..` above the root makes the target invalid (answer 400).
 *
 * Paths are text: valid UTF-8 becomes its characters. A byte that is part of no character becomes the lone surrogate
 * U+DC00 + byte, which `encodePath` turns back into that byte; so every path survives the way through unchanged.
 *
 * A target without anything to normalise costs one scan and one slice.
 */

import { isUtf8 } from "node:buffer";

/** The settings of the static file that concern paths. */
export interface PathRules {
  /** Removes the slash at the end, except from "/". */
  readonly deleteTailSlash: boolean;
  /** Removes `;parameters` from segments as a servlet container does; refuses those that hide a dot or empty segment. */
  readonly normalizeLikeServlet: boolean;
  /** The router sees "%2F" where the client encoded a slash; everything else sees the slash. */
  readonly matchEncodedSlash: boolean;
}

export const DEFAULT_PATH_RULES: PathRules = {
  deleteTailSlash: false,
  normalizeLikeServlet: false,
  matchEncodedSlash: false,
};

/** Where `normalizeTarget` writes. */
export interface NormalTarget {
  /** Decoded and normalised, `$uri`. */
  path: string;
  /** What the router matches: `path`, unless `matchEncodedSlash` makes a difference. */
  routingPath: string;
  /** As sent, without "?". */
  query: string;
  /** Whether there was a "?". */
  hasQuery: boolean;
}

const PERCENT = 37;
const HASH = 35;
const DOT = 46;
const SLASH = 47;
const SEMICOLON = 59;
const QUESTION = 63;

/** Longer targets are invalid; the parsers stop at their own, lower limit. */
const MAX_TARGET_LENGTH = 65_536;

/** Bytes of the path under way; a call never keeps them. */
const scratch = Buffer.allocUnsafeSlow(MAX_TARGET_LENGTH);

/** Fills `result`; false, with `result` unspecified, for a target that is to be answered 400. */
export function normalizeTarget(target: string, rules: PathRules, result: NormalTarget): boolean {
  if (target.charCodeAt(0) !== SLASH) return normalizeOther(target, result);
  let isPlain = true;
  let end = 0;
  for (; end < target.length; end++) {
    const code = target.charCodeAt(end);
    if (code === QUESTION || code === HASH) break;
    if (code === PERCENT || code > 126) {
      isPlain = false;
    } else if (code === SLASH) {
      const next = target.charCodeAt(end + 1);
      if (next === SLASH || next === DOT) isPlain = false;
    } else if (code === SEMICOLON && rules.normalizeLikeServlet) {
      isPlain = false;
    }
  }
  readQuery(target, end, result);
  const raw = end === target.length ? target : target.slice(0, end);
  const path = isPlain ? raw : normalizeSlowly(raw, rules);
  if (path === null) return false;
  result.path = rules.deleteTailSlash ? withoutTailSlash(path) : path;
  result.routingPath = result.path;
  if (rules.matchEncodedSlash && !isPlain) result.routingPath = keepEncodedSlashes(raw, path) ?? result.path;
  return true;
}

/** Targets that do not begin with a slash: "*" alone is one (OPTIONS), the absolute form was taken apart before. */
function normalizeOther(target: string, result: NormalTarget): boolean {
  result.path = target;
  result.routingPath = target;
  result.query = "";
  result.hasQuery = false;
  return target === "*";
}

/** A fragment, where a setting lets it come so far, is no part of the query. */
function readQuery(target: string, from: number, result: NormalTarget): void {
  result.hasQuery = from < target.length && target.charCodeAt(from) === QUESTION;
  if (!result.hasQuery) {
    result.query = "";
    return;
  }
  const hash = target.indexOf("#", from);
  result.query = target.slice(from + 1, hash === -1 ? target.length : hash);
}

function withoutTailSlash(path: string): string {
  return path.length > 1 && path.charCodeAt(path.length - 1) === SLASH ? path.slice(0, -1) : path;
}

/** The normal form of a raw path that begins with a slash; null when it has none. */
export function normalizePath(raw: string, rules: PathRules = DEFAULT_PATH_RULES): string | null {
  const result: NormalTarget = { path: "", routingPath: "", query: "", hasQuery: false };
  return normalizeTarget(raw, rules, result) ? result.path : null;
}

function normalizeSlowly(raw: string, rules: PathRules): string | null {
  const length = decodeInto(raw, false);
  if (length === -1) return null;
  const kept = resolveSegments(length);
  if (kept === -1) return null;
  const path = textOf(scratch.subarray(0, kept));
  return rules.normalizeLikeServlet && path.includes(";") ? stripParameters(path) : path;
}

/** Decodes into `scratch` and answers the length; -1 for a broken or forbidden encoding. */
function decodeInto(raw: string, keepEncodedSlash: boolean): number {
  if (raw.length > MAX_TARGET_LENGTH) return -1;
  let length = 0;
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code !== PERCENT) {
      if (code === 0 || code > 255) return -1; // targets are bytes: the parsers read them as Latin-1
      scratch[length++] = code;
      continue;
    }
    const value = hexValue(raw.charCodeAt(i + 1)) * 16 + hexValue(raw.charCodeAt(i + 2));
    if (!(value > 0)) return -1; // NaN: not hexadecimal
    i += 2;
    if (keepEncodedSlash && value === SLASH) {
      scratch[length++] = PERCENT;
      scratch[length++] = 50; // "2"
      scratch[length++] = 70; // "F"
    } else {
      scratch[length++] = value;
    }
  }
  return length;
}

function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : Number.NaN;
}

/** Merges slashes and resolves dot segments of `scratch` in place (RFC 3986 5.2.4); the new length, -1 above the root. */
function resolveSegments(length: number): number {
  const bytes = scratch;
  let written = 1;
  let at = 1;
  while (at < length) {
    if (bytes[at] === SLASH) {
      at++;
      continue;
    }
    let end = at;
    while (end < length && bytes[end] !== SLASH) end++;
    const size = end - at;
    if (size === 1 && bytes[at] === DOT) {
      at = end + 1;
      continue;
    }
    if (size === 2 && bytes[at] === DOT && bytes[at + 1] === DOT) {
      if (written === 1) return -1;
      written--;
      while (bytes[written - 1] !== SLASH) written--;
      at = end + 1;
      continue;
    }
    bytes.copyWithin(written, at, end);
    written += size;
    if (end < length) bytes[written++] = SLASH;
    at = end + 1;
  }
  return written;
}

/**
 * The path with "%2F" for encoded slashes, or null when it would differ from `path` by more than that: where dot
 * segments or double slashes were resolved, nobody may see another path than the router.
 */
function keepEncodedSlashes(raw: string, path: string): string | null {
  if (!/%2f/i.test(raw)) return null;
  const decoded = decodeInto(raw, false);
  if (decoded === -1 || textOf(scratch.subarray(0, decoded)) !== path) return null;
  return raw.length > MAX_TARGET_LENGTH / 3 ? null : textOf(scratch.subarray(0, decodeInto(raw, true)));
}

/** Null for a segment that would become a dot segment, or an empty one before the last. */
function stripParameters(path: string): string | null {
  const segments = path.split("/");
  for (const [at, segment] of segments.entries()) {
    const semicolon = segment.indexOf(";");
    if (semicolon === -1) continue;
    const name = segment.slice(0, semicolon);
    if (/^(?:\.|%2e){1,2}$/i.test(name) || (name === "" && at < segments.length - 1)) return null;
    segments[at] = name;
  }
  return segments.join("/");
}

function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString("utf8");
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const size = characterSize(bytes, at);
    text += size === 0 ? String.fromCharCode(0xdc00 + bytes[at]) : bytes.toString("utf8", at, at + size);
    at += Math.max(size, 1);
  }
  return text;
}

/** Bytes of the UTF-8 character at `at`; 0 when there is none. */
function characterSize(bytes: Buffer, at: number): number {
  const first = bytes[at];
  if (first < 0x80) return 1;
  const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  return at + size <= bytes.length && isUtf8(bytes.subarray(at, at + size)) ? size : 0;
}

/** Characters of the ASCII range that nginx escapes in a path, as a bit per character. */
const ESCAPED = new Uint8Array(128);
for (let code = 0; code < 32; code++) ESCAPED[code] = 1;
for (const character of ' "#%<>?\\^`{|}\x7f') ESCAPED[character.charCodeAt(0)] = 1;

/** What may not stand in a request line at all: controls and the space. */
const UNFIT = new Uint8Array(128);
for (let code = 0; code <= 32; code++) UNFIT[code] = 1;
UNFIT[127] = 1;

/** A decoded path as it may stand in a request line: nginx's set of escapes. Most paths come back as they are. */
export function encodePath(path: string): string {
  return encode(path, ESCAPED);
}

/**
 * A target, query or URI put together from parts that may hold anything, made safe to write: delimiters and
 * percent signs stay what they are, only what would break a line is encoded.
 */
export function encodeUnfit(text: string): string {
  return encode(text, UNFIT);
}

function encode(text: string, escaped: Uint8Array): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127 || escaped[code] === 1) return encodeFrom(text, i, escaped);
  }
  return text;
}

function encodeFrom(path: string, from: number, escaped: Uint8Array): string {
  let encoded = path.slice(0, from);
  for (let i = from; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code < 128) {
      encoded += escaped[code] === 1 ? percent(code) : path[i];
    } else if (code >= 0xdc80 && code <= 0xdcff) {
      encoded += percent(code - 0xdc00); // not the second half of a pair: that one is consumed below
    } else {
      const character = String.fromCodePoint(path.codePointAt(i)!);
      for (const byte of Buffer.from(character, "utf8")) encoded += percent(byte);
      i += character.length - 1;
    }
  }
  return encoded;
}

function percent(byte: number): string {
  return (byte < 16 ? "%0" : "%") + byte.toString(16).toUpperCase();
}

/** The path of a target as sent: what precedes "?" or "#". */
export function rawPathOf(target: string): string {
  const end = target.search(/[?#]/);
  return end === -1 ? target : target.slice(0, end);
}
