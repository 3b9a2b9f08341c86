/**
 * A stream whose request reached nobody: says why, and ends it, whether its client takes the answer or not.
 */

import type { ServerHttp2Stream } from "node:http2";
import type { Deadlined } from "../deadlines.ts";
import type { ProtocolError } from "../http1/errors.ts";
import { closeWhenSent, type StreamOwner } from "./client-transport.ts";
import { respondError } from "./error-answer.ts";

const NOT_TAKEN = new Error("the answer was not taken in time");

export class RefusedStream implements Deadlined {
  deadline: number;
  readonly #owner: StreamOwner;
  readonly #stream: ServerHttp2Stream;

  /** `hasEnded`: no body follows. `isCall`: of gRPC. */
  constructor(
    owner: StreamOwner,
    stream: ServerHttp2Stream,
    error: ProtocolError,
    { hasEnded, isCall }: { hasEnded: boolean; isCall: boolean },
  ) {
    this.#owner = owner;
    this.#stream = stream;
    this.deadline = owner.deadlines.now() + owner.http.sendTimeoutMs;
    owner.deadlines.add(this);
    stream.on("close", this.#onClose);
    respondError(stream, error, isCall);
    if (hasEnded) stream.resume();
    else closeWhenSent(stream);
  }

  /** A window that stays shut would hold the stream, and with it the connection, for ever. */
  onDeadline(nowMs: number): void {
    const { sendTimeoutMs } = this.#owner.http;
    if (this.#owner.isMoving(nowMs - sendTimeoutMs)) this.deadline = nowMs + sendTimeoutMs;
    else this.#stream.destroy(NOT_TAKEN);
  }

  readonly #onClose = (): void => {
    this.#owner.deadlines.delete(this);
    this.#owner.streamClosed();
  };
}
