/** What a client transport tells of a request under way: body, end, abort. */

import type { HeaderList } from "../../lib/headers.ts";
import * as answers from "../exchange/answers.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { takeBackCalls } from "../exchange/mirror.ts";
import type { ClientHandler } from "../transport.ts";
import type { Answering } from "./answering.ts";
import type { Ending } from "./ending.ts";

type AbortReason = Parameters<ClientHandler["onAbort"]>[0];

/** nginx's 499 for a client that left. */
const ABORT_STATUS: Readonly<Record<AbortReason, number>> = {
  closed: 499,
  malformed: 400,
  timeout: 408,
  "too-large": 413,
};

/** The exchange as its client transport sees it. */
export class ClientSide implements ClientHandler {
  readonly #exchange: HttpExchange;
  readonly #answering: Answering;
  readonly #ending: Ending;

  constructor(exchange: HttpExchange, answering: Answering, ending: Ending) {
    this.#exchange = exchange;
    this.#answering = answering;
    this.#ending = ending;
  }

  onBody(chunk: Buffer): boolean {
    const body = this.#exchange.body;
    if (body === null) return true;
    try {
      if (body.receivedBytes + chunk.length <= body.limitBytes) return body.onChunk(chunk);
      this.#onBodyTooLong();
    } catch (error) {
      this.#onBodyFault(error);
    }
    return true;
  }

  onEnd(trailers: HeaderList | null): void {
    try {
      this.#exchange.body?.onEnd(trailers);
    } catch (error) {
      this.#onBodyFault(error);
    }
  }

  onWritable(): void {
    this.#exchange.attempt?.transport.resumeBody();
  }

  /** More body came than a plugin allows: nothing of it goes on, and its upstream attempt ends. */
  #onBodyTooLong(): void {
    const x = this.#exchange;
    if (x.ended) return;
    x.body!.abort();
    this.#ending.abandonAttempt(x, true);
    if (x.answering) {
      x.transport.abort();
      this.#ending.end(x);
    } else {
      this.#answering.respond(x, answers.TOO_LARGE);
    }
  }

  /** A plugin threw on a part of the request's body. */
  #onBodyFault(error: unknown): void {
    const x = this.#exchange;
    if (x.ended) return;
    x.body!.abort();
    this.#answering.fail(x, error);
  }

  /** The client left, or broke the framing of its body; what its transport then told it is what is logged. */
  onAbort(reason: AbortReason): void {
    const x = this.#exchange;
    if (x.ended) return;
    x.body?.abort();
    if (x.mirrors !== null) takeBackCalls(x.mirrors);
    this.#ending.abandonAttempt(x, true);
    if (x.response.status === 0) x.response.status = ABORT_STATUS[reason];
    x.answering = true;
    this.#ending.end(x);
  }
}
