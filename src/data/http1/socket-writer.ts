/**
 * Text on its way to a socket, with as little as Node permits between it and the kernel.
 *
 * `Writable.write` costs 0.75 µs of its own: its state, a record for the callback, a tick to call it in. While nothing waits
 * before it, text for a plain TCP socket goes straight to `_write`, the method with which a socket takes what its
 * Writable gives it. What the kernel does not take at once waits in the socket's own queue, in order with whatever is
 * written, ended or shut down later; until it is gone, the writer says that it is blocked, and then tells `onDrain`.
 *
 * TLS takes one write at a time and stays with `write`, as do large chunks.
 */

import { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { borrow, giveBack, LARGEST_LENT_BYTES } from "./lent-buffers.ts";

export class SocketWriter {
  readonly #socket: Socket;
  readonly #onDrain: () => void;
  readonly #isPlain: boolean;
  /** Of a direct write that the kernel has not taken whole; 0 when there is none. */
  #waitingBytes = 0;
  #isWriting = false;
  /** Behind copies that are not with the kernel yet, in the order of their writes. */
  #lent: Buffer[] | null = null;

  /** `onDrain`: after a write that answered false, once everything is with the kernel. */
  constructor(socket: Socket, onDrain: () => void) {
    this.#socket = socket;
    this.#onDrain = onDrain;
    this.#isPlain = socket instanceof Socket && !(socket instanceof TLSSocket);
    socket.on("drain", this.#drained);
  }

  /** The peer reads more slowly than we write. */
  get isBlocked(): boolean {
    return this.#waitingBytes > 0 || this.#socket.writableNeedDrain;
  }

  /** Not yet with the kernel. */
  get unsentBytes(): number {
    return this.#waitingBytes + this.#socket.writableLength;
  }

  /** What is written now goes straight to the kernel. */
  get isFree(): boolean {
    const socket = this.#socket;
    return (
      this.#isPlain &&
      this.#waitingBytes === 0 &&
      socket.writableLength === 0 &&
      socket.writableCorked === 0 &&
      !socket.connecting
    );
  }

  /** False: no more for now. What is written to a socket that is gone is dropped, as its "close" has told. */
  text(text: string): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    if (!this.isFree) return socket.write(text, "latin1");
    return this.#writeNow(text, "latin1");
  }

  /** Bytes in a buffer that is wanted back. False: it stays with the socket, and nobody may write to it any more. */
  lent(bytes: Buffer): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    if (this.isFree) return this.#writeNow(bytes, "buffer");
    socket.write(Buffer.from(bytes));
    return true;
  }

  /** False: the kernel has not taken all of it. */
  #writeNow(data: string | Buffer, encoding: string): boolean {
    this.#waitingBytes = data.length;
    this.#isWriting = true;
    this.#socket._write(data, encoding as BufferEncoding, this.#taken);
    this.#isWriting = false;
    return this.#waitingBytes === 0;
  }

  chunk(chunk: Buffer): boolean {
    return this.#socket.write(chunk) && this.#waitingBytes === 0;
  }

  /** A chunk that is the caller's again afterwards. */
  copyOf(chunk: Buffer): boolean {
    if (chunk.length > LARGEST_LENT_BYTES) return this.chunk(Buffer.from(chunk));
    if (!this.#socket.writable) return true;
    const buffer = borrow(chunk.length);
    chunk.copy(buffer);
    (this.#lent ??= []).push(buffer);
    const goesOn = this.#socket.write(buffer.subarray(0, chunk.length), this.#copyTaken);
    return goesOn && this.#waitingBytes === 0;
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  /** Somebody else writes to the socket from now on. */
  detach(): void {
    this.#socket.off("drain", this.#drained);
  }

  readonly #taken = (error?: Error | null): void => {
    this.#waitingBytes = 0;
    if (error) this.#socket.destroy(error);
    else if (!this.#isWriting) this.#drained();
  };

  readonly #copyTaken = (error?: Error | null): void => {
    // Who knows what the kernel still reads of a socket that failed.
    if (error || this.#socket.destroyed) this.#lent = null;
    else if (this.#lent !== null) giveBack(this.#lent.shift()!);
  };

  readonly #drained = (): void => {
    if (!this.isBlocked && !this.#socket.destroyed) this.#onDrain();
  };
}
