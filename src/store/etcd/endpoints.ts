/**
 * Which member of the cluster is asked next: one that has not failed lately, else the one whose failure is the
 * longest ago. Nodes begin at a member of chance, so that a fleet spreads over all of them.
 */

export class Endpoints {
  readonly #urls: readonly string[];
  readonly #avoidFailedMs: number;
  readonly #now: () => number;
  readonly #failedAt: number[];
  #at: number;

  constructor(
    urls: readonly string[],
    avoidFailedMs: number,
    now: () => number = Date.now,
    random: () => number = Math.random,
  ) {
    this.#urls = urls;
    this.#avoidFailedMs = avoidFailedMs;
    this.#now = now;
    this.#failedAt = urls.map(() => Number.NEGATIVE_INFINITY);
    this.#at = Math.floor(random() * urls.length);
  }

  get count(): number {
    return this.#urls.length;
  }

  /** The same again as long as it does not fail. */
  choose(): string {
    const from = this.#now() - this.#avoidFailedMs;
    let best = this.#at;
    for (let i = 0; i < this.#urls.length && this.#failedAt[best] > from; i++) {
      const other = (this.#at + i) % this.#urls.length;
      if (this.#failedAt[other] < this.#failedAt[best]) best = other;
    }
    this.#at = best;
    return this.#urls[best];
  }

  failed(url: string): void {
    this.#failedAt[this.#urls.indexOf(url)] = this.#now();
  }
}
