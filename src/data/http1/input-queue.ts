/**
 * What a client has sent and whose turn has not come: pipelined requests, a body that nobody wants yet.
 *
 * Bytes go to the owner in steps, as many as it takes; what it leaves is kept, and once that is too much, or the
 * owner asks for it, the socket is not read until `goOn` has used it up. No step ever begins inside another one.
 */

import type { Socket } from "node:net";

export interface InputOwner {
  /** One step over `buffer[from, to)`: position up to which bytes were taken; `from`: it is not their turn. */
  takeInput(buffer: Buffer, from: number, to: number): number;
  /** Reading has to stop although little is kept: the consumer of a body asked for it. */
  readonly isInputUnwanted: boolean;
  onInputBegin(): void;
  /** All bytes that had their turn were taken. */
  onInputEnd(): void;
}

/** Bytes that a client may send ahead of its turn before it is not read any more. */
const READ_AHEAD_BYTES = 16 * 1024;

const NO_BYTES: Buffer = Buffer.alloc(0);

export class InputQueue {
  /** Position up to which the step that runs has taken bytes, told by the owner before it calls others. */
  takenTo = 0;
  readonly #owner: InputOwner;
  #rest: Buffer | null = null;
  #isPaused = false;
  #isOff = false;
  #stepping: Buffer | null = null;
  #steppingTo = 0;

  constructor(owner: InputOwner) {
    this.#owner = owner;
  }

  get isEmpty(): boolean {
    return this.#rest === null;
  }

  /** A step is running further up in the stack. */
  get isStepping(): boolean {
    return this.#stepping !== null;
  }

  /** Takes what was read, which is the caller's again afterwards. False: stop reading the socket. */
  offer(buffer: Buffer, length: number): boolean {
    if (this.#rest !== null) {
      this.#rest = Buffer.concat([this.#rest, buffer.subarray(0, length)]);
      this.#useRest();
    } else {
      const taken = this.#steps(buffer, length);
      if (taken < length && !this.#isOff) this.#rest = Buffer.from(buffer.subarray(taken, length));
    }
    this.#isPaused = this.#mustPause();
    return !this.#isPaused;
  }

  /** Something has changed for the owner: what is kept may have its turn now. */
  goOn(socket: Socket): void {
    if (this.#stepping !== null) return;
    this.#useRest();
    if (!this.#isPaused || this.#mustPause()) return;
    this.#isPaused = false;
    socket.resume();
  }

  /** Nothing has its turn any more; what is kept is dropped. Steps that run end. */
  turnOff(): void {
    this.#isOff = true;
    this.#rest = null;
  }

  /** Everything that was read and not taken, for the next owner of the socket; turns the queue off. */
  takeRest(): Buffer {
    const kept = this.#rest ?? NO_BYTES;
    const ahead = this.#stepping?.subarray(this.takenTo, this.#steppingTo) ?? NO_BYTES;
    this.turnOff();
    return Buffer.concat([ahead, kept]);
  }

  #mustPause(): boolean {
    if (this.#isOff) return false;
    return this.#owner.isInputUnwanted || (this.#rest !== null && this.#rest.length >= READ_AHEAD_BYTES);
  }

  #useRest(): void {
    while (this.#rest !== null) {
      const rest: Buffer = this.#rest;
      this.#rest = null;
      const taken = this.#steps(rest, rest.length);
      if (taken < rest.length && !this.#isOff) this.#rest = taken === 0 ? rest : rest.subarray(taken);
      if (taken === 0) return;
    }
  }

  #steps(buffer: Buffer, to: number): number {
    const owner = this.#owner;
    this.#stepping = buffer;
    this.#steppingTo = to;
    let at = 0;
    try {
      owner.onInputBegin();
      while (at < to && !this.#isOff) {
        this.takenTo = at;
        const next = owner.takeInput(buffer, at, to);
        if (next === at) break;
        at = next;
      }
    } finally {
      this.#stepping = null;
      owner.onInputEnd();
    }
    return at;
  }
}
