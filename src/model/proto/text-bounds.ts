/**
 * Bounds of the text of a `.proto` file, looked at before it is parsed. The parser takes quadratic time for some texts: a
 * message of 20,000 fields (400 KB) keeps it busy for half a minute, and all of control with it.
 *
 * One pass over the characters: comments and texts in quotes are skipped, blocks and statements are counted. What is no
 * proto at all is left to the parser.
 */

import { ProtoError } from "./proto-error.ts";

/** Of one message, enum or service. */
const MAX_STATEMENTS_PER_BLOCK = 1000;
/** `reserved 1, 2, 3;` has two; parser and fields look at each. */
const MAX_COMMAS_PER_BLOCK = 4000;
const MAX_STATEMENTS = 10_000;
const MAX_STATEMENT_CHARACTERS = 16_384;
/** The parser's own bound, for blocks of any kind. */
const MAX_DEPTH = 64;

const DOUBLE_QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const COMMA = 0x2c;
const SLASH = 0x2f;
const STAR = 0x2a;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

interface Block {
  statements: number;
  commas: number;
}

/** Throws `ProtoError` for a text beyond the bounds. */
export function checkTextBounds(text: string): void {
  const blocks: Block[] = [{ statements: 0, commas: 0 }];
  let statements = 0;
  let began = 0;
  for (let at = 0; at < text.length; at++) {
    const block = blocks[blocks.length - 1];
    switch (text.charCodeAt(at)) {
      case DOUBLE_QUOTE:
      case SINGLE_QUOTE: {
        const end = endOfQuoted(text, at);
        began += end - at;
        at = end;
        break;
      }
      case SLASH: {
        const end = endOfComment(text, at);
        began += end - at;
        at = end;
        break;
      }
      case COMMA:
        if (++block.commas > MAX_COMMAS_PER_BLOCK)
          refuse(MAX_COMMAS_PER_BLOCK, "commas in one block", text, at);
        break;
      case SEMICOLON:
        began = at;
        if (++block.statements > MAX_STATEMENTS_PER_BLOCK)
          refuse(MAX_STATEMENTS_PER_BLOCK, "fields, values or methods in one block", text, at);
        if (++statements > MAX_STATEMENTS) refuse(MAX_STATEMENTS, "statements", text, at);
        break;
      case OPEN:
        began = at;
        if (blocks.length > MAX_DEPTH) refuse(MAX_DEPTH, "blocks inside each other", text, at);
        if (++statements > MAX_STATEMENTS) refuse(MAX_STATEMENTS, "statements", text, at);
        blocks.push({ statements: 0, commas: 0 });
        break;
      case CLOSE:
        began = at;
        if (blocks.length > 1) blocks.pop();
        break;
    }
    if (at - began > MAX_STATEMENT_CHARACTERS)
      refuse(MAX_STATEMENT_CHARACTERS, "characters in one statement", text, at);
  }
}

/** Where the quotes close; the end of the line where they do not. */
function endOfQuoted(text: string, from: number): number {
  const quote = text.charCodeAt(from);
  for (let at = from + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === quote) return at;
  }
  return text.length;
}

function endOfComment(text: string, from: number): number {
  const next = text.charCodeAt(from + 1);
  if (next === SLASH) {
    const end = text.indexOf("\n", from);
    return end === -1 ? text.length : end;
  }
  if (next !== STAR) return from;
  const end = text.indexOf("*/", from + 2);
  return end === -1 ? text.length : end + 1;
}

function refuse(limit: number, what: string, text: string, at: number): never {
  const line = text.slice(0, at).split("\n").length;
  throw new ProtoError(`more than ${limit} ${what} (line ${line}); a descriptor set may be larger`);
}
