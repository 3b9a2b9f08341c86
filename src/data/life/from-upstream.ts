/** An upstream's answer on its way to the client: head, body, end, and the switch to another protocol. */

import { performance } from "node:perf_hooks";
import type { HeaderList } from "../../lib/headers.ts";
import * as answers from "../exchange/answers.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { clientHeaders } from "../exchange/forwarding.ts";
import { stripHopByHop } from "../http1/hop-by-hop.ts";
import { isGrpcType } from "../http2/request-fields.ts";
import { UNKNOWN_LENGTH, type ResponseHead } from "../transport.ts";
import type { Answering } from "./answering.ts";
import type { Ending } from "./ending.ts";
import type { LifeServices } from "./services.ts";
import type { Tunnels } from "./tunnels.ts";

const NO_BODY = Buffer.alloc(0);

export class FromUpstream {
  readonly #services: LifeServices;
  readonly #answering: Answering;
  readonly #ending: Ending;
  readonly #tunnels: Tunnels;

  constructor(services: LifeServices, answering: Answering, ending: Ending, tunnels: Tunnels) {
    this.#services = services;
    this.#tunnels = tunnels;
    this.#answering = answering;
    this.#ending = ending;
  }

  onInformational(x: HttpExchange, head: ResponseHead): void {
    if (head.status === 100) return;
    stripHopByHop(head.headers);
    x.transport.writeInformational(head.status, head.headers);
  }

  onHead(x: HttpExchange, head: ResponseHead): void {
    x.upstreamHeadAt = performance.now();
    x.upstreamConnectedAt = x.attempt!.transport.connectedAt;
    x.upstreamStatuses = x.attempts === 1 ? String(head.status) : `${x.upstreamStatuses}, ${head.status}`;
    x.answering = true;
    x.attempt!.upstream.answered(x.attempt!.node, head.status, x.upstreamHeadAt - x.upstreamStartedAt);
    if (head.status === 101) {
      this.#switchProtocols(x, head);
      return;
    }
    x.responseLength = head.bodyLength;
    x.isGrpcAnswer = head.version === "2" && isGrpcAnswer(head.headers);
    x.declaredLength = head.bodyLength === 0 ? declaredLength(head.headers) : null;
    clientHeaders(head.headers, this.#services.serverName);
    x.response.begin(head.status, head.reason, "upstream", head.headers);
    if (this.#services.http.showUpstreamStatus || head.status >= 500) {
      head.headers.push("x-apisix-upstream-status", "X-APISIX-Upstream-Status", x.upstreamStatuses);
    }
    try {
      const pending = this.#answering.headerPhase(x);
      if (pending !== undefined) {
        void this.#writeHeadAfter(x, pending);
        return;
      }
    } catch (error) {
      this.#answering.failHead(x, error);
      return;
    }
    this.#writeHead(x);
  }

  /** Plugins wait: body chunks that arrive meanwhile are kept by `onBody`, which asks for no more. */
  async #writeHeadAfter(x: HttpExchange, pending: Promise<void>): Promise<void> {
    x.held = [];
    try {
      await pending;
    } catch (error) {
      this.#answering.failHead(x, error);
    }
    const held = x.held;
    // Null: another answer took the place of this one.
    if (x.ended || held === null) return;
    x.held = null;
    if (!this.#writeHead(x)) return;
    for (const chunk of held) this.onBody(x, chunk);
    if (x.hasUpstreamEnded) this.onEnd(x, x.heldTrailers);
    else x.attempt!.transport.resumeBody();
  }

  /** False: a plugin made a head of it that cannot be sent, and the exchange ended with an error. */
  #writeHead(x: HttpExchange): boolean {
    const response = x.response;
    x.filtersBody =
      (x.globalChain !== null && x.globalChain.responseBody !== null) ||
      (x.chain !== null && x.chain.responseBody !== null);
    const hasNoBody = x.head.method === "HEAD" || response.status === 204 || response.status === 304;
    const length = hasNoBody ? 0 : x.filtersBody ? UNKNOWN_LENGTH : x.responseLength;
    try {
      x.transport.writeHead(
        response.status,
        response.reason,
        response.headers,
        length,
        // What a plugin would make of the body of a GET is not known here.
        hasNoBody && !x.filtersBody ? x.declaredLength : null,
      );
      x.isHeadSent = true;
      return true;
    } catch (error) {
      this.#answering.failHead(x, error);
      return false;
    }
  }

  onBody(x: HttpExchange, chunk: Buffer): boolean {
    if (x.ended) return true;
    if (x.held !== null) {
      x.held.push(Buffer.from(chunk));
      return x.wholeAnswer !== null && x.wholeAnswer.takes(chunk.length);
    }
    if (!x.filtersBody) return x.transport.writeBody(chunk);
    try {
      // Plugins may keep what they are given.
      const passed = this.#answering.filterBody(x, Buffer.from(chunk), false);
      return passed.length === 0 || x.transport.writeBody(passed);
    } catch (error) {
      this.#answering.fail(x, error);
      return true;
    }
  }

  onEnd(x: HttpExchange, trailers: HeaderList | null): void {
    if (x.ended) return;
    if (x.held !== null) {
      x.hasUpstreamEnded = true;
      x.heldTrailers = trailers;
      x.wholeAnswer?.complete(x.held, trailers);
      return;
    }
    if (x.filtersBody) {
      x.response.trailers = trailers;
      try {
        const last = this.#answering.filterBody(x, NO_BODY, true);
        if (last.length > 0) x.transport.writeBody(last);
      } catch (error) {
        this.#answering.fail(x, error);
        return;
      }
    }
    x.attempt!.detach();
    this.#ending.finishAttempt(x, true);
    try {
      x.transport.writeEnd(x.filtersBody ? x.response.trailers : trailers);
    } catch (error) {
      this.#answering.fail(x, error);
      return;
    }
    this.#ending.end(x, x.upstreamEndedAt);
  }

  #switchProtocols(x: HttpExchange, head: ResponseHead): void {
    const attempt = x.attempt!;
    if (!isUpgrade(x)) {
      attempt.abort();
      this.#ending.finishAttempt(x, false);
      x.answering = false;
      this.#answering.respond(x, answers.BAD_GATEWAY);
      return;
    }
    x.response.begin(101, head.reason, "upstream", head.headers);
    try {
      x.transport.writeHead(101, head.reason, head.headers, 0, null);
    } catch (error) {
      this.#answering.failHead(x, error);
      return;
    }
    attempt.detach();
    this.#tunnels.open(x, x.transport.takeSocket(), attempt.transport.takeSocket(), () => {
      this.#ending.finishAttempt(x, true);
      this.#ending.end(x);
    });
  }
}

/** The client asks for another protocol and the route permits it. */
export function isUpgrade(x: HttpExchange): boolean {
  return x.head.upgrade !== null && x.compiled!.allowsUpgrade && x.head.bodyLength === 0;
}

function isGrpcAnswer(headers: HeaderList): boolean {
  const type = headers.get("content-type");
  return type !== undefined && isGrpcType(type);
}

function declaredLength(headers: HeaderList): number | null {
  const text = headers.get("content-length");
  return text === undefined ? null : Number(text);
}
