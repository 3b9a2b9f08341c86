/**
 * Answers in the gateway's own name, and what becomes of an exchange when something throws. The header and body phases
 * stand here too: they run for these answers as for an upstream's.
 */

import type { Answer } from "../../plugin/exchange.ts";
import { HeaderList } from "../../lib/headers.ts";
import { reasonPhrase } from "../../lib/status-codes.ts";
import * as answers from "../exchange/answers.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { httpDate } from "../exchange/http-date.ts";
import { filterBody, type HeaderHandler } from "../pipeline/handlers.ts";
import type { Ending } from "./ending.ts";
import { asGrpcAnswer, isFailedCall, putGrpcStatus } from "./grpc-answer.ts";
import type { LifeServices } from "./services.ts";

const NO_BODY = Buffer.alloc(0);

export class Answering {
  readonly #services: LifeServices;
  readonly #ending: Ending;

  constructor(services: LifeServices, ending: Ending) {
    this.#services = services;
    this.#ending = ending;
  }

  /** Of a request's body, what may be held in one piece, whoever asks for more. */
  get maxWholeBytes(): number {
    return this.#services.http.maxBufferedBodyBytes;
  }

  /** Answers in the gateway's own name. The header and body phases run for this answer as for any other. */
  respond(x: HttpExchange, answer: Answer): void {
    if (x.ended || x.answering) return;
    x.answering = true;
    const headers = new HeaderList();
    headers.push("date", "Date", httpDate());
    headers.push("server", "Server", this.#services.serverName);
    x.response.begin(answer.status, reasonPhrase(answer.status), "gateway", headers);
    if (answer.headers !== undefined) {
      for (const name of Object.keys(answer.headers)) headers.set(name, answer.headers[name]);
    }
    if (answer.body !== undefined && !headers.has("content-type")) {
      headers.push("content-type", "Content-Type", answers.contentTypeOf(answer.body));
    }
    headers.delete("content-length");
    if (x.upstreamStatuses !== "" && (answer.status >= 500 || this.#services.http.showUpstreamStatus)) {
      headers.push("x-apisix-upstream-status", "X-APISIX-Upstream-Status", x.upstreamStatuses);
    }
    try {
      const pending = this.headerPhase(x);
      if (pending !== undefined) {
        void this.#writeAnswerAfter(x, answer, pending);
        return;
      }
    } catch (error) {
      this.#services.log.error("plugin failed", { phase: "responseHeaders", error: String(error) });
    }
    this.#writeAnswer(x, answer);
  }

  async #writeAnswerAfter(x: HttpExchange, answer: Answer, pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } catch (error) {
      this.#services.log.error("plugin failed", { phase: "responseHeaders", error: String(error) });
    }
    if (!x.ended) this.#writeAnswer(x, answer);
  }

  #writeAnswer(x: HttpExchange, answer: Answer): void {
    const response = x.response;
    try {
      if (isFailedCall(x, response.status)) {
        asGrpcAnswer(x, response.headers, response.status, answer.body);
        x.transport.writeAnswer(200, reasonPhrase(200), response.headers, "");
        this.#ending.end(x);
        return;
      }
      let body = answers.bodyBytes(answer.body);
      if (
        (x.globalChain !== null && x.globalChain.responseBody !== null) ||
        (x.chain !== null && x.chain.responseBody !== null)
      ) {
        body = this.filterBody(x, typeof body === "string" ? Buffer.from(body) : body, true);
      }
      x.transport.writeAnswer(response.status, response.reason, response.headers, body);
    } catch (error) {
      this.failHead(x, error);
      return;
    }
    this.#ending.end(x);
  }

  /** Runs the header phases; undefined when they are done, a promise while a plugin waits. */
  headerPhase(x: HttpExchange): Promise<void> | undefined {
    const global = x.globalChain === null ? null : x.globalChain.responseHeaders;
    const own = x.chain === null ? null : x.chain.responseHeaders;
    if (global === null && own === null) return undefined;
    if (global === null) return runHeaderHandlers(own!, x, 0);
    return runHeaderHandlers(own === null ? global : [...global, ...own], x, 0);
  }

  /** Throws what a plugin throws: without its share the answer would be another one, and look whole. */
  filterBody(x: HttpExchange, chunk: Buffer, last: boolean): Buffer {
    const global = x.globalChain === null ? null : x.globalChain.responseBody;
    const own = x.chain === null ? null : x.chain.responseBody;
    const passed = global === null ? chunk : filterBody(global, x, chunk, last);
    return own === null ? passed : filterBody(own, x, passed, last);
  }

  /**
   * The head of the answer is not written, and what plugins made of it (a line end in a value, say) cannot be: a
   * bare 500 that no plugin has touched takes its place. Nothing may be thrown here: the caller is often a socket.
   */
  failHead(x: HttpExchange, error: unknown): void {
    if (x.ended) return;
    this.#reportFault(x, error);
    this.#ending.abandonAttempt(x, true);
    x.held = null;
    const headers = new HeaderList();
    headers.push("date", "Date", httpDate());
    headers.push("server", "Server", this.#services.serverName);
    headers.push("content-type", "Content-Type", "application/json");
    x.response.discard();
    x.response.begin(500, reasonPhrase(500), "gateway", headers);
    if (isFailedCall(x, 500)) {
      asGrpcAnswer(x, headers, 500, answers.INTERNAL_ERROR.body);
      x.transport.writeAnswer(200, reasonPhrase(200), headers, "");
      this.#ending.end(x);
      return;
    }
    x.transport.writeAnswer(500, x.response.reason, headers, answers.bodyBytes(answers.INTERNAL_ERROR.body));
    this.#ending.end(x);
  }

  /** A plugin threw, or something of ours did: the request fails, nothing else. */
  fail(x: HttpExchange, error: unknown): void {
    this.#reportFault(x, error);
    this.#ending.abandonAttempt(x, false);
    if (x.answering) {
      x.transport.abort();
      this.#ending.end(x);
    } else {
      this.respond(x, answers.INTERNAL_ERROR);
    }
  }

  #reportFault(x: HttpExchange, error: unknown): void {
    this.#services.log.error("request failed", {
      route: x.route?.id ?? "",
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }

  /** A plugin's wish: nothing is waited for any longer. Joined sockets are no exchange of the gateway's any more. */
  cutOff(x: HttpExchange, answer: Answer): void {
    if (x.ended || x.response.status === 101) return;
    x.body?.abort();
    this.#ending.abandonAttempt(x, true);
    if (x.answering) this.breakOff(x, answer);
    else this.respond(x, answer);
  }

  /**
   * Ends an answer that has begun and cannot be completed. While plugins hold back its head `reason` takes its place; later
   * a client of gRPC is told why, and any other sees it break off.
   */
  breakOff(x: HttpExchange, reason: Answer): void {
    if (x.held !== null) {
      x.held = null;
      x.answering = false;
      x.response.discard();
      this.respond(x, reason);
      return;
    }
    if (!x.isGrpcAnswer || !x.isHeadSent || !this.#tellInTrailers(x, reason)) x.transport.abort();
    this.#ending.end(x);
  }

  /** False: the client would not see them. */
  #tellInTrailers(x: HttpExchange, reason: Answer): boolean {
    let trailers: HeaderList | null = new HeaderList();
    putGrpcStatus(trailers, reason.status, reason.body);
    try {
      if (x.filtersBody) {
        x.response.trailers = trailers;
        const last = this.filterBody(x, NO_BODY, true);
        ({ trailers } = x.response);
        if (last.length > 0) x.transport.writeBody(last);
      }
      // Over HTTP/1 nobody looks there: the answer would seem whole.
      if (trailers !== null && x.head.version !== "2") return false;
      x.transport.writeEnd(trailers);
      return true;
    } catch (error) {
      this.#reportFault(x, error);
      return false;
    }
  }
}

function runHeaderHandlers(
  handlers: readonly HeaderHandler[],
  x: HttpExchange,
  from: number,
): Promise<void> | undefined {
  for (let i = from; i < handlers.length; i++) {
    const pending = handlers[i](x);
    if (pending instanceof Promise) return pending.then(() => runHeaderHandlers(handlers, x, i + 1));
  }
  return undefined;
}
