/**
 * Which failed attempt may be repeated: never one that could make something happen twice.
 *
 * Safe is an attempt of which no byte left the machine, or one with an idempotent method (RFC 9110 9.2.2),
 * provided that the body of the request can be sent again and the client has seen nothing of an answer (the
 * caller knows that). Safe is not yet wise: when an upstream breaks under load, repeats must not double the
 * load. So repeats of what was sent come out of a budget; repeats of what was never sent cost an upstream
 * nothing and are bounded by `retries` alone.
 */

import type { BudgetSettings } from "../../model/upstream-protection.ts";

/** In hundredths of a repeat. */
const ONE_REPEAT = 100;
/** A hundred repeats may be saved up. */
const MAX_SAVED = 100 * ONE_REPEAT;
/** In steady state at most a fifth more; and some whatever the traffic, or upstreams with little could repeat none. */
export const DEFAULT_BUDGET: BudgetSettings = { percent: 20, per_second: 10 };

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/** What is known of the failed attempt. */
export interface RetryFacts {
  method: string;
  /** A byte of the attempt may have left the machine (`UpstreamTransport.hasSent`). */
  hasSent: boolean;
  /** The body of the request, if any, is complete in memory. */
  isReplayable: boolean;
}

export function isSafeToRetry(facts: RetryFacts): boolean {
  return facts.isReplayable && (!facts.hasSent || isIdempotent(facts.method));
}

/** Repeats that an upstream may still spend, on one worker. */
export class RetryBudget {
  /** May be replaced at any time; what was saved stays. */
  settings: BudgetSettings;
  readonly #now: () => number;
  /** In hundredths, so that sums are exact. */
  #saved = 0;
  #floor: number;
  #floorAtMs: number;

  /** `now` in monotonic milliseconds. */
  constructor(now: () => number, settings: BudgetSettings = DEFAULT_BUDGET) {
    this.settings = settings;
    this.#now = now;
    this.#floor = settings.per_second;
    this.#floorAtMs = now();
  }

  /** A request came, not a repeat. */
  earn(): void {
    if (this.#saved < MAX_SAVED) this.#saved += this.settings.percent;
  }

  /** Takes one repeat; false when there is none left. */
  spend(): boolean {
    if (this.#saved >= ONE_REPEAT) {
      this.#saved -= ONE_REPEAT;
      return true;
    }
    const now = this.#now();
    const perSecond = this.settings.per_second;
    this.#floor = Math.min(perSecond, this.#floor + ((now - this.#floorAtMs) / 1000) * perSecond);
    this.#floorAtMs = now;
    if (this.#floor < 1) return false;
    this.#floor--;
    return true;
  }
}
