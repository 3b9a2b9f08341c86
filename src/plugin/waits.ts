/**
 * Waits of a plugin that end with their exchange: a client that leaves takes its timer along.
 *
 * The plugin's `log` handler calls `end`; a wait that ended so never settles, and nothing goes on behind it.
 */

import type { Exchange } from "./exchange.ts";

/** The longest that a timer can wait. */
const LONGEST_MS = 0x7fff_ffff;

export class Waits {
  readonly #timers = new Map<Exchange, NodeJS.Timeout>();

  /** Waits that are under way. */
  get size(): number {
    return this.#timers.size;
  }

  /** One at a time for each exchange. */
  wait(ctx: Exchange, durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => {
          this.#timers.delete(ctx);
          resolve();
        },
        Math.min(durationMs, LONGEST_MS),
      );
      this.#timers.set(ctx, timer);
    });
  }

  end(ctx: Exchange): void {
    const timer = this.#timers.get(ctx);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers.delete(ctx);
  }
}
