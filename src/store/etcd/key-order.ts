/** Lets writes to one key go one after the other, in the order in which they came; others do not wait for them. */

export class KeyOrder {
  readonly #lastOf = new Map<string, Promise<void>>();

  /** Runs when all earlier runs with one of these keys have ended. */
  async run<T>(keys: readonly string[], run: () => Promise<T>): Promise<T> {
    const earlier = new Set<Promise<void>>();
    for (const key of keys) {
      const last = this.#lastOf.get(key);
      if (last !== undefined) earlier.add(last);
    }
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    for (const key of keys) this.#lastOf.set(key, ended);
    try {
      if (earlier.size > 0) await Promise.all(earlier);
      return await run();
    } finally {
      resolve();
      for (const key of keys) if (this.#lastOf.get(key) === ended) this.#lastOf.delete(key);
    }
  }
}
