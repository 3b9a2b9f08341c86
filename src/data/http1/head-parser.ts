/**
 * The part that the heads of requests, answers and trailer sections have in common: lines, fields, limits.
 *
 * Promises: bytes may arrive in any pieces and no byte is looked at more than three times; lines end in CRLF
 * and nothing else (RFC 9112 2.2 permits leniency; two readings of one message are what smuggling lives on);
 * no folding, no space before the colon, no control characters; block size and field count are bounded.
 * Leaves to its subclasses: the start line and what single fields mean for framing.
 *
 * How: a window of the bytes becomes one Latin-1 string, from which values are cut, while the scans run over the
 * bytes (a third faster than `charCodeAt`, which looks at the kind of string each time). Only the part up to the
 * last LF is parsed, so each scan stops at a line end at the latest and needs no check for the end. What stands
 * behind the last LF waits as a string for the rest of its line.
 */

import { HeaderList } from "../../lib/headers.ts";
import { CLASSES, COLON, CR, LF, SPACE, TAB, TOKEN, VALUE } from "./characters.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";
import { fieldName, hashStep, LAST_FRAMING, OTHER } from "./field-names.ts";

/** `feed`: the head is not complete, everything was taken. */
export const NEED_MORE = -1;
/** `feed`: the message is broken; `error` says how. The parser takes nothing more. */
export const FAILED = -2;

/** Most heads fit; of a body that came along little more than this is turned into text. */
const WINDOW_BYTES = 2048;
/** The heads of one connection are much alike: the first window is that of the head before, and this much more. */
const WINDOW_ROOM_BYTES = 64;
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
  #windowBytes = WINDOW_BYTES;

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
    let window = this.#windowBytes;
    while (at < to) {
      const next = Math.min(to, at + window);
      window = WINDOW_BYTES;
      let text = buffer.toString("latin1", at, next);
      const waiting = this.#partial.length;
      let end: number;
      if (waiting === 0) end = this.#lines(text, buffer, at);
      else {
        const hasLineEnd = text.includes("\n");
        text = this.#partial + text;
        this.#partial = "";
        end = hasLineEnd ? this.#lines(text, Buffer.from(text, "latin1"), 0) : this.#wait(text, 0, waiting);
      }
      if (end === FAILED) return FAILED;
      if (end >= 0) {
        this.headBytes += end - waiting;
        if (this.headBytes > this.maxHeaderBytes) return this.fail(ERRORS.headTooLarge);
        this.#expect(this.headBytes + WINDOW_ROOM_BYTES);
        return this.finish() ? at + end - waiting : FAILED;
      }
      this.headBytes += next - at;
      if (this.headBytes > this.maxHeaderBytes) return this.fail(ERRORS.headTooLarge);
      at = next;
    }
    return NEED_MORE;
  }

  /** Grows at once and shrinks slowly: a head that does not fit costs more than a window that is too large. */
  #expect(bytes: number): void {
    const shrunk = this.#windowBytes - (this.#windowBytes >> 3);
    this.#windowBytes = Math.min(WINDOW_BYTES, Math.max(bytes, shrunk));
  }

  reset(): void {
    this.error = null;
    this.headBytes = 0;
    this.fields = new HeaderList();
    this.sawUnderscore = false;
    this.#inFields = false;
    this.#partial = "";
  }

  /**
   * The start line at the beginning of `text`, whose bytes begin at `bytes[base]`: position behind it in the
   * text, `NEED_MORE` (of the whole text) or `FAILED`.
   */
  protected abstract startLine(text: string, bytes: Buffer, base: number): number;
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

  #lines(text: string, bytes: Buffer, base: number): number {
    const headEnd = text.indexOf("\r\n\r\n");
    const limit = base + (headEnd === -1 ? text.lastIndexOf("\n") + 1 : headEnd + 4);
    if (limit === base) return this.#wait(text, 0, 0);
    let at = base;
    if (!this.#inFields) {
      const end = this.startLine(text, bytes, base);
      if (end < 0) return end === FAILED ? FAILED : this.#wait(text, 0, 0);
      at += end;
      this.#inFields = true;
    }
    const fields = this.fields;
    while (at < limit) {
      const nameStart = at;
      let code = bytes[at];
      if (code === CR) return bytes[at + 1] === LF ? at + 2 - base : this.fail(ERRORS.lineEnd);
      let hash = 0;
      while ((CLASSES[code] & TOKEN) !== 0) {
        hash = hashStep(hash, code);
        code = bytes[++at];
      }
      if (code !== COLON || at === nameStart) return this.#badName(code, at === nameStart);
      const name = fieldName(text, nameStart - base, at - base, hash);

      do code = bytes[++at];
      while (code === SPACE || code === TAB);
      const valueStart = at;
      while ((CLASSES[code] & VALUE) !== 0) code = bytes[++at];
      if (code !== CR) return this.fail(code === LF ? ERRORS.lineEnd : ERRORS.fieldValue);
      if (bytes[at + 1] !== LF) return this.fail(ERRORS.lineEnd);
      let valueEnd = at;
      at += 2;
      for (; valueEnd > valueStart; valueEnd--) {
        code = bytes[valueEnd - 1];
        if (code !== SPACE && code !== TAB) break;
      }

      if (fields.names.length === this.maxHeaders) return this.fail(ERRORS.tooManyFields);
      const value = text.slice(valueStart - base, valueEnd - base);
      fields.push(name.lower, name.raw, value);
      if (name.hasUnderscore) this.sawUnderscore = true;
      if (name.kind !== OTHER) {
        if (name.kind <= LAST_FRAMING && hasTab(bytes, nameStart, at)) return this.fail(ERRORS.framingBlank);
        this.special(name.kind, value);
      }
    }
    return this.#wait(text, at - base, 0);
  }

  #badName(code: number, isEmpty: boolean): number {
    if (isEmpty && (code === SPACE || code === TAB)) return this.fail(ERRORS.folding);
    return this.fail(code === LF ? ERRORS.lineEnd : ERRORS.fieldName);
  }
}

function hasTab(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] === TAB) return true;
  return false;
}
