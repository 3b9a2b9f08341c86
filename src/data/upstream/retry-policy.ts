/**
 * Which failed attempt may be repeated: never one that could make something happen twice.
 *
 * Safe is an attempt of which no byte left the machine, or one with an idempotent method (RFC 9110 9.2.2),
 * provided that the body of the request can be sent again and the client has seen nothing of an answer (the
 * caller knows that). Safe is not yet wise: when an upstream breaks under load, repeats must not double the
 * load. So repeats of what was sent come out of a budget; repeats of what was never sent cost an upstream
 * nothing and are bounded by `retries` alone.
 */

/** Requests that earn one repeat: in steady state at most a fifth more. */
const REQUESTS_PER_REPEAT = 5;
/** Requests that may be saved up: a hundred repeats. */
const MAX_SAVED = 500;
/** Granted whatever the traffic, or an upstream with few requests could repeat none. */
const FLOOR_PER_SECOND = 10;

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
  readonly #now: () => number;
  /** In requests, so that sums are exact. */
  #saved = 0;
  #floor = FLOOR_PER_SECOND;
  #floorAtMs: number;

  /** `now` in monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#floorAtMs = now();
  }

  /** A request came, not a repeat. */
  earn(): void {
    if (this.#saved < MAX_SAVED) this.#saved++;
  }

  /** Takes one repeat; false when there is none left. */
  spend(): boolean {
    if (this.#saved >= REQUESTS_PER_REPEAT) {
      this.#saved -= REQUESTS_PER_REPEAT;
      return true;
    }
    const now = this.#now();
    this.#floor = Math.min(
      FLOOR_PER_SECOND,
      this.#floor + ((now - this.#floorAtMs) / 1000) * FLOOR_PER_SECOND,
    );
    this.#floorAtMs = now;
    if (this.#floor < 1) return false;
    this.#floor--;
    return true;
  }
}
