/**
 * Large JSON objects, read and written in slices: `JSON.parse` of a document of 10 MB holds its thread for a tenth of a
 * second and more. What is long in such documents are the lists directly in them; their entries are parsed one by one.
 *
 * The result is that of `JSON.parse`, and so are its errors: what this reader does not understand is left to that.
 */

import { slices } from "./slices.ts";

/** Below it, `JSON.parse` is as quick as a slice. */
const SHORT_CHARACTERS = 512 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const [LEFT_BRACE, RIGHT_BRACE, LEFT_BRACKET, RIGHT_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];

/** Throws `SyntaxError` as `JSON.parse` does. */
export async function parseInSlices(text: string): Promise<unknown> {
  if (text.length < SHORT_CHARACTERS) return JSON.parse(text) as unknown;
  const reader = new Reader(text);
  const found = await reader.object();
  return found === null ? (JSON.parse(text) as unknown) : found;
}

/** Text of an object, entry by entry of the lists in it. */
export function* jsonPieces(value: Readonly<Record<string, unknown>>): Generator<string, void, void> {
  let before = "{";
  for (const [name, held] of Object.entries(value)) {
    if (held === undefined) continue;
    yield `${before}${JSON.stringify(name)}:`;
    before = ",";
    if (!Array.isArray(held)) {
      yield JSON.stringify(held);
      continue;
    }
    let mark = "[";
    for (const entry of held as readonly unknown[]) {
      yield mark + (JSON.stringify(entry) ?? "null");
      mark = ",";
    }
    yield held.length === 0 ? "[]" : "]";
  }
  yield before === "{" ? "{}" : "}";
}

/** Null of a method: the text is not of the shape that it reads. */
class Reader {
  readonly #text: string;
  readonly #breathe = slices();
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  async object(): Promise<Record<string, unknown> | null> {
    const value: Record<string, unknown> = {};
    if (!this.#takes(LEFT_BRACE)) return null;
    if (!this.#takes(RIGHT_BRACE)) {
      do {
        const name = this.#parsed(this.#valueEnd());
        if (typeof name !== "string" || name === "__proto__" || !this.#takes(COLON)) return null;
        this.#skipSpace();
        const held = this.#code() === LEFT_BRACKET ? await this.#list() : this.#parsed(this.#valueEnd());
        if (held === undefined) return null;
        value[name] = held;
      } while (this.#takes(COMMA));
      if (!this.#takes(RIGHT_BRACE)) return null;
    }
    this.#skipSpace();
    return this.#at === this.#text.length ? value : null;
  }

  async #list(): Promise<unknown[] | undefined> {
    const list: unknown[] = [];
    this.#at++;
    if (this.#takes(RIGHT_BRACKET)) return list;
    do {
      const entry = this.#parsed(this.#valueEnd());
      if (entry === undefined) return undefined;
      list.push(entry);
      await this.#breathe();
    } while (this.#takes(COMMA));
    return this.#takes(RIGHT_BRACKET) ? list : undefined;
  }

  /** Undefined where that is no JSON. */
  #parsed(end: number): unknown {
    const part = this.#text.slice(this.#at, end);
    this.#at = end;
    try {
      return JSON.parse(part) as unknown;
    } catch {
      // The error with the right place is that of the whole text.
      return undefined;
    }
  }

  /** Behind the value that begins here: at what parts or closes on its level. */
  #valueEnd(): number {
    const text = this.#text;
    let depth = 0;
    for (let i = this.#at; i < text.length; i++) {
      switch (text.charCodeAt(i)) {
        case QUOTE:
          i = endOfString(text, i);
          break;
        case LEFT_BRACE:
        case LEFT_BRACKET:
          depth++;
          break;
        case RIGHT_BRACE:
        case RIGHT_BRACKET:
          if (depth === 0) return i;
          depth--;
          break;
        case COMMA:
        case COLON:
          if (depth === 0) return i;
          break;
      }
    }
    return text.length;
  }

  #takes(code: number): boolean {
    this.#skipSpace();
    if (this.#code() !== code) return false;
    this.#at++;
    return true;
  }

  #skipSpace(): void {
    while (isSpace(this.#code())) this.#at++;
  }

  #code(): number {
    return this.#text.charCodeAt(this.#at);
  }
}

/** RFC 8259 section 2. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** Place of the closing quote. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return text.length;
}
