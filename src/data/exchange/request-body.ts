/**
 * The request body between client and upstream: streamed, with what a retry or a plugin needs kept back.
 *
 * - It flows to the current attempt as it arrives, with back-pressure.
 * - Until it exceeds `REPLAY_BYTES` it is also kept, so that an attempt that failed can be repeated.
 * - A plugin that asks for the whole body stops the flow until it is complete (or too long).
 * - A plugin may put another body in its place; what the client still sends then goes nowhere.
 */

import type { HeaderList } from "../../lib/headers.ts";
import { type ClientTransport, UNKNOWN_LENGTH, type UpstreamTransport } from "../transport.ts";

/** What is kept of a streamed body for a retry. */
export const REPLAY_BYTES = 64 * 1024;

/** Parts that are smaller are gathered: as buffers of their own they would cost a hundred times what they hold. */
const SMALL_BYTES = 512;
const SLAB_BYTES = 4096;

type ChunkFilter = (chunk: Buffer, last: boolean) => Buffer;

/** Takes a copy of the body; keeps to its own bounds. */
export interface BodyCopy {
  writeBody(chunk: Buffer): void;
  writeEnd(trailers: HeaderList | null): void;
  abort(): void;
}

const EMPTY = Buffer.alloc(0);

export class RequestBody {
  readonly #transport: ClientTransport;
  readonly #chunks: Buffer[] = [];
  #keptBytes = 0;
  /** The last of `#chunks` is a view of it; null: it is a part as it came. */
  #slab: Buffer | null = null;
  #slabBytes = 0;
  /** Upper bound of what is kept: grows when a plugin asks for the whole body. */
  #keepLimitBytes = REPLAY_BYTES;
  #started = false;
  #complete = false;
  #trailers: HeaderList | null = null;
  readonly isSubstitute: boolean;
  /** All bytes so far are in `#chunks`. */
  isReplayable = true;
  /** Bytes received so far. */
  receivedBytes = 0;
  /** Set by a plugin. Who hands over the chunks looks after it. */
  limitBytes = Infinity;
  #target: UpstreamTransport | null = null;
  #filter: ChunkFilter | null = null;
  /** Get what goes upstream, too, and hold up nothing. */
  #copies: BodyCopy[] | null = null;
  #waiting: ((whole: Buffer | null) => void) | null = null;
  #waitLimitBytes = 0;

  /** `substitute`: a plugin's body in the place of the client's. */
  constructor(transport: ClientTransport, substitute: Buffer | null = null) {
    this.#transport = transport;
    this.isSubstitute = substitute !== null;
    if (substitute === null) return;
    this.#started = true;
    this.#complete = true;
    this.#keepUnlessEmpty(substitute);
  }

  /** Bytes that go upstream; `fromHead`: what the client said. A filter may change them, so nobody knows in advance. */
  lengthOr(fromHead: number): number {
    if (this.#filter !== null) return UNKNOWN_LENGTH;
    return this.isSubstitute ? this.#keptBytes : fromHead;
  }

  /** The plugins' `requestBody` phase, if a chain has one. */
  setFilter(filter: ChunkFilter): void {
    this.#filter = filter;
    if (!this.#started) return;
    // A plugin has read (some of) it before: that has not passed the filter yet.
    const unfiltered = this.#chunks.splice(0);
    this.#slab = null;
    this.#keptBytes = 0;
    for (const chunk of unfiltered) this.#keepUnlessEmpty(filter(chunk, false));
    if (this.#complete) this.#keepUnlessEmpty(filter(EMPTY, true));
  }

  /** Before the first `pipeTo`, while all of it is kept. */
  copyTo(copy: BodyCopy): void {
    for (const chunk of this.#chunks) copy.writeBody(chunk);
    if (this.#complete) copy.writeEnd(this.#trailers);
    else (this.#copies ??= []).push(copy);
  }

  /** Sends what is kept to `target` and lets the rest follow. Only while `isReplayable`. */
  pipeTo(target: UpstreamTransport): void {
    this.#target = target;
    let flowing = true;
    for (const chunk of this.#chunks) flowing = target.writeBody(chunk);
    if (this.#complete) {
      target.writeEnd(this.#trailers);
      return;
    }
    if (!this.#started) this.#start();
    else if (flowing) this.#transport.resumeBody();
  }

  /** The attempt is over; what arrives from now on waits for the next one. */
  unpipe(): void {
    this.#target = null;
  }

  /** The upstream takes more. */
  onWritable(): void {
    if (!this.#complete) this.#transport.resumeBody();
  }

  onChunk(received: Buffer): boolean {
    this.receivedBytes += received.length;
    if (this.isSubstitute) return true;
    const chunk = this.#filter === null ? received : this.#filter(received, false);
    if (chunk.length > 0) this.#keep(chunk);
    if (this.#copies !== null && chunk.length > 0) for (const copy of this.#copies) copy.writeBody(chunk);
    if (this.#waiting !== null) {
      if (this.#keptBytes <= this.#waitLimitBytes) return true;
      this.#settle(null);
      return false;
    }
    if (this.#target === null) return false;
    return chunk.length === 0 || this.#target.writeBody(chunk);
  }

  onEnd(trailers: HeaderList | null): void {
    if (this.isSubstitute) return;
    this.#complete = true;
    this.#trailers = trailers;
    if (this.#filter !== null) {
      const last = this.#filter(EMPTY, true);
      if (last.length > 0) {
        this.#keep(last);
        for (const copy of this.#copies ?? []) copy.writeBody(last);
        this.#target?.writeBody(last);
      }
    }
    for (const copy of this.#copies ?? []) copy.writeEnd(trailers);
    this.#copies = null;
    if (this.#waiting !== null) this.#settle(this.#whole());
    else this.#target?.writeEnd(trailers);
  }

  /** The client went away: whoever waits for the whole body gets none. */
  abort(): void {
    for (const copy of this.#copies ?? []) copy.abort();
    this.#copies = null;
    if (this.#waiting !== null) this.#settle(null);
    this.#target = null;
  }

  /** The whole body if it has arrived and was short enough to be kept, else null. */
  kept(): Buffer | null {
    return this.#complete && this.isReplayable ? this.#whole() : null;
  }

  /** The whole body, or null when it is longer than `limitBytes`. It is kept and still goes upstream. */
  readWhole(limitBytes: number): Promise<Buffer | null> {
    if (this.#complete)
      return Promise.resolve(this.isReplayable && this.#keptBytes <= limitBytes ? this.#whole() : null);
    if (!this.isReplayable || this.#keptBytes > limitBytes || this.#waiting !== null)
      return Promise.resolve(null);
    this.#keepLimitBytes = Math.max(this.#keepLimitBytes, limitBytes + REPLAY_BYTES);
    this.#waitLimitBytes = limitBytes;
    return new Promise((resolve) => {
      this.#waiting = resolve;
      if (this.#started) this.#transport.resumeBody();
      else this.#start();
    });
  }

  #start(): void {
    this.#started = true;
    this.#transport.readBody();
  }

  #keepUnlessEmpty(chunk: Buffer): void {
    if (chunk.length > 0) this.#keep(chunk);
  }

  #keep(chunk: Buffer): void {
    if (!this.isReplayable) return;
    this.#keptBytes += chunk.length;
    if (this.#keptBytes > this.#keepLimitBytes && this.#target !== null) {
      this.isReplayable = false;
      this.#chunks.length = 0;
      this.#slab = null;
      return;
    }
    const last = this.#chunks.length - 1;
    if (chunk.length < SMALL_BYTES && last !== -1 && this.#chunks[last].length < SLAB_BYTES - SMALL_BYTES)
      this.#chunks[last] = this.#gathered(this.#chunks[last], chunk);
    else {
      this.#slab = null;
      this.#chunks.push(chunk);
    }
  }

  /** `last` and `chunk` as one. */
  #gathered(last: Buffer, chunk: Buffer): Buffer {
    if (this.#slab === null) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#slabBytes = last.copy(this.#slab);
    }
    this.#slabBytes += chunk.copy(this.#slab, this.#slabBytes);
    return this.#slab.subarray(0, this.#slabBytes);
  }

  #whole(): Buffer {
    if (this.#chunks.length === 1) return this.#chunks[0];
    const whole = Buffer.concat(this.#chunks, this.#keptBytes);
    this.#chunks.length = 0;
    this.#slab = null;
    this.#chunks.push(whole);
    return whole;
  }

  #settle(whole: Buffer | null): void {
    const resolve = this.#waiting!;
    this.#waiting = null;
    resolve(whole);
  }
}
