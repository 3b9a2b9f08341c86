/**
 * Deletes what has a time to live when it is over, as ordinary deletions of the embedded store.
 *
 * One timer for the next that ends. A deletion that fails is tried again; an item that was written again meanwhile stays.
 */

import { StoreUnavailableError, type StoreWrite, type WriteOptions } from "../contract.ts";
import type { ItemRow, Statements } from "./statements.ts";

const TIMER_LIMIT_MS = 2_000_000_000;
/** After a deletion of what expired has failed: the disk may be full for long. */
const RETRY_MS = 1000;
/** The last moment that a `Date` knows (ECMA-262 21.4.1.1): whatever is to live longer lives until then. */
const LATEST_MS = 8_640_000_000_000_000;

/**
 * Milliseconds since 1970 as a whole number: the column takes no other, and a number beyond 2^53 could be written
 * but not be read again, not even at the next start.
 */
export function expiryOf(now: number, ttlSeconds: number): number {
  return Math.min(Math.ceil(now + ttlSeconds * 1000), LATEST_MS);
}

export class Expiry {
  readonly #statements: Pick<Statements, "nextExpiry" | "expired">;
  readonly #write: (batch: StoreWrite[], options: WriteOptions) => Promise<number>;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(
    statements: Pick<Statements, "nextExpiry" | "expired">,
    write: (batch: StoreWrite[], options: WriteOptions) => Promise<number>,
    now: () => number,
  ) {
    this.#statements = statements;
    this.#write = write;
    this.#now = now;
  }

  /** Something may end earlier, or no more. */
  arm(leastDelayMs = 0): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const next = this.#statements.nextExpiry.get()?.expires;
    if (typeof next !== "number") return;
    const delayMs = Math.min(Math.max(next - this.#now(), leastDelayMs), TIMER_LIMIT_MS);
    this.#timer = setTimeout(() => this.#expire(), delayMs).unref();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #expire(): void {
    this.#timer = null;
    const rows = this.#statements.expired.all(this.#now()) as unknown as Pick<
      ItemRow,
      "key" | "mod_revision"
    >[];
    const deletions = rows.map((row) =>
      this.#write([{ type: "delete", key: row.key }], { expect: { [row.key]: row.mod_revision } }),
    );
    // A conflict means that somebody wrote it again, which is as good; other failures are tried again.
    void Promise.allSettled(deletions).then((results) => {
      if (this.#isStopped || this.#timer !== null) return;
      const failed = results.some(
        (result) => result.status === "rejected" && result.reason instanceof StoreUnavailableError,
      );
      this.arm(failed ? RETRY_MS : 0);
    });
  }
}
