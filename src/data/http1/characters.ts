/**
 * Character classes of HTTP/1.1 as tables over Latin-1 codes, for loops over `charCodeAt`.
 *
 * A code beyond the string (NaN) or above 255 reads as undefined, which fails every test: the end of the text
 * stops each scan without a comparison of its own.
 */

/** RFC 9110 5.6.2 `tchar`. */
export const TOKEN = 1;
/** RFC 9110 5.5: tab, space, visible ASCII and obs-text. */
export const VALUE = 2;
/** Visible ASCII without `#` and backslash (RFC 3986 has fewer; clients in the wild send `|`, `"`, `{`). */
export const TARGET = 4;
/** Method names as nginx takes them: upper-case letters, `-` and `_`. */
export const METHOD = 8;
/** Host names: unreserved characters of RFC 3986. Sub-delimiters and percent-encoding name no host of the DNS. */
export const HOST = 16;
export const DIGIT = 32;
export const HEX = 64;
/** Visible ASCII with `#` and backslash. */
export const RELAXED_TARGET = 128;

export const CLASSES = new Uint8Array(256);

function mark(characters: string, flag: number): void {
  for (let i = 0; i < characters.length; i++) CLASSES[characters.charCodeAt(i)] |= flag;
}

const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();
const DIGITS = "0123456789";

mark(`${LOWER}${UPPER}${DIGITS}!#$%&'*+-.^_\`|~`, TOKEN);
mark(`${UPPER}-_`, METHOD);
mark(`${LOWER}${UPPER}${DIGITS}-._~`, HOST);
mark(DIGITS, DIGIT);
mark(`${DIGITS}abcdefABCDEF`, HEX);
for (let code = 0x20; code < 0x100; code++) if (code !== 0x7f) CLASSES[code] |= VALUE;
CLASSES[0x09] |= VALUE;
for (let code = 0x21; code < 0x7f; code++) {
  CLASSES[code] |= RELAXED_TARGET;
  if (code !== 0x23 && code !== 0x5c) CLASSES[code] |= TARGET;
}

/** True when every character of `text` is in the class. */
export function isAll(text: string, flag: number): boolean {
  for (let i = 0; i < text.length; i++) if ((CLASSES[text.charCodeAt(i)] & flag) === 0) return false;
  return true;
}

export const TAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SPACE = 0x20;
export const COLON = 0x3a;
