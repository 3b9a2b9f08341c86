/**
 * What goes out on one client connection, in as few system calls as the moment permits.
 *
 * Heads and small chunks gather in one Latin-1 string, which Node hands to the kernel without a copy of our
 * own; larger chunks are written beside it under a cork, as one `writev`. Whoever completes an answer flushes;
 * what nobody flushed goes out at the end of the tick.
 */

import type { SocketWriter } from "./socket-writer.ts";

/**
 * Up to here a chunk is cheaper as part of the string than as a buffer of a `writev`. Measured, user time per
 * answer: 2.1 against 3.5 µs for 1 KiB, about equal at 2 to 3 KiB, 6.7 against 3.2 µs for 6 KiB.
 */
const SMALL_CHUNK_BYTES = 2048;
const TEXT_LIMIT = 32 * 1024;

export class Output {
  readonly #writer: SocketWriter;
  #text = "";
  #isCorked = false;
  #isScheduled = false;
  /** More will follow before this tick's work is done (pipelined requests): `flush` waits for `release`. */
  #isHeld = false;

  constructor(writer: SocketWriter) {
    this.#writer = writer;
  }

  /** The client reads more slowly than we write; the writer will tell when it goes on. */
  get isBlocked(): boolean {
    return this.#writer.isBlocked;
  }

  text(text: string): void {
    this.#text = this.#text === "" ? text : this.#text + text;
    if (this.#text.length > TEXT_LIMIT) this.#writeText();
  }

  chunk(chunk: Buffer): void {
    if (chunk.length <= SMALL_CHUNK_BYTES && !this.#isCorked) {
      this.text(chunk.toString("latin1"));
      return;
    }
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#writer.cork();
    }
    this.#writeText();
    // The kernel may take it later than the lender keeps it.
    this.#writer.chunk(Buffer.from(chunk));
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.flush();
  }

  /** Everything goes to the kernel now, unless held. */
  flush(): void {
    if (this.#isHeld) return;
    this.#writeText();
    if (this.#isCorked) {
      this.#isCorked = false;
      this.#writer.uncork();
    }
  }

  /** Everything goes to the kernel when this tick ends at the latest. */
  flushSoon(): void {
    if (this.#isScheduled || this.#isHeld) return;
    this.#isScheduled = true;
    process.nextTick(flushNow, this);
  }

  /** The answer to `flushSoon`. */
  flushScheduled(): void {
    this.#isScheduled = false;
    this.flush();
  }

  #writeText(): void {
    if (this.#text === "") return;
    const text = this.#text;
    this.#text = "";
    this.#writer.text(text);
  }
}

function flushNow(output: Output): void {
  output.flushScheduled();
}
