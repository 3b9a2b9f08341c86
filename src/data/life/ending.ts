/** How an exchange ends, and an attempt at a node with it: both exactly once, whoever ends them. */

import { performance } from "node:perf_hooks";
import type { HttpExchange } from "../exchange/exchange.ts";
import type { LifeServices } from "./services.ts";

export class Ending {
  readonly #services: LifeServices;
  /** Requests between `begin` and `end`. */
  inFlight = 0;

  constructor(services: LifeServices) {
    this.#services = services;
  }

  begin(): void {
    this.inFlight++;
    this.#services.onBegin();
  }

  finishAttempt(x: HttpExchange, ok: boolean): void {
    const attempt = x.attempt!;
    x.upstreamEndedAt = performance.now();
    attempt.upstream.finished(
      attempt.node,
      (x.upstreamHeadAt || x.upstreamEndedAt) - x.upstreamStartedAt,
      ok,
    );
  }

  /** Ends an attempt that runs; `ok`: it is not the node's fault. */
  abandonAttempt(x: HttpExchange, ok: boolean): void {
    if (x.attempt === null || x.upstreamEndedAt !== 0) return;
    x.attempt.abort();
    this.finishAttempt(x, ok);
  }

  /** The log phase, the access log, the counts. `now`: `performance.now()`. */
  end(x: HttpExchange, now = performance.now()): void {
    if (x.ended) return;
    x.endedAt = now;
    x.ended = true;
    this.inFlight--;
    if (x.limit !== null) x.limit.leave();
    if (x.callTimer !== null) {
      clearTimeout(x.callTimer);
      x.callTimer = null;
    }
    // An answer may come before the whole body: what is left of it goes nowhere, and copies would wait for it.
    if (x.mirrors !== null) x.body?.abort();
    if (x.globalChain !== null && x.globalChain.log !== null) this.#log(x.globalChain.log, x);
    if (x.chain !== null && x.chain.log !== null) this.#log(x.chain.log, x);
    this.#services.accessLog?.write(x);
    this.#services.onEnd(x);
  }

  #log(handlers: readonly ((ctx: HttpExchange) => void)[], x: HttpExchange): void {
    for (const handler of handlers) {
      try {
        handler(x);
      } catch (error) {
        this.#services.log.error("plugin failed", { phase: "log", error: String(error) });
      }
    }
  }
}
