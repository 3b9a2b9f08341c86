/**
 * The part that the heads of requests, answers and trailer sections have in common: lines, fields, limits.
 *
 * Promises: bytes may arrive in any pieces and no byte is looked at more than three times; lines end in CRLF
 * and nothing else (RFC 9112 2.2 permits leniency; two readings of one message are what smuggling lives on);
 * no folding, no space before the colon, no control characters; block size and field count are bounded.
 * Leaves to its subclasses: the start line and what single fields mean for framing.
 *
 * How: a window of the bytes becomes one Latin-1 string, and only the part up to its last LF is parsed. So each
 * scan stops at a line end at the latest and needs no check for the end of the text. What stands behind the
 * last LF waits as a string for the rest of its line.
 */

import { HeaderList } from "../../lib/headers.ts";
import { CLASSES, COLON, CR, LF, SPACE, TAB, TOKEN, VALUE } from "./characters.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";
import { fieldName, hashStep, LAST_FRAMING, OTHER } from "./field-names.ts";

/** `feed`: the head is not complete, everything was taken. */
export const NEED_MORE = -1;
/** `feed`: the message is broken; `error` says how. The parser takes nothing more. */
export const FAILED = -2;

/** Most heads fit; a body that came along is not turned into text. */
const WINDOW_BYTES = 2048;
/** A start line that cannot become one shows it in so many bytes. */
const START_BYTES = 16;

export interface HeadLimits {
  /** Start line and fields together. */
  maxHeaderBytes: number;
  maxHeaders: number;
}

export abstract class HeadParser {
  error: ProtocolError | null = null;
  /** Bytes of the current head taken so far; of the whole head once `feed` gave a position. */
  headBytes = 0;
  protected fields = new HeaderList();
  protected sawUnderscore = false;
  protected readonly maxHeaderBytes: number;
  protected readonly maxHeaders: number;
  #inFields = false;
  #partial = "";

  constructor(limits: HeadLimits) {
    this.maxHeaderBytes = limits.maxHeaderBytes;
    this.maxHeaders = limits.maxHeaders;
  }

  /** A head has begun and is not complete. */
  get hasBegun(): boolean {
    return this.headBytes > 0;
  }

  /**
   * Takes `buffer[from, to)`. Answers the position behind the head once it is complete (the caller then
   * calls `reset` before the next one), `NEED_MORE` or `FAILED`.
   */
  feed(buffer: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      const next = Math.min(to, at + WINDOW_BYTES);
      let text = buffer.toString("latin1", at, next);
      const waiting = this.#partial.length;
      const hasLineEnd = text.includes("\n");
      if (waiting > 0) {
        text = this.#partial + text;
        this.#partial = "";
      }
      const end = hasLineEnd ? this.#lines(text) : this.#wait(text, 0, waiting);
      if (end === FAILED) return FAILED;
      if (end >= 0) {
        this.headBytes += end - waiting;
        if (this.headBytes > this.maxHeaderBytes) return this.fail(ERRORS.headTooLarge);
        return this.finish() ? at + end - waiting : FAILED;
      }
      this.headBytes += next - at;
      if (this.headBytes > this.maxHeaderBytes) return this.fail(ERRORS.headTooLarge);
      at = next;
    }
    return NEED_MORE;
  }

  reset(): void {
    this.error = null;
    this.headBytes = 0;
    this.fields = new HeaderList();
    this.sawUnderscore = false;
    this.#inFields = false;
    this.#partial = "";
  }

  /** The start line at `at`: position behind it, `NEED_MORE` (of the whole text) or `FAILED`. */
  protected abstract startLine(text: string, at: number): number;
  /** Longest start line, line end included, and the error for a longer one. */
  protected abstract readonly maxStartBytes: number;
  protected abstract readonly startTooLong: ProtocolError;
  /** Can an incomplete start line not become one? Asked for its first bytes only. */
  protected abstract badStart(text: string): ProtocolError | null;
  /** A field of a kind other than `OTHER`, which is already in `fields`. */
  protected abstract special(kind: number, value: string): void;
  /** All fields are there: checks them together and builds the head. False: `error` is set. */
  protected abstract finish(): boolean;

  protected fail(error: ProtocolError): number {
    this.error ??= error;
    return FAILED;
  }

  #wait(text: string, from: number, seenBytes: number): number {
    this.#partial = from === 0 ? text : text.slice(from);
    if (this.#inFields) return NEED_MORE;
    if (text.length > this.maxStartBytes) return this.fail(this.startTooLong);
    // Later pieces are not looked at: that would flatten a growing rope for every byte of a slow sender.
    const error = seenBytes < START_BYTES ? this.badStart(text) : null;
    return error === null ? NEED_MORE : this.fail(error);
  }

  #lines(text: string): number {
    let at = 0;
    const limit = text.lastIndexOf("\n") + 1;
    if (!this.#inFields) {
      at = this.startLine(text, 0);
      if (at < 0) return at === FAILED ? FAILED : this.#wait(text, 0, 0);
      this.#inFields = true;
    }
    const fields = this.fields;
    while (at < limit) {
      const nameStart = at;
      let code = text.charCodeAt(at);
      if (code === CR) return text.charCodeAt(at + 1) === LF ? at + 2 : this.fail(ERRORS.lineEnd);
      let hash = 0;
      while ((CLASSES[code] & TOKEN) !== 0) {
        hash = hashStep(hash, code);
        code = text.charCodeAt(++at);
      }
      if (code !== COLON || at === nameStart) return this.#badName(code, at === nameStart);
      const name = fieldName(text, nameStart, at, hash);

      do code = text.charCodeAt(++at);
      while (code === SPACE || code === TAB);
      const valueStart = at;
      while ((CLASSES[code] & VALUE) !== 0) code = text.charCodeAt(++at);
      if (code !== CR) return this.fail(code === LF ? ERRORS.lineEnd : ERRORS.fieldValue);
      if (text.charCodeAt(at + 1) !== LF) return this.fail(ERRORS.lineEnd);
      let valueEnd = at;
      at += 2;
      for (; valueEnd > valueStart; valueEnd--) {
        code = text.charCodeAt(valueEnd - 1);
        if (code !== SPACE && code !== TAB) break;
      }

      if (fields.names.length === this.maxHeaders) return this.fail(ERRORS.tooManyFields);
      const value = text.slice(valueStart, valueEnd);
      fields.push(name.lower, name.raw, value);
      if (name.hasUnderscore) this.sawUnderscore = true;
      if (name.kind !== OTHER) {
        if (name.kind <= LAST_FRAMING && text.lastIndexOf("\t", at - 1) >= nameStart)
          return this.fail(ERRORS.framingBlank);
        this.special(name.kind, value);
      }
    }
    return this.#wait(text, at, 0);
  }

  #badName(code: number, isEmpty: boolean): number {
    if (isEmpty && (code === SPACE || code === TAB)) return this.fail(ERRORS.folding);
    return this.fail(code === LF ? ERRORS.lineEnd : ERRORS.fieldName);
  }
}
