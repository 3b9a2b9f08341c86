/**
 * Gives out the slots of the health table: control's part, and no other thread's.
 *
 * A control that was restarted finds the slots of the one before it: it links the chains anew (the former one
 * may have died in the middle), and what nobody claims is given back by `releaseUnclaimed`. Slots are used
 * again in the order in which they were freed, so that a slot rests for as long as possible.
 */

import { movedTo } from "./health-state.ts";
import {
  bucketOf,
  clearBuckets,
  clearSlot,
  DRAINS,
  FLAGS,
  GENERATION,
  HEALTH_SLOTS,
  type HealthKey,
  type HealthTable,
  IS_DRAIN,
  KEY,
  LAST_GENERATION,
  LAYOUT,
  NEXT,
  startOf,
  WORD,
} from "./health-table.ts";

/** 31 bits, and never 0. */
const LARGEST_GENERATION = 0x7f_ff_ff_ff;

export class HealthRegistry {
  readonly table: HealthTable;
  readonly #words: Int32Array;
  /** Freed slots, oldest first; those that were never used come before, by number. */
  readonly #free: number[] = [];
  readonly #unclaimed = new Set<number>();
  #nextUnused = 0;

  constructor(table: HealthTable) {
    this.table = table;
    this.#words = table.words;
    this.#link();
  }

  /** Slots that are given out. */
  get used(): number {
    return this.#nextUnused - this.#free.length;
  }

  /** Slots that were found and not claimed yet. */
  get unclaimed(): number {
    return this.#unclaimed.size;
  }

  /**
   * The slot of a key, a new one if it has none; -1: the table is full. A new slot starts with `word` (state and
   * counts of `health-state.ts`), healthy by default.
   */
  claim(key: HealthKey, word = 0): number {
    return this.#claim(key, word, 0);
  }

  /** The same for a key of `drainKey`: the node is drained until `release`. */
  claimDrain(key: HealthKey): number {
    return this.#claim(key, 0, IS_DRAIN);
  }

  #claim(key: HealthKey, word: number, flags: number): number {
    const found = this.table.find(key);
    if (found !== -1) {
      this.#unclaimed.delete(found);
      return found;
    }
    const slot = this.#take();
    if (slot === -1) return -1;
    const words = this.#words;
    const at = startOf(slot);
    const generation = this.#nextGeneration();
    clearSlot(words, slot);
    words[at + FLAGS] = flags;
    words[at + KEY] = key[0];
    words[at + KEY + 1] = key[1];
    words[at + KEY + 2] = key[2];
    Atomics.store(words, at + WORD, movedTo(word, generation));
    Atomics.store(words, at + GENERATION, generation);
    this.#chain(slot);
    if (flags === IS_DRAIN) words[DRAINS]++;
    this.#moveLayout();
    return slot;
  }

  /** The node is nobody's any more. */
  release(slot: number): void {
    const words = this.#words;
    const at = startOf(slot);
    if (words[at + GENERATION] === 0) return;
    this.#unclaimed.delete(slot);
    const head = bucketOf(words.subarray(at + KEY, at + KEY + 3));
    let link = head;
    while (words[link] !== 0 && words[link] !== slot + 1) link = startOf(words[link] - 1) + NEXT;
    if (words[link] === slot + 1) Atomics.store(words, link, words[at + NEXT]);
    Atomics.store(words, at + GENERATION, 0);
    if (words[at + FLAGS] === IS_DRAIN) words[DRAINS]--;
    this.#free.push(slot);
    this.#moveLayout();
  }

  /** Everything that a former control had and this one does not. */
  releaseUnclaimed(): void {
    for (const slot of this.#unclaimed) this.release(slot);
  }

  #link(): void {
    const words = this.#words;
    clearBuckets(words);
    let drains = 0;
    const used: number[] = [];
    for (let slot = 0; slot < HEALTH_SLOTS; slot++) {
      if (words[startOf(slot) + GENERATION] === 0) continue;
      used.push(slot);
      if (words[startOf(slot) + FLAGS] === IS_DRAIN) drains++;
      this.#unclaimed.add(slot);
      this.#chain(slot);
    }
    words[DRAINS] = drains;
    this.#nextUnused = used.length === 0 ? 0 : used.at(-1)! + 1;
    for (let slot = 0; slot < this.#nextUnused; slot++) {
      if (words[startOf(slot) + GENERATION] === 0) this.#free.push(slot);
    }
    if (used.length > 0) this.#moveLayout();
  }

  #chain(slot: number): void {
    const words = this.#words;
    const at = startOf(slot);
    const bucket = bucketOf(words.subarray(at + KEY, at + KEY + 3));
    Atomics.store(words, at + NEXT, words[bucket]);
    Atomics.store(words, bucket, slot + 1);
  }

  #take(): number {
    if (this.#nextUnused < HEALTH_SLOTS) return this.#nextUnused++;
    return this.#free.shift() ?? -1;
  }

  #nextGeneration(): number {
    const last = this.#words[LAST_GENERATION];
    return (this.#words[LAST_GENERATION] = last === LARGEST_GENERATION ? 1 : last + 1);
  }

  #moveLayout(): void {
    Atomics.add(this.#words, LAYOUT, 1);
  }
}
