/**
 * Which of the stored prefixes begin this text, longest first?
 *
 * A few prefixes are a list, compared one after the other. More are a hash table: one walk over the text gives the hash of
 * every prefix whose length occurs in the table, and each is one probe, so that what counts is the number of different
 * lengths, not of prefixes; of 50,000 cold prefixes a lookup touches one line of hashes, one of values and the value.
 * With `fromEnd` text is read backwards, which makes suffixes of hosts prefixes without reversing a string per request.
 *
 * Lookups allocate nothing: `PrefixCursor` holds where a search stands. Inserting and removing touch a few slots; the table
 * doubles when it is half full (50,000 prefixes: well under a millisecond, as any hash map).
 */

/** What is stored knows its prefix, so that the table keeps no text of its own. */
export interface Prefixed {
  readonly prefix: string;
  readonly prefixLength: number;
  /** Whether the prefix begins `text` (ends it, in a table that reads from the end). */
  begins(text: string): boolean;
}

/** So many prefixes are compared one by one. */
const LIST_LIMIT = 8;
const FIRST_SLOTS = 32;
const FNV_PRIME = 0x01000193;
/** Differs per process: whoever may write routes cannot aim at one slot. */
const SEED = Math.floor(Math.random() * 0x7fffffff);
/** In `hashes`: a slot that holds nothing. Hashes are never 0. */
const EMPTY = 0;

/** Where one search stands. One per router and level, used again for every request. */
export class PrefixCursor {
  /** Next place in the list, or how many of `lengths` are left to probe. */
  at = 0;
  readonly lengths: number[] = [];
  readonly hashes: number[] = [];
}

export class PrefixTable<Value extends Prefixed> {
  readonly #fromEnd: boolean;
  /** Longest first; null when there are too many. */
  #list: Value[] | null = [];
  #hashes: Int32Array = NO_HASHES;
  #values: (Value | null)[] = [];
  /** By length: how many prefixes have it. */
  #lengthCounts: number[] = [];
  #size = 0;

  constructor(fromEnd = false) {
    this.#fromEnd = fromEnd;
  }

  get size(): number {
    return this.#size;
  }

  /** The value of exactly this prefix, or null. */
  get(prefix: string): Value | null {
    if (this.#list !== null) {
      const at = this.#indexInList(prefix);
      return at < 0 ? null : this.#list[at];
    }
    const slot = this.#slotOf(prefix);
    return slot < 0 ? null : this.#values[slot];
  }

  /** Sets the value of a prefix; it must begin with exactly that. */
  set(prefix: string, value: Value): void {
    if (this.#list !== null) {
      const known = this.#indexInList(prefix);
      if (known >= 0) {
        this.#list[known] = value;
        return;
      }
      if (this.#size < LIST_LIMIT) {
        const at = this.#list.findIndex((other) => other.prefixLength < prefix.length);
        this.#list.splice(at < 0 ? this.#size : at, 0, value);
        this.#size++;
        return;
      }
      this.#becomeTable(this.#list);
    }
    const slot = this.#slotOf(prefix);
    if (slot >= 0) {
      this.#values[slot] = value;
      return;
    }
    if ((this.#size + 1) * 2 > this.#hashes.length) this.#grow();
    this.#place(this.#hashOf(prefix), value);
    while (this.#lengthCounts.length <= prefix.length) this.#lengthCounts.push(0);
    this.#lengthCounts[prefix.length]++;
    this.#size++;
  }

  delete(prefix: string): void {
    if (this.#list !== null) {
      const at = this.#indexInList(prefix);
      if (at < 0) return;
      this.#list.splice(at, 1);
      this.#size--;
      return;
    }
    const slot = this.#slotOf(prefix);
    if (slot < 0) return;
    this.#vacate(slot);
    this.#lengthCounts[prefix.length]--;
    this.#size--;
  }

  /** The value of the longest prefix that begins `text`; `next` goes on from there. */
  first(text: string, cursor: PrefixCursor): Value | null {
    cursor.at = 0;
    if (this.#list === null) this.#hashPrefixes(text, cursor);
    return this.next(text, cursor);
  }

  /** The value of the next shorter prefix of the text that the cursor was begun with. */
  next(text: string, cursor: PrefixCursor): Value | null {
    const list = this.#list;
    if (list !== null) {
      while (cursor.at < list.length) {
        const value = list[cursor.at++];
        if (value.begins(text)) return value;
      }
      return null;
    }
    while (cursor.at > 0) {
      const at = --cursor.at;
      const value = this.#probe(cursor.hashes[at], cursor.lengths[at], text);
      if (value !== null) return value;
    }
    return null;
  }

  /** Notes the hash of each prefix of `text` that has a length which occurs, shortest first. */
  #hashPrefixes(text: string, cursor: PrefixCursor): void {
    const counts = this.#lengthCounts;
    const { lengths, hashes } = cursor;
    const end = text.length;
    const limit = Math.min(end, counts.length - 1);
    const fromEnd = this.#fromEnd;
    let found = 0;
    let hash = SEED;
    for (let length = 0; ; length++) {
      if (counts[length] > 0) {
        lengths[found] = length;
        hashes[found++] = finished(hash);
      }
      if (length >= limit) break;
      hash = Math.imul(hash ^ text.charCodeAt(fromEnd ? end - 1 - length : length), FNV_PRIME);
    }
    cursor.at = found;
  }

  #probe(hash: number, length: number, text: string): Value | null {
    const hashes = this.#hashes;
    const mask = hashes.length - 1;
    for (let slot = hash & mask; hashes[slot] !== EMPTY; slot = (slot + 1) & mask) {
      if (hashes[slot] !== hash) continue;
      const value = this.#values[slot]!;
      if (value.prefixLength === length && value.begins(text)) return value;
    }
    return null;
  }

  #indexInList(prefix: string): number {
    return this.#list!.findIndex((value) => value.prefixLength === prefix.length && value.begins(prefix));
  }

  /** Slot of exactly this prefix, or -1. */
  #slotOf(prefix: string): number {
    const hash = this.#hashOf(prefix);
    const hashes = this.#hashes;
    const mask = hashes.length - 1;
    for (let slot = hash & mask; hashes[slot] !== EMPTY; slot = (slot + 1) & mask) {
      if (hashes[slot] !== hash) continue;
      const value = this.#values[slot]!;
      if (value.prefixLength === prefix.length && value.begins(prefix)) return slot;
    }
    return -1;
  }

  #hashOf(prefix: string): number {
    let hash = SEED;
    const end = prefix.length;
    for (let i = 0; i < end; i++) {
      hash = Math.imul(hash ^ prefix.charCodeAt(this.#fromEnd ? end - 1 - i : i), FNV_PRIME);
    }
    return finished(hash);
  }

  #place(hash: number, value: Value): void {
    const mask = this.#hashes.length - 1;
    let slot = hash & mask;
    while (this.#hashes[slot] !== EMPTY) slot = (slot + 1) & mask;
    this.#hashes[slot] = hash;
    this.#values[slot] = value;
  }

  /** Empties a slot and moves up what had to step aside for it. */
  #vacate(slot: number): void {
    const hashes = this.#hashes;
    const mask = hashes.length - 1;
    let hole = slot;
    for (let next = (hole + 1) & mask; hashes[next] !== EMPTY; next = (next + 1) & mask) {
      const home = hashes[next] & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      hashes[hole] = hashes[next];
      this.#values[hole] = this.#values[next];
      hole = next;
    }
    hashes[hole] = EMPTY;
    this.#values[hole] = null;
  }

  #grow(): void {
    const hashes = this.#hashes;
    const values = this.#values;
    this.#allocate(hashes.length * 2);
    for (let slot = 0; slot < hashes.length; slot++) {
      if (hashes[slot] !== EMPTY) this.#place(hashes[slot], values[slot]!);
    }
  }

  #becomeTable(list: readonly Value[]): void {
    this.#list = null;
    this.#size = 0;
    this.#allocate(FIRST_SLOTS);
    for (const value of list) this.set(value.prefix, value);
  }

  #allocate(slots: number): void {
    this.#hashes = new Int32Array(slots);
    this.#values = Array.from({ length: slots }, () => null);
  }
}

const NO_HASHES = new Int32Array(1);

/** Spreads the last characters over the low bits; never `EMPTY`. */
function finished(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13) || 1;
}
