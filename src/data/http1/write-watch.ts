/**
 * Does a client that reads slowly read at all? Progress is any byte that left the socket's queue within
 * `timeoutMs`; the queue, not the kernel's buffer, is what costs us memory.
 */

import { NEVER } from "../deadlines.ts";

export class WriteWatch {
  /** When to ask `isStuck`; `NEVER` while nothing waits. */
  deadline = NEVER;
  readonly #timeoutMs: number;
  #unsentBytes = 0;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Starts, unless it has started: `unsentBytes` wait in the socket. */
  begin(unsentBytes: number, nowMs: number): void {
    if (this.deadline !== NEVER) return;
    this.#unsentBytes = unsentBytes;
    this.deadline = nowMs + this.#timeoutMs;
  }

  /** Everything was sent. */
  end(): void {
    this.deadline = NEVER;
  }

  /** At the deadline: true if nothing was sent since it was set; else it is set anew. */
  isStuck(unsentBytes: number, nowMs: number): boolean {
    if (unsentBytes > 0 && unsentBytes >= this.#unsentBytes) return true;
    this.#unsentBytes = unsentBytes;
    this.deadline = unsentBytes === 0 ? NEVER : nowMs + this.#timeoutMs;
    return false;
  }
}
