/**
 * Text as a header field can carry it: bytes, one per character (Latin-1), without control characters.
 *
 * Configuration and paths hold characters, headers that came over the wire hold bytes. `wireText` turns the former
 * into UTF-8; `wireValue` leaves the latter as they are and only replaces what would break a field: characters
 * beyond Latin-1 become their UTF-8 bytes, control characters their percent-encoding, as in nginx's Lua module.
 */

const UNFIT = /[^\t\x20-\x7e\x80-\xff]/;
const UNFIT_CHARACTERS = /[^\t\x20-\x7e\x80-\xff]+/g;
const BEYOND_ASCII = /[^\x00-\x7f]/;
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Of text written by an operator. */
export function wireText(text: string): string {
  return wireValue(BEYOND_ASCII.test(text) ? Buffer.from(text).toString("latin1") : text);
}

/** Of the value of a variable. */
export function wireValue(value: string): string {
  return UNFIT.test(value) ? value.replace(UNFIT_CHARACTERS, encode) : value;
}

/** Whether `name` is a token (RFC 9110 5.6.2), as names of fields must be. */
export function isFieldName(name: string): boolean {
  return FIELD_NAME.test(name);
}

function encode(unfit: string): string {
  let text = "";
  for (const byte of Buffer.from(unfit)) {
    text +=
      byte < 0x20 || byte === 0x7f
        ? `%${byte.toString(16).padStart(2, "0").toUpperCase()}`
        : String.fromCharCode(byte);
  }
  return text;
}
