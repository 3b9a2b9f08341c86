/**
 * One attempt at an upstream over HTTP/1.1, as the exchange holds it.
 *
 * It is apart from the connection because it must outlive its right to it: once the answer is complete, the
 * attempt was aborted or has failed, the connection may carry another request, and a late call on the old
 * attempt must not reach it. After its end every call does nothing.
 */

import type { Socket } from "node:net";
import type { HeaderList } from "../../lib/headers.ts";
import type { UpstreamFailure, UpstreamHandler, UpstreamTransport } from "../transport.ts";
import type { UpstreamConnection } from "./upstream-connection.ts";

export interface UpstreamTimeouts {
  connectMs: number;
  /** Between two successful writes. */
  sendMs: number;
  /** Between two reads while an answer is awaited. */
  readMs: number;
}

export class UpstreamAttempt implements UpstreamTransport {
  hasSent = false;
  connectedAt = 0;
  /** The connection had carried requests before: a reset without an answer may only mean that it was stale. */
  isReused: boolean;
  /**
   * The whole request, while it may be repeated on a fresh connection without anyone hearing of it: it is
   * idempotent, has no body, and went out on a reused connection that has not answered yet. Else "".
   */
  repeatable = "";
  readonly handler: UpstreamHandler;
  readonly timeouts: UpstreamTimeouts;
  /** Written by the connection; null: over. */
  connection: UpstreamConnection | null;
  #isOver = false;

  constructor(
    connection: UpstreamConnection | null,
    handler: UpstreamHandler,
    timeouts: UpstreamTimeouts,
    isReused: boolean,
  ) {
    this.connection = connection;
    this.handler = handler;
    this.timeouts = timeouts;
    this.isReused = isReused;
  }

  /** Throws `InvalidFieldError`, before a byte is written, for fields that would break the message. */
  writeHead(method: string, target: string, headers: HeaderList, bodyLength: number): void {
    if (this.connection !== null) this.connection.writeHead(method, target, headers, bodyLength);
  }

  writeBody(chunk: Buffer): boolean {
    return this.connection === null || this.connection.writeBody(chunk);
  }

  writeEnd(trailers: HeaderList | null): void {
    if (this.connection !== null) this.connection.writeEnd(trailers);
  }

  resumeBody(): void {
    if (this.connection !== null) this.connection.resumeBody();
  }

  abort(): void {
    this.#isOver = true;
    if (this.connection !== null) this.connection.close();
  }

  /** The socket is paused: whoever takes it adds listeners (or pipes) and calls `resume()`. */
  takeSocket(): { socket: Socket; rest: Buffer } {
    if (this.connection === null) throw new Error("takeSocket: the attempt is over");
    return this.connection.takeSocket();
  }

  /** An attempt that never got a connection: tells its handler so in the next tick, unless it is aborted before. */
  failSoon(failure: UpstreamFailure, detail: string): void {
    process.nextTick(reportFailure, this, failure, detail);
  }

  get isOver(): boolean {
    return this.#isOver;
  }
}

function reportFailure(attempt: UpstreamAttempt, failure: UpstreamFailure, detail: string): void {
  if (!attempt.isOver) attempt.handler.onError(failure, detail);
}
