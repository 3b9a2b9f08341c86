/**
 * Which writes may be under way together. A decision that looks at resources besides its own (is anyone
 * using it? does another consumer have this key?) must not be overtaken by the write that would have
 * changed it, so such writes are alone in their circle; all others share one flush to the disk.
 */

export class WriteOrder {
  #shared = 0;
  #isExclusive = false;
  readonly #waiting: { isExclusive: boolean; go(): void }[] = [];

  /** Together with other shared ones. */
  async shared<T>(run: () => Promise<T>): Promise<T> {
    if (this.#isExclusive || this.#waiting.length > 0) await this.#wait(false);
    else this.#shared++;
    try {
      return await run();
    } finally {
      this.#shared--;
      this.#next();
    }
  }

  /** Alone. */
  async exclusive<T>(run: () => Promise<T>): Promise<T> {
    if (this.#isExclusive || this.#shared > 0 || this.#waiting.length > 0) await this.#wait(true);
    else this.#isExclusive = true;
    try {
      return await run();
    } finally {
      this.#isExclusive = false;
      this.#next();
    }
  }

  async #wait(isExclusive: boolean): Promise<void> {
    await new Promise<void>((go) => {
      this.#waiting.push({ isExclusive, go });
    });
  }

  /** In the order of arrival, so that nobody starves; the place is taken on behalf of who is let in. */
  #next(): void {
    for (
      let first = this.#waiting.at(0);
      first !== undefined && !this.#isExclusive;
      first = this.#waiting.at(0)
    ) {
      if (first.isExclusive && this.#shared > 0) return;
      this.#waiting.shift();
      if (first.isExclusive) this.#isExclusive = true;
      else this.#shared++;
      first.go();
    }
  }
}
