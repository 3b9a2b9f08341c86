/**
 * The first bytes of a connection, read while plugins look at them and handed on when a node stands.
 *
 * Reads only while somebody asks, and keeps at most `MAX_PEEK_BYTES` and what one read brings on top of them.
 */

import type { Socket } from "node:net";

export const MAX_PEEK_BYTES = 16_384;

export class FirstBytes {
  readonly #socket: Socket;
  #bytes: Buffer;
  #wanted = 0;
  #resolve: ((bytes: Buffer | null) => void) | null = null;
  #isOver = false;

  /** `rest`: what was read before. The socket is paused from here on. */
  constructor(socket: Socket, rest: Buffer | null) {
    this.#socket = socket;
    this.#bytes = rest ?? Buffer.alloc(0);
    socket.pause();
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Somebody waits for bytes. */
  get isAwaited(): boolean {
    return this.#resolve !== null;
  }

  peek(length: number): Promise<Buffer | null> {
    if (this.#resolve !== null) return Promise.reject(new Error("peek: asked again before it answered"));
    if (length <= this.#bytes.length) return Promise.resolve(this.#bytes);
    const socket = this.#socket;
    if (this.#isOver || length > MAX_PEEK_BYTES || socket.readableEnded || socket.destroyed)
      return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<Buffer | null>();
    this.#wanted = length;
    this.#resolve = resolve;
    socket.on("data", this.#onData);
    socket.on("end", this.#onGone);
    socket.on("close", this.#onGone);
    socket.resume();
    return promise;
  }

  /** Ends the wait, if there is one: null is answered. */
  giveUp(): void {
    this.#settle(null);
  }

  /** All of them; nothing is read here any more. */
  take(): Buffer {
    this.#isOver = true;
    this.#settle(null);
    return this.#bytes;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (this.#bytes.length >= this.#wanted) this.#settle(this.#bytes);
  };

  readonly #onGone = (): void => this.#settle(null);

  #settle(answer: Buffer | null): void {
    const resolve = this.#resolve;
    if (resolve === null) return;
    this.#resolve = null;
    const socket = this.#socket;
    socket.pause();
    socket.off("data", this.#onData);
    socket.off("end", this.#onGone);
    socket.off("close", this.#onGone);
    resolve(answer);
  }
}
