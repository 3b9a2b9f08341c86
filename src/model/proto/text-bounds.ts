/**
 * Bounds of the text of a `.proto` file, looked at before it is parsed. The parser takes quadratic time for some texts: a
 * message of 20,000 fields (400 KB) keeps it busy for half a minute, and all of control with it.
 *
 * One pass over the characters: comments and texts in quotes are skipped, blocks and statements are counted. Both are
 * told from the rest just as the parser does it, which begins a comment at a token alone and ends it with its first
 * slash behind a star: what is skipped here and read there would have no bound. What is no proto at all is left to it.
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
const OPEN_ROUND = 0x28;
const CLOSE_ROUND = 0x29;
const COMMA = 0x2c;
const SLASH = 0x2f;
const STAR = 0x2a;
const COLON = 0x3a;
const SEMICOLON = 0x3b;
const LESS = 0x3c;
const EQUALS = 0x3d;
const GREATER = 0x3e;
const OPEN_SQUARE = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_SQUARE = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;

const SPACE_CODE = 0x20;
const FIRST_NOT_ASCII = 0x80;
const SPACE = /\s/;
const LINE_END = /[\n\r\u2028\u2029]/;

interface Block {
  statements: number;
  commas: number;
}

/** Throws `ProtoError` for a text beyond the bounds. */
export function checkTextBounds(text: string): void {
  const blocks: Block[] = [{ statements: 0, commas: 0 }];
  let statements = 0;
  let began = 0;
  let isInToken = false;
  for (let at = 0; at < text.length; at++) {
    const block = blocks[blocks.length - 1];
    const code = text.charCodeAt(at);
    const wasInToken = isInToken;
    isInToken = !isDelimiter(code);
    switch (code) {
      case DOUBLE_QUOTE:
      case SINGLE_QUOTE: {
        const end = endOfQuoted(text, at);
        began += end - at;
        at = end;
        break;
      }
      case SLASH: {
        if (wasInToken) break;
        isInToken = false;
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

/** What ends a token, and is one by itself unless it is a space. */
function isDelimiter(code: number): boolean {
  switch (code) {
    case DOUBLE_QUOTE:
    case SINGLE_QUOTE:
    case OPEN_ROUND:
    case CLOSE_ROUND:
    case COMMA:
    case COLON:
    case SEMICOLON:
    case LESS:
    case EQUALS:
    case GREATER:
    case OPEN_SQUARE:
    case CLOSE_SQUARE:
    case OPEN:
    case CLOSE:
      return true;
    default:
      return code <= SPACE_CODE ? SPACE.test(String.fromCharCode(code)) : isRareSpace(code);
  }
}

function isRareSpace(code: number): boolean {
  return code >= FIRST_NOT_ASCII && SPACE.test(String.fromCharCode(code));
}

/** Where the quotes close. The parser looks for an end that is not there again and again, and takes others for it. */
function endOfQuoted(text: string, from: number): number {
  const quote = text.charCodeAt(from);
  for (let at = from + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at;
    if (code === BACKSLASH) at++;
    if (LINE_END.test(text.charAt(at))) break;
  }
  throw new ProtoError(`a text in quotes does not end in its line (line ${lineOf(text, from)})`);
}

function endOfComment(text: string, from: number): number {
  const next = text.charCodeAt(from + 1);
  if (next === SLASH) {
    const end = text.indexOf("\n", from);
    return end === -1 ? text.length : end;
  }
  if (next !== STAR) return from;
  const end = text.indexOf("*/", from + 1);
  return end === -1 ? text.length : end + 1;
}

function refuse(limit: number, what: string, text: string, at: number): never {
  throw new ProtoError(
    `more than ${limit} ${what} (line ${lineOf(text, at)}); a descriptor set may be larger`,
  );
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split("\n").length;
}
