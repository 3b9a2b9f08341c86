/**
 * Takes a body off the wire and pushes it to a `BodyConsumer`: by length, in chunks, or until the end of the
 * connection (RFC 9112 sections 6 and 7).
 *
 * Promises: strict chunks (hexadecimal size without sign or blanks, CRLF and nothing else, bounded extensions
 * that are dropped, bounded trailers); `feed` stops at the consumer's false and at the body's last byte and
 * says where, so that the caller keeps what belongs to the next message. One decoder serves a connection.
 * Leaves to its owner: timeouts, and the answer to an error.
 */

import type { BodyConsumer } from "../transport.ts";
import { CLASSES, CR, HEX, LF } from "./characters.ts";
import { canExtensionEnd, EXTENSION_BROKEN, EXTENSION_START, extensionStep } from "./chunk-extension.ts";
import { ERRORS, type ProtocolError } from "./errors.ts";
import type { BodyFraming } from "./framing.ts";
import { FAILED, NEED_MORE } from "./head-parser.ts";
import { TrailerParser } from "./trailer-parser.ts";

/** Digits of one chunk size: 4 PB. */
const MAX_SIZE_DIGITS = 13;
/** Extensions of one chunk, and of a whole body: nobody uses them, and their flood is a known attack. */
const MAX_EXTENSION_BYTES = 256;
const MAX_EXTENSION_BYTES_TOTAL = 16 * 1024;

export type DecoderState =
  /** Takes bytes. */
  | "flowing"
  /** The consumer said stop: feed again from the position given, after its `resumeBody`. */
  | "paused"
  /** `onEnd` was called. */
  | "complete"
  /** `error` says why; the consumer was not told. */
  | "failed";

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILERS = 6;

const SEMICOLON = 0x3b;

const NOBODY: BodyConsumer = { onBody: () => true, onEnd: () => undefined };

export class BodyDecoder {
  state: DecoderState = "complete";
  error: ProtocolError | null = null;
  /** Body bytes handed over, framing not counted. */
  bodyBytes = 0;
  readonly #copies: boolean;
  #consumer: BodyConsumer = NOBODY;
  #framing: BodyFraming = "none";
  #left = 0;
  #maxBytes = 0;
  #step = SIZE;
  #sizeDigits = 0;
  #extensionStep = EXTENSION_START;
  #extensionBytes = 0;
  #extensionBytesTotal = 0;
  #trailerParser: TrailerParser | null = null;

  /** `copies`: the buffers that are fed are reused by their owner, so chunks are copied out of them. */
  constructor(copies: boolean) {
    this.#copies = copies;
  }

  /**
   * Starts a body. `length` counts for framing "length" only; `maxBytes` (0: unlimited) bounds the other ones.
   * A body of no bytes is complete, and its `onEnd` called, before this returns.
   */
  begin(framing: BodyFraming, length: number, consumer: BodyConsumer, maxBytes = 0): void {
    this.#consumer = consumer;
    this.#framing = framing;
    this.#left = framing === "length" ? length : 0;
    this.#maxBytes = maxBytes;
    this.error = null;
    this.bodyBytes = 0;
    this.#step = SIZE;
    this.#sizeDigits = 0;
    this.#extensionBytes = 0;
    this.#extensionBytesTotal = 0;
    this.state = "flowing";
    if (framing === "none" || (framing === "length" && length === 0)) this.#complete();
  }

  /** The body goes to someone else from here on (to nobody, to be drained). */
  redirect(consumer: BodyConsumer): void {
    this.#consumer = consumer;
    this.bodyBytes = 0;
    if (this.state === "paused") this.state = "flowing";
  }

  /** Takes nothing more and tells nobody: the connection is gone. */
  abandon(): void {
    this.#consumer = NOBODY;
    if (this.state !== "complete") this.state = "failed";
  }

  /** Bytes of the body that are known to be missing; of a chunked one only what its current chunk lacks. */
  get bytesLeft(): number {
    return this.#left;
  }

  /** After the consumer's `resumeBody`. */
  resume(): void {
    if (this.state === "paused") this.state = "flowing";
  }

  /** Takes from `buffer[from, to)` what belongs to the body; answers the position behind it. */
  feed(buffer: Buffer, from: number, to: number): number {
    if (this.state !== "flowing") return from;
    if (this.#framing === "chunked") return this.#feedChunks(buffer, from, to);
    if (from === to) return from;
    const end = this.#framing === "length" ? Math.min(to, from + this.#left) : to;
    if (this.#framing === "length") this.#left -= end - from;
    if (this.#hand(buffer, from, end) && this.#framing === "length" && this.#left === 0) this.#complete();
    return end;
  }

  /** The peer ended its side: completes an until-close body; anything else that is incomplete has failed. */
  end(): void {
    if (this.state === "complete" || this.state === "failed") return;
    if (this.#framing === "close") this.#complete();
    else this.#fail(ERRORS.truncated);
  }

  /** False when the body is over or broken for the caller's loop. */
  #hand(buffer: Buffer, from: number, to: number): boolean {
    this.bodyBytes += to - from;
    if (this.#maxBytes > 0 && this.bodyBytes > this.#maxBytes) {
      this.#fail(ERRORS.bodyTooLarge);
      return false;
    }
    const piece = buffer.subarray(from, to);
    const consumer = this.#consumer;
    const goesOn = consumer.onBody(this.#copies ? Buffer.from(piece) : piece);
    // The consumer may have been replaced or the body abandoned by this very call.
    if (consumer !== this.#consumer) return this.state === "flowing";
    // The last byte by length needs no consent: there is nothing to hold back behind it.
    if (!goesOn && this.state === "flowing" && !(this.#framing === "length" && this.#left === 0))
      this.state = "paused";
    return this.state === "flowing";
  }

  #feedChunks(buffer: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      switch (this.#step) {
        case DATA: {
          const end = Math.min(to, at + this.#left);
          this.#left -= end - at;
          if (this.#left === 0) this.#step = DATA_CR;
          if (!this.#hand(buffer, at, end)) return end;
          at = end;
          break;
        }
        case TRAILERS:
          return this.#feedTrailers(buffer, at, to);
        default:
          if (!this.#framingByte(buffer[at])) return at;
          at++;
      }
    }
    return at;
  }

  /** One byte of a chunk's framing (RFC 9112 7.1). False: `error` is set. */
  #framingByte(byte: number): boolean {
    switch (this.#step) {
      case SIZE:
        if ((CLASSES[byte] & HEX) !== 0) {
          this.#left = this.#left * 16 + (byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57);
          return ++this.#sizeDigits <= MAX_SIZE_DIGITS || this.#fail(ERRORS.chunkSize);
        }
        if (this.#sizeDigits === 0) return this.#fail(ERRORS.chunkSize);
        if (byte === CR) this.#step = SIZE_LF;
        else if (byte === SEMICOLON) {
          this.#step = EXTENSION;
          this.#extensionStep = EXTENSION_START;
        } else return this.#fail(ERRORS.chunkSize);
        return true;
      case EXTENSION:
        if (byte === CR) {
          this.#step = SIZE_LF;
          return canExtensionEnd(this.#extensionStep) || this.#fail(ERRORS.chunkExtension);
        }
        this.#extensionStep = extensionStep(this.#extensionStep, byte);
        if (this.#extensionStep === EXTENSION_BROKEN) return this.#fail(ERRORS.chunkExtension);
        this.#extensionBytesTotal++;
        return (
          (++this.#extensionBytes <= MAX_EXTENSION_BYTES &&
            this.#extensionBytesTotal <= MAX_EXTENSION_BYTES_TOTAL) ||
          this.#fail(ERRORS.chunkExtension)
        );
      case SIZE_LF:
        if (byte !== LF) return this.#fail(ERRORS.chunkSize);
        this.#step = this.#left === 0 ? TRAILERS : DATA;
        this.#sizeDigits = 0;
        this.#extensionBytes = 0;
        if (this.#step === TRAILERS) this.#startTrailers();
        return true;
      case DATA_CR:
        this.#step = DATA_LF;
        return byte === CR || this.#fail(ERRORS.chunkEnd);
      default:
        this.#step = SIZE;
        return byte === LF || this.#fail(ERRORS.chunkEnd);
    }
  }

  #startTrailers(): void {
    this.#trailerParser ??= new TrailerParser();
    this.#trailerParser.reset();
    this.#trailerParser.trailers = null;
  }

  #feedTrailers(buffer: Buffer, from: number, to: number): number {
    const parser = this.#trailerParser!;
    const end = parser.feed(buffer, from, to);
    if (end === NEED_MORE) return to;
    if (end === FAILED) {
      this.#fail(parser.error!.status === 431 ? ERRORS.trailersTooLarge : parser.error!);
      return from;
    }
    this.#complete();
    return end;
  }

  #complete(): void {
    this.state = "complete";
    this.#left = 0;
    const consumer = this.#consumer;
    this.#consumer = NOBODY;
    consumer.onEnd(this.#framing === "chunked" ? this.#trailerParser!.trailers : null);
  }

  #fail(error: ProtocolError): false {
    this.state = "failed";
    this.error = error;
    this.#consumer = NOBODY;
    return false;
  }
}
