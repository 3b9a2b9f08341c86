/**
 * A map that holds a bounded number of entries and forgets the one that was used least recently.
 *
 * It stands on the insertion order of `Map`: a hit moves its entry to the end (a delete and a set), so the first key
 * is always the oldest. Entries have no age; who needs a time-to-live keeps the deadline in the value.
 */
export class LruMap<Key, Value> {
  readonly #entries = new Map<Key, Value>();
  readonly #capacity: number;
  /** The key that was used last: repeated use of one key costs no reordering. */
  #newest: Key | undefined;

  /** Throws a RangeError unless `capacity`, the largest number of entries, is an integer of at least 1. */
  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`capacity ${capacity}, expected an integer of at least 1`);
    }
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Value of `key`, which becomes the most recently used; undefined when there is none. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined || key === this.#newest) return value;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    this.#newest = key;
    return value;
  }

  /** Value of `key` without using it. */
  peek(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  /** Adds or replaces; beyond the capacity the least recently used entry goes and is returned. */
  set(key: Key, value: Value): Value | undefined {
    const entries = this.#entries;
    entries.delete(key);
    entries.set(key, value);
    this.#newest = key;
    if (entries.size <= this.#capacity) return undefined;
    const [oldest, evicted] = entries.entries().next().value!;
    entries.delete(oldest);
    return evicted;
  }

  delete(key: Key): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#newest = undefined;
  }
}
