/**
 * The same question again and again: one at a time, after a pause, sooner when somebody asks for it, with growing
 * pauses while it fails.
 */

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
/** A timer with more than its 31 bits, or with no number, would go off at once, again and again. */
const LONGEST_PAUSE_MS = 86_400_000;

export interface RoundsParts {
  /** Asks and tells what it found; throws when it failed. May give the pause until the next round. */
  run(signal: AbortSignal): Promise<number | void>;
  /** After a round that did not fail and gave no other. */
  pauseMs: number;
  onFailure(reason: string): void;
  random?: () => number;
}

export class Rounds {
  readonly #parts: RoundsParts;
  readonly #random: () => number;
  readonly #end = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #failures = 0;

  constructor(parts: RoundsParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
  }

  /** A round that begins now, or as soon as the one that runs is over. Ends with it and never rejects. */
  now(): Promise<void> {
    if (this.#end.signal.aborted) return Promise.resolve();
    if (this.#running === null) return this.#begin();
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      // Somebody else may have come in between.
      return this.#running ?? this.#begin();
    });
    return this.#next;
  }

  close(): void {
    this.#end.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #begin(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#running = this.#round();
    return this.#running;
  }

  async #round(): Promise<void> {
    const { signal } = this.#end;
    if (signal.aborted) return;
    let pauseMs = this.#parts.pauseMs;
    try {
      const wantedMs = (await this.#parts.run(signal)) ?? pauseMs;
      if (!Number.isNaN(wantedMs)) pauseMs = wantedMs;
      this.#failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      pauseMs = Math.min(pauseMs, retryMs(this.#failures++, this.#random));
      this.#parts.onFailure(error instanceof Error ? error.message : String(error));
    }
    this.#running = null;
    if (signal.aborted) return;
    this.#timer = setTimeout(() => void this.now(), Math.min(pauseMs, LONGEST_PAUSE_MS)).unref();
  }
}

/** Pause after so many failures in a row before this one, spread over a quarter to either side. */
export function retryMs(failures: number, random: () => number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures, 10), LAST_RETRY_MS) * (0.75 + random() / 2);
}
