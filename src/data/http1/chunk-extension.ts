/**
 * The grammar of chunk extensions (RFC 9112 7.1.1) as one step per byte, so that nothing of them is kept.
 *
 * Blanks around ";" and "=", which the RFC calls bad whitespace, are refused: readers disagree about them.
 */

import { CLASSES, TOKEN, VALUE } from "./characters.ts";

/** Behind ";": a name begins. */
export const EXTENSION_START = 0;
const NAME = 1;
/** Behind "=": a token or a quoted string begins. */
const VALUE_START = 2;
const TOKEN_VALUE = 3;
const QUOTED = 4;
const ESCAPED = 5;
const QUOTED_END = 6;
/** The byte does not belong here. */
export const EXTENSION_BROKEN = -1;

const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The step after `step` and `byte`. */
export function extensionStep(step: number, byte: number): number {
  switch (step) {
    case EXTENSION_START:
      return isToken(byte) ? NAME : EXTENSION_BROKEN;
    case NAME:
      if (isToken(byte)) return NAME;
      if (byte === EQUALS) return VALUE_START;
      return byte === SEMICOLON ? EXTENSION_START : EXTENSION_BROKEN;
    case VALUE_START:
      if (byte === QUOTE) return QUOTED;
      return isToken(byte) ? TOKEN_VALUE : EXTENSION_BROKEN;
    case TOKEN_VALUE:
      if (isToken(byte)) return TOKEN_VALUE;
      return byte === SEMICOLON ? EXTENSION_START : EXTENSION_BROKEN;
    case QUOTED:
      if (byte === QUOTE) return QUOTED_END;
      if (byte === BACKSLASH) return ESCAPED;
      return (CLASSES[byte] & VALUE) !== 0 ? QUOTED : EXTENSION_BROKEN;
    case ESCAPED:
      return (CLASSES[byte] & VALUE) !== 0 ? QUOTED : EXTENSION_BROKEN;
    default:
      return byte === SEMICOLON ? EXTENSION_START : EXTENSION_BROKEN;
  }
}

/** May the extensions end here? */
export function canExtensionEnd(step: number): boolean {
  return step === NAME || step === TOKEN_VALUE || step === QUOTED_END;
}

function isToken(byte: number): boolean {
  return (CLASSES[byte] & TOKEN) !== 0;
}
