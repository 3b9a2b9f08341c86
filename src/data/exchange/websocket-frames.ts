/**
 * Where the frames of one direction of a WebSocket end (RFC 6455 5.2), and the frame that closes it.
 *
 * Follows lengths only: what is in the frames, and whether it makes sense, is the business of the two ends. Somebody who
 * says the wrong lengths has no end of a frame, and is cut off when the time for one is over.
 */

import { randomBytes } from "node:crypto";

const MASKED = 0x80;
const LENGTH = 0x7f;
const LENGTH_OF_2_BYTES = 126;
const LENGTH_OF_8_BYTES = 127;
const MASK_BYTES = 4;

const OPCODE = 0;
const SHORT_LENGTH = 1;
const LONG_LENGTH = 2;

export class FrameWalker {
  #state = OPCODE;
  /** Of the frame's length, still to come. */
  #lengthBytes = 0;
  #length = 0;
  #isMasked = false;
  /** Bytes until the frame ends, once its length is known. */
  #left = 0;

  /** Nothing of a frame was passed whose rest is still to come. */
  get isBetweenFrames(): boolean {
    return this.#state === OPCODE && this.#left === 0;
  }

  /** Goes over what came. With `stops` only to the end of the frame that runs; answers how far it went. */
  walk(chunk: Buffer, stops: boolean): number {
    let at = 0;
    while (at < chunk.length && !(stops && this.isBetweenFrames)) {
      if (this.#left > 0) {
        const passed = Math.min(this.#left, chunk.length - at);
        this.#left -= passed;
        at += passed;
      } else this.#take(chunk[at++]);
    }
    return at;
  }

  #take(byte: number): void {
    switch (this.#state) {
      case OPCODE:
        this.#state = SHORT_LENGTH;
        break;
      case SHORT_LENGTH:
        this.#takeShortLength(byte);
        break;
      default:
        // Beyond 2^53 it is not exact, and not waited for.
        this.#length = this.#length * 256 + byte;
        if (--this.#lengthBytes === 0) this.#beginPayload();
    }
  }

  #takeShortLength(byte: number): void {
    const length = byte & LENGTH;
    this.#isMasked = (byte & MASKED) !== 0;
    this.#lengthBytes = length === LENGTH_OF_2_BYTES ? 2 : length === LENGTH_OF_8_BYTES ? 8 : 0;
    this.#length = this.#lengthBytes === 0 ? length : 0;
    this.#state = LONG_LENGTH;
    if (this.#lengthBytes === 0) this.#beginPayload();
  }

  #beginPayload(): void {
    this.#state = OPCODE;
    this.#left = this.#length + (this.#isMasked ? MASK_BYTES : 0);
  }
}

/** "Going away" (RFC 6455 7.4.1). */
const STATUS = Buffer.from([0x03, 0xe9]);
const CLOSE = 0x88;

/** A close frame. What goes to a server must be masked, with bytes that nobody can foretell (RFC 6455 5.3). */
export function closeFrame(isMasked: boolean): Buffer {
  if (!isMasked) return Buffer.from([CLOSE, STATUS.length, ...STATUS]);
  const mask = randomBytes(MASK_BYTES);
  return Buffer.from([CLOSE, MASKED | STATUS.length, ...mask, STATUS[0] ^ mask[0], STATUS[1] ^ mask[1]]);
}
