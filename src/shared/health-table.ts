/**
 * What is known of the nodes of upstreams: one table in shared memory that every thread reads.
 *
 * A node that is checked or watched has a slot: a word of health (`health-state.ts`), a generation, and what
 * outlier ejection counts. A drained node has another one, which is there for as long as the drain. Control alone gives slots out and takes them back
 * (`health-registry.ts`). Results come from any thread: a compare-and-exchange of the one word counts a result
 * and turns the state, so that the count is exact and every worker sees the same, at once, and a worker that
 * dies in between leaves nothing half done.
 *
 * A slot is named with its generation. A result that comes late, when the slot is another node's, is lost:
 * its generation is compared first, and its last bits again by the exchange itself.
 *
 * Two words tell readers when to look: `layout` moves when slots change, `changes` when a node went
 * up or down. A pick costs two loads and two comparisons while nothing changes.
 *
 * Layout: a header of 16 words, the heads of the hash chains, then 16 words per slot.
 */

import { hash } from "node:crypto";
import { monotonicMs } from "./threads.ts";
import { afterResult, isOfGeneration, isUp, type Result } from "./health-state.ts";

/** Nodes that can be checked at once, on one machine. */
export const HEALTH_SLOTS = 16_384;

const BUCKETS = 8_192;
const HEADER_WORDS = 16;
const SLOT_WORDS = 16;

/** Words of the header. */
export const LAYOUT = 0;
const CHANGES = 1;
/** The generation that was given out last. */
export const LAST_GENERATION = 2;
/** Slots that stand for a drained node. */
export const DRAINS = 3;

/** Words of a slot. */
export const WORD = 0;
export const GENERATION = 1;
export const NEXT = 2;
export const KEY = 3;
export const FLAGS = 6;
const ERRORS = 7;
const EJECTED_UNTIL = 8;
const EJECTIONS = 9;
const UP_SINCE = 10;

/** The slot says that a node is drained, and nothing about its health. */
export const IS_DRAIN = 1;

/** Times are kept in tenths of a second: a word of milliseconds would last for 24 days. */
const TICK_MS = 100;

/** A key as three words of its SHA-256 digest: no two keys meet. */
export type HealthKey = Int32Array;

/** Slots are found by the resource, the address and port that are probed, and the host that is asked for. */
export function healthKey(resource: string, address: string, port: number, host: string): HealthKey {
  return keyOf(`${resource}|${address}|${port}|${host}`);
}

/** Of the errors of a node, for outlier ejection: where it is, whatever is probed. */
export function outlierKey(resource: string, host: string, address: string, port: number): HealthKey {
  return keyOf(`outlier|${resource}|${host}|${address}|${port}`);
}

/** Of the drain of a node as it is configured. */
export function drainKey(resource: string, host: string, port: number): HealthKey {
  return keyOf(`drain|${resource}|${host}|${port}`);
}

function keyOf(text: string): HealthKey {
  const digest = hash("sha256", text, "buffer");
  return new Int32Array([digest.readInt32LE(0), digest.readInt32LE(4), digest.readInt32LE(8)]);
}

export class HealthTable {
  readonly words: Int32Array;
  readonly #now: () => number;

  static bytes(): number {
    return (HEADER_WORDS + BUCKETS + HEALTH_SLOTS * SLOT_WORDS) * 4;
  }

  /** `now`: that of `monotonicMs`; virtual in tests. */
  constructor(shared: SharedArrayBuffer, now: () => number = monotonicMs) {
    this.#now = now;
    this.words = new Int32Array(shared);
  }

  /** Moves when slots are given out or taken back. */
  get layout(): number {
    return this.words[LAYOUT];
  }

  /** Moves when a node went up or down, or was ejected. */
  get changes(): number {
    return this.words[CHANGES];
  }

  /** The slot of a key; -1: it has none. Control may write meanwhile: then `layout` moves, and one looks again. */
  find(key: HealthKey): number {
    const { words } = this;
    let slot = Atomics.load(words, bucketOf(key)) - 1;
    // What is unlinked under the reader may lead it into another chain, but never round for ever.
    for (let i = 0; slot !== -1 && i < HEALTH_SLOTS; i++) {
      const at = startOf(slot);
      if (words[at + KEY] === key[0] && words[at + KEY + 1] === key[1] && words[at + KEY + 2] === key[2]) {
        if (Atomics.load(words, at + GENERATION) !== 0) return slot;
      }
      slot = Atomics.load(words, at + NEXT) - 1;
    }
    return -1;
  }

  /** Of a slot that is not free. */
  keyOf(slot: number): HealthKey {
    const at = startOf(slot) + KEY;
    return this.words.slice(at, at + 3);
  }

  /** 0: the slot is free. */
  generation(slot: number): number {
    return Atomics.load(this.words, startOf(slot) + GENERATION);
  }

  /** For `health-state.ts`. */
  word(slot: number): number {
    return Atomics.load(this.words, startOf(slot) + WORD);
  }

  isUp(slot: number): boolean {
    return isUp(this.word(slot));
  }

  /** How many nodes are drained: mostly none, and then nobody need look for them. */
  get drains(): number {
    return this.words[DRAINS];
  }

  /** Counts a result. True when the node went up or down by it. `limit`: results in a row that turn the state. */
  report(slot: number, generation: number, result: Result, limit: number): boolean {
    const { words } = this;
    const at = startOf(slot);
    for (;;) {
      const word = Atomics.load(words, at + WORD);
      if (!isOfGeneration(word, generation) || Atomics.load(words, at + GENERATION) !== generation)
        return false;
      const next = afterResult(word, result, limit);
      if (next === word) return false;
      if (Atomics.compareExchange(words, at + WORD, word, next) !== word) continue;
      if (isUp(word) === isUp(next)) return false;
      if (isUp(next)) Atomics.store(words, at + UP_SINCE, Math.floor(this.#now() / TICK_MS));
      this.announce();
      return true;
    }
  }

  /** When the node came back, in monotonic milliseconds; 0: it was never down. */
  upSince(slot: number): number {
    return Atomics.load(this.words, startOf(slot) + UP_SINCE) * TICK_MS;
  }

  /** One more error in a row (outlier ejection); gives how many there are now. */
  addError(slot: number, generation: number): number {
    const at = startOf(slot);
    if (this.generation(slot) !== generation) return 0;
    return Atomics.add(this.words, at + ERRORS, 1) + 1;
  }

  /** A good answer. Writes only when there were errors. */
  forgetErrors(slot: number, generation: number): void {
    const at = startOf(slot);
    if (this.words[at + ERRORS] !== 0 && this.generation(slot) === generation)
      Atomics.store(this.words, at + ERRORS, 0);
  }

  /**
   * Takes the node out until `baseMs` times the number of its ejections is over, at most `maxMs`. `now`: monotonic
   * milliseconds of `monotonicMs`, which mean the same in every thread. False: another thread did it just now.
   */
  eject(slot: number, generation: number, now: number, baseMs: number, maxMs: number): boolean {
    const { words } = this;
    const at = startOf(slot);
    const until = Atomics.load(words, at + EJECTED_UNTIL);
    if (until * TICK_MS > now || this.generation(slot) !== generation) return false;
    // What stayed well for as long as the longest ejection begins anew.
    const past = until === 0 || now - until * TICK_MS > maxMs ? 0 : words[at + EJECTIONS];
    const durationMs = Math.min(baseMs * (past + 1), maxMs);
    const next = Math.ceil((now + durationMs) / TICK_MS);
    if (Atomics.compareExchange(words, at + EJECTED_UNTIL, until, next) !== until) return false;
    words[at + EJECTIONS] = past + 1;
    Atomics.store(words, at + ERRORS, 0);
    this.announce();
    return true;
  }

  /** Monotonic milliseconds; in the past, or 0, when the node is not ejected. */
  ejectedUntil(slot: number): number {
    return Atomics.load(this.words, startOf(slot) + EJECTED_UNTIL) * TICK_MS;
  }

  /** How often it was ejected in a row. */
  ejections(slot: number): number {
    return this.words[startOf(slot) + EJECTIONS];
  }

  /** Readers look again. */
  announce(): void {
    Atomics.add(this.words, CHANGES, 1);
    Atomics.notify(this.words, CHANGES);
  }

  /** Ends when `changes` is no longer `seen`, or after the timeout. */
  async whenChanged(seen: number, timeoutMs: number): Promise<void> {
    await Atomics.waitAsync(this.words, CHANGES, seen, timeoutMs).value;
  }
}

/** The first word of a slot. */
export function startOf(slot: number): number {
  return HEADER_WORDS + BUCKETS + slot * SLOT_WORDS;
}

/** The word that holds the head of the key's chain: a slot plus 1, or 0. */
export function bucketOf(key: ArrayLike<number>): number {
  return HEADER_WORDS + (key[0] & (BUCKETS - 1));
}

/** All heads. */
export function clearBuckets(words: Int32Array): void {
  words.fill(0, HEADER_WORDS, HEADER_WORDS + BUCKETS);
}

/** A slot as new, but for its generation and its place in a chain. */
export function clearSlot(words: Int32Array, slot: number): void {
  const at = startOf(slot);
  words.fill(0, at + FLAGS, at + SLOT_WORDS);
}
