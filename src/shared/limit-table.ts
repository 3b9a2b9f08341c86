/**
 * The storage under the limit counters: a hash table in shared memory, in shards with a lock each.
 *
 * An entry is in use while its hash word is not 0. Everything else about the structure (the chains from
 * the buckets, the free list, the number of used entries) can be told from that, and is: when a worker is
 * terminated inside a shard, whoever breaks its lock rebuilds the shard from the entries. A mutation
 * therefore needs no journal. It must only keep each entry valid at every step, so the key is written
 * before the hash that publishes it, and the operations above order their stores likewise.
 *
 * When a shard is full, expired entries are freed, and only those; if there are none the new key is
 * refused. Whoever floods the table with keys can thus keep new keys out for a while, but cannot make it
 * forget a count. `earliestExpiry` spares the search while nothing can have expired, so that a refusal
 * is cheap.
 *
 * Units held (`holdings`) are counted per entry and lane, and their sum is the truth: clearing a dead
 * worker's lane gives back what it held, without a lock.
 *
 * Operations hold the lock of one shard between `enter` or `find` and `leave`, and nothing in between may
 * wait or throw.
 */

import { laneCount, laneOf, ownerTag } from "./lanes.ts";
import { ABANDONED, SpinLock, TIMED_OUT } from "./spin-lock.ts";
import { CHARS_MASK, KEY_WORDS, READABLE_CHARS, SHORTENED, TableKey } from "./table-key.ts";

/** What an entry counts. The same key of another kind is another entry. */
export const FIXED_WINDOW = 1;
export const SLIDING_WINDOW = 2;
export const LEAKY_BUCKET = 3;
export const CONCURRENCY = 4;
const KIND_SHIFT = 16;

/** Entry: hash, link, length and kind, spare; then five float64; then the key. */
const HASH = 0;
const LINK = 1;
const LENGTH = 2;
const VALUES = 4;
const VALUE_COUNT = 5;
const KEY = VALUES + VALUE_COUNT * 2;
const ENTRY_WORDS = KEY + KEY_WORDS;

/** Shard, in words: lock, first free entry, used entries, search cursor; as float64: earliest expiry, refusals; then words again. */
const LOCK = 0;
const FREE = 1;
const USED = 2;
const CURSOR = 3;
const EARLIEST_EXPIRY = 2;
const REFUSALS = 3;
const TIMEOUTS_WORD = 8;
/** Entries from here to the end of the shard were never used, and their pages never touched. */
const FRESH = 9;
/** A cache line, so that workers in neighbouring shards do not disturb each other. */
const SHARD_WORDS = 16;

/** Table header: seed, entries per shard, shards, buckets per shard, lanes. */
const HEADER_WORDS = 16;

const MAX_CAPACITY = 100_000_000;
const MAX_SHARDS = 256;
const MIN_ENTRIES_PER_SHARD = 64;
/** Keys spread unevenly: room beyond the nominal capacity, so that the fullest shard holds its share. */
const SPARE_SHARE = 0.125;
/** Entries freed by one search at most, so that one request never pays for a whole shard. */
const FREED_AT_ONCE = 16;
/** The search is repeated at least this often, whatever was foreseen. */
const MAX_FORESIGHT_MS = 1000;

export interface LimitTableStats {
  /** Entries that fit: what was asked for, and the spare room of the shards. */
  capacity: number;
  used: number;
  /** New keys that were refused because their shard was full. */
  refusals: number;
  /** Operations given up because a lock was held for too long. */
  lockTimeouts: number;
  bytes: number;
}

export class LimitTable {
  /** Values of an entry: `values[entryBase + i]`, i from 0 to 4; the first is its expiry in milliseconds. */
  readonly values: Float64Array;
  /** Units held: one word per entry and lane. */
  readonly #holdings: Int32Array;
  readonly #header: Int32Array;
  readonly #shards: Int32Array;
  readonly #shardValues: Float64Array;
  readonly #heads: Int32Array;
  readonly #entries: Int32Array;
  readonly #key: TableKey;
  readonly #lock: SpinLock;
  readonly #lane: number;
  readonly #lanes: number;
  readonly #perShard: number;
  readonly #shardMask: number;
  readonly #buckets: number;
  /** The last operation found nothing because its shard was not to be had in time. */
  timedOut = false;
  #shard = 0;
  #entry = 0;

  static create(capacity: number, workers: number): SharedArrayBuffer {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY) {
      throw new RangeError(
        `limit counters: given ${capacity}, expected an integer from 1 to ${MAX_CAPACITY}`,
      );
    }
    let shards = 1;
    while (shards < MAX_SHARDS && capacity / (shards * 2) >= MIN_ENTRIES_PER_SHARD) shards *= 2;
    const perShard = Math.ceil((capacity / shards) * (shards === 1 ? 1 : 1 + SPARE_SHARE));
    let buckets = 1;
    while (buckets < perShard) buckets *= 2;
    const lanes = laneCount(workers);
    const words = HEADER_WORDS + shards * (SHARD_WORDS + buckets + perShard * (ENTRY_WORDS + lanes));
    const shared = new SharedArrayBuffer(Math.ceil(words / 2) * 8);
    const header = new Int32Array(shared, 0, HEADER_WORDS);
    header.set([(Math.random() * 2 ** 32) | 0, perShard, shards, buckets, lanes]);
    return shared;
  }

  constructor(shared: SharedArrayBuffer, slot: number, generation: number) {
    this.#header = new Int32Array(shared, 0, HEADER_WORDS);
    const [seed, perShard, shards, buckets, lanes] = this.#header;
    this.#perShard = perShard;
    this.#shardMask = shards - 1;
    this.#buckets = buckets;
    this.#lanes = lanes;
    this.#lane = laneOf(slot);
    let at = HEADER_WORDS * 4;
    this.#shards = new Int32Array(shared, at, shards * SHARD_WORDS);
    this.#shardValues = new Float64Array(shared, at, (shards * SHARD_WORDS) / 2);
    at += shards * SHARD_WORDS * 4;
    this.#entries = new Int32Array(shared, at, shards * perShard * ENTRY_WORDS);
    this.values = new Float64Array(shared, at, (shards * perShard * ENTRY_WORDS) / 2);
    at += shards * perShard * ENTRY_WORDS * 4;
    this.#heads = new Int32Array(shared, at, shards * buckets);
    at += shards * buckets * 4;
    this.#holdings = new Int32Array(shared, at, shards * perShard * lanes);
    this.#key = new TableKey(seed);
    this.#lock = new SpinLock(this.#shards, ownerTag(slot, generation));
  }

  /**
   * Finds or adds the entry of a key and holds its shard until `leave`. Returns where its values begin; a
   * new entry has only zeros. -1, holding nothing: the table is full, or its lock was not to be had.
   */
  enter(key: string, kind: number, nowMs: number): number {
    const shard = this.#acquire(key);
    if (shard < 0) return -1;
    let entry = this.#lookup(shard, kind);
    if (entry < 0) entry = this.#insert(shard, kind, nowMs);
    if (entry < 0) {
      this.#shardValues[(shard * SHARD_WORDS) / 2 + REFUSALS]++;
      this.#lock.release(shard * SHARD_WORDS + LOCK);
      return -1;
    }
    this.#entry = entry;
    return (entry * ENTRY_WORDS + VALUES) / 2;
  }

  /** As `enter`, for a key that is there; -1, holding nothing, when it is not. */
  find(key: string, kind: number): number {
    const shard = this.#acquire(key);
    if (shard < 0) return -1;
    const entry = this.#lookup(shard, kind);
    if (entry < 0) {
      this.#lock.release(shard * SHARD_WORDS + LOCK);
      return -1;
    }
    this.#entry = entry;
    return (entry * ENTRY_WORDS + VALUES) / 2;
  }

  leave(): void {
    this.#lock.release(this.#shard * SHARD_WORDS + LOCK);
  }

  /** The entered entry expires then: the search for expired entries must not miss it. */
  expiresAt(base: number, atMs: number): void {
    this.values[base] = atMs;
    const cell = (this.#shard * SHARD_WORDS) / 2 + EARLIEST_EXPIRY;
    if (atMs < this.#shardValues[cell]) this.#shardValues[cell] = atMs;
  }

  /** Units of the entered entry that all threads hold. */
  held(): number {
    return this.#heldOf(this.#entry);
  }

  /** Changes what this thread holds of the entered entry. */
  hold(by: number): void {
    this.#holdings[this.#entry * this.#lanes + this.#lane] += by;
  }

  /** Units of the entered entry that this thread holds. */
  heldHere(): number {
    return this.#holdings[this.#entry * this.#lanes + this.#lane];
  }

  /**
   * Frees all entries whose key begins with `prefix`, except those that hold units. Shortened keys are
   * recognised by prefixes of up to 40 characters. Returns their number.
   */
  removeAll(prefix: string): number {
    let removed = 0;
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      if (!this.#acquireShard(shard)) continue;
      const end = this.#usedEnd(shard);
      for (let entry = shard * this.#perShard; entry < end; entry++) {
        const at = entry * ENTRY_WORDS;
        if (this.#entries[at + HASH] === 0 || this.#kindOf(entry) === CONCURRENCY) continue;
        if (!this.#startsWith(entry, prefix)) continue;
        Atomics.store(this.#entries, at + HASH, 0);
        removed++;
      }
      this.#rebuild(shard);
      this.leave();
    }
    return removed;
  }

  /** For the supervisor: breaks and repairs what a dead thread held. Returns the number of broken locks. */
  repairAfterDeath(slot: number, generation: number): number {
    const deadTag = ownerTag(slot, generation);
    const lane = laneOf(slot);
    let broken = 0;
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      if (this.#lock.takeOver(shard * SHARD_WORDS + LOCK, deadTag)) {
        this.#rebuild(shard);
        this.#lock.release(shard * SHARD_WORDS + LOCK);
        broken++;
      }
      const end = this.#usedEnd(shard);
      for (let entry = shard * this.#perShard; entry < end; entry++) {
        this.#holdings[entry * this.#lanes + lane] = 0;
      }
    }
    return broken;
  }

  stats(): LimitTableStats {
    let used = 0;
    let refusals = 0;
    let lockTimeouts = 0;
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      used += this.#shards[shard * SHARD_WORDS + USED];
      refusals += this.#shardValues[(shard * SHARD_WORDS) / 2 + REFUSALS];
      lockTimeouts += Atomics.load(this.#shards, shard * SHARD_WORDS + TIMEOUTS_WORD);
    }
    const capacity = (this.#shardMask + 1) * this.#perShard;
    return { capacity, used, refusals, lockTimeouts, bytes: this.#header.buffer.byteLength };
  }

  /** Locks that are held at this moment. For tests and diagnosis. */
  heldLocks(): number {
    let held = 0;
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      if (this.#lock.holder(shard * SHARD_WORDS + LOCK) !== 0) held++;
    }
    return held;
  }

  #acquire(key: string): number {
    this.#key.load(key);
    const shard = (this.#key.hash >>> 24) & this.#shardMask;
    return this.#acquireShard(shard) ? shard : -1;
  }

  #acquireShard(shard: number): boolean {
    const outcome = this.#lock.acquire(shard * SHARD_WORDS + LOCK);
    this.timedOut = outcome === TIMED_OUT;
    if (this.timedOut) {
      Atomics.add(this.#shards, shard * SHARD_WORDS + TIMEOUTS_WORD, 1);
      return false;
    }
    this.#shard = shard;
    if (outcome === ABANDONED) this.#rebuild(shard);
    return true;
  }

  #lookup(shard: number, kind: number): number {
    const entries = this.#entries;
    const { words, hash, length } = this.#key;
    const lengthAndKind = length | (kind << KIND_SHIFT);
    const keyWords = ((length & CHARS_MASK) + 3) >>> 2;
    let link = this.#heads[shard * this.#buckets + (hash & (this.#buckets - 1))];
    while (link !== 0) {
      const at = (link - 1) * ENTRY_WORDS;
      if (entries[at + HASH] === hash && entries[at + LENGTH] === lengthAndKind) {
        let i = 0;
        while (i < keyWords && entries[at + KEY + i] === words[i]) i++;
        if (i === keyWords) return link - 1;
      }
      link = entries[at + LINK];
    }
    return -1;
  }

  /** -1: the shard is full of entries that have not expired. */
  #insert(shard: number, kind: number, nowMs: number): number {
    const entry = this.#take(shard, nowMs);
    if (entry < 0) return -1;
    const entries = this.#entries;
    const at = entry * ENTRY_WORDS;
    this.#shards[shard * SHARD_WORDS + USED]++;
    const { words, hash, length } = this.#key;
    entries[at + LENGTH] = length | (kind << KIND_SHIFT);
    const values = (at + VALUES) / 2;
    for (let i = 0; i < VALUE_COUNT; i++) this.values[values + i] = 0;
    for (let i = 0; i < KEY_WORDS; i++) entries[at + KEY + i] = words[i];
    const head = shard * this.#buckets + (hash & (this.#buckets - 1));
    entries[at + LINK] = this.#heads[head];
    // From here on the entry exists, for a repair too.
    Atomics.store(entries, at + HASH, hash);
    this.#heads[head] = entry + 1;
    return entry;
  }

  /** An entry that is not in use: a freed one, a fresh one, one that has expired; -1: there is none. */
  #take(shard: number, nowMs: number): number {
    const words = shard * SHARD_WORDS;
    if (this.#shards[words + FREE] === 0) {
      const fresh = this.#shards[words + FRESH];
      if (fresh < this.#perShard) {
        this.#shards[words + FRESH] = fresh + 1;
        return shard * this.#perShard + fresh;
      }
      if (!this.#freeExpired(shard, nowMs)) return -1;
    }
    const entry = this.#shards[words + FREE] - 1;
    this.#shards[words + FREE] = this.#entries[entry * ENTRY_WORDS + LINK];
    return entry;
  }

  #usedEnd(shard: number): number {
    return shard * this.#perShard + this.#shards[shard * SHARD_WORDS + FRESH];
  }

  /** Goes round the shard from where the last search ended, until it has freed some or seen all. */
  #freeExpired(shard: number, nowMs: number): boolean {
    const expiryCell = (shard * SHARD_WORDS) / 2 + EARLIEST_EXPIRY;
    if (nowMs < this.#shardValues[expiryCell]) return false;
    const perShard = this.#perShard;
    let cursor = this.#shards[shard * SHARD_WORDS + CURSOR];
    let earliest = nowMs + MAX_FORESIGHT_MS;
    let freed = 0;
    for (let seen = 0; seen < perShard && freed < FREED_AT_ONCE; seen++) {
      const entry = shard * perShard + cursor;
      cursor = cursor + 1 === perShard ? 0 : cursor + 1;
      const expiry = this.#expiryOf(entry);
      if (expiry <= nowMs) {
        this.#remove(shard, entry);
        freed++;
      } else if (expiry < earliest) earliest = expiry;
    }
    this.#shards[shard * SHARD_WORDS + CURSOR] = cursor;
    if (freed === 0) this.#shardValues[expiryCell] = earliest;
    return freed > 0;
  }

  #expiryOf(entry: number): number {
    if (this.#kindOf(entry) === CONCURRENCY) return this.#heldOf(entry) === 0 ? 0 : Infinity;
    return this.values[(entry * ENTRY_WORDS + VALUES) / 2];
  }

  /** Unlinks, then frees: an entry that a death leaves in between is found again by the repair. */
  #remove(shard: number, entry: number): void {
    const entries = this.#entries;
    const at = entry * ENTRY_WORDS;
    const head = shard * this.#buckets + (entries[at + HASH] & (this.#buckets - 1));
    const next = entries[at + LINK];
    let link = this.#heads[head];
    if (link === entry + 1) this.#heads[head] = next;
    else {
      while (link !== 0 && entries[(link - 1) * ENTRY_WORDS + LINK] !== entry + 1) {
        link = entries[(link - 1) * ENTRY_WORDS + LINK];
      }
      if (link !== 0) entries[(link - 1) * ENTRY_WORDS + LINK] = next;
    }
    Atomics.store(entries, at + HASH, 0);
    entries[at + LINK] = this.#shards[shard * SHARD_WORDS + FREE];
    this.#shards[shard * SHARD_WORDS + FREE] = entry + 1;
    this.#shards[shard * SHARD_WORDS + USED]--;
  }

  /** Makes chains, free list and figures of a shard anew from its entries. The caller holds the lock. */
  #rebuild(shard: number): void {
    const entries = this.#entries;
    const heads = shard * this.#buckets;
    this.#heads.fill(0, heads, heads + this.#buckets);
    let free = 0;
    let used = 0;
    for (let entry = this.#usedEnd(shard) - 1; entry >= shard * this.#perShard; entry--) {
      const at = entry * ENTRY_WORDS;
      const hash = entries[at + HASH];
      if (hash === 0) {
        entries[at + LINK] = free;
        free = entry + 1;
      } else {
        const head = heads + (hash & (this.#buckets - 1));
        entries[at + LINK] = this.#heads[head];
        this.#heads[head] = entry + 1;
        used++;
      }
    }
    const words = shard * SHARD_WORDS;
    this.#shards[words + FREE] = free;
    this.#shards[words + USED] = used;
    this.#shards[words + CURSOR] = 0;
    this.#shardValues[words / 2 + EARLIEST_EXPIRY] = 0;
  }

  #kindOf(entry: number): number {
    return this.#entries[entry * ENTRY_WORDS + LENGTH] >>> KIND_SHIFT;
  }

  #heldOf(entry: number): number {
    const first = entry * this.#lanes;
    let sum = 0;
    for (let lane = 0; lane < this.#lanes; lane++) sum += this.#holdings[first + lane];
    return sum;
  }

  #startsWith(entry: number, prefix: string): boolean {
    const at = entry * ENTRY_WORDS;
    const length = this.#entries[at + LENGTH];
    const readable = (length & SHORTENED) === 0 ? length & CHARS_MASK : READABLE_CHARS;
    if (prefix.length > readable) return false;
    for (let i = 0; i < prefix.length; i++) {
      const char = (this.#entries[at + KEY + (i >>> 2)] >>> ((i & 3) * 8)) & 0xff;
      if (char !== prefix.charCodeAt(i)) return false;
    }
    return true;
  }
}
