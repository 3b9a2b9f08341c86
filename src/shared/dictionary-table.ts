/**
 * The storage under the dictionary: entries of any size in blocks of shared memory, in shards with a lock
 * each, the least recently used entry of a shard first to go.
 *
 * An entry begins with a head block whose hash word is not 0; key and value follow in it and in a chain of
 * further blocks. As in the limit table, everything else (chains, free list, order of use) can be told
 * from the head blocks and is made anew when a worker died inside a shard. A value is replaced by writing
 * a complete new entry, publishing it, and removing the old one: a death in between leaves one of the
 * two, or both, and then the one with the higher sequence number stays. After such a repair the order of
 * use is the order of writing.
 *
 * Operations run between `enter` and `leave`, which hold one shard; nothing in between may throw.
 */

import {
  BLOCK_BYTES,
  BLOCK_WORDS,
  DictionaryBlocks,
  EXPIRY,
  FREE,
  FRESH,
  HASH,
  KEY_BYTES,
  LINK,
  NEWER,
  NUMBER,
  OLDER,
  REST,
  SEQUENCE,
  SHARD_WORDS,
  TYPE,
  USED,
  VALUE_BYTES,
} from "./dictionary-blocks.ts";
import { ownerTag } from "./lanes.ts";
import { ABANDONED, SpinLock, TIMED_OUT } from "./spin-lock.ts";

const MAX_KEY_BYTES = 256;

/** Words of a shard besides those of its blocks, then float64. */
const LOCK = 0;
const ENTRIES = 4;
const NEWEST = 5;
const OLDEST = 6;
const TIMEOUTS = 7;
const NEXT_SEQUENCE = 4;
const EVICTIONS = 5;

/** Header: seed, blocks per shard, shards, buckets per shard. */
const HEADER_WORDS = 16;

const MAX_SHARDS = 16;
const MIN_SHARD_BYTES = 65_536;
const MAX_VALUE_BYTES = 1_048_576;
const MAX_BYTES = 2 ** 36;

export interface DictionaryStats {
  capacityBytes: number;
  freeBytes: number;
  entries: number;
  /** Entries that were removed before their time because room was needed. */
  evictions: number;
  lockTimeouts: number;
}

export class DictionaryTable {
  /** A larger value is refused: it would push out too much of its shard. */
  readonly maxValueBytes: number;
  readonly #shards: Int32Array;
  readonly #shardCells: Float64Array;
  readonly #heads: Int32Array;
  readonly #words: Int32Array;
  readonly #cells: Float64Array;
  readonly #lock: SpinLock;
  readonly #seed: number;
  readonly #blocks: DictionaryBlocks;
  readonly #shardMask: number;
  readonly #buckets: number;
  readonly #key = Buffer.alloc(MAX_KEY_BYTES);
  #keyBytes = 0;
  #hash = 1;
  #shard = 0;

  static create(bytes: number): SharedArrayBuffer {
    if (!Number.isInteger(bytes) || bytes < MIN_SHARD_BYTES || bytes > MAX_BYTES) {
      throw new RangeError(
        `dictionary bytes: given ${bytes}, expected an integer from ${MIN_SHARD_BYTES} to ${MAX_BYTES}`,
      );
    }
    let shards = 1;
    while (shards < MAX_SHARDS && bytes / (shards * 2) >= MIN_SHARD_BYTES) shards *= 2;
    const blocks = Math.floor(bytes / shards / BLOCK_BYTES);
    let buckets = 1;
    while (buckets < blocks) buckets *= 2;
    const shared = new SharedArrayBuffer(
      (HEADER_WORDS + shards * (SHARD_WORDS + buckets)) * 4 + shards * blocks * BLOCK_BYTES,
    );
    new Int32Array(shared).set([(Math.random() * 2 ** 32) | 0, blocks, shards, buckets]);
    return shared;
  }

  constructor(shared: SharedArrayBuffer, slot: number, generation: number) {
    const [seed, blocks, shards, buckets] = new Int32Array(shared, 0, HEADER_WORDS);
    this.#seed = seed;
    this.#shardMask = shards - 1;
    this.#buckets = buckets;
    let at = HEADER_WORDS * 4;
    this.#shards = new Int32Array(shared, at, shards * SHARD_WORDS);
    this.#shardCells = new Float64Array(shared, at, (shards * SHARD_WORDS) / 2);
    at += shards * SHARD_WORDS * 4;
    const blocksAt = shared.byteLength - shards * blocks * BLOCK_BYTES;
    this.#heads = new Int32Array(shared, at, shards * buckets);
    this.#blocks = new DictionaryBlocks(shared, blocksAt, blocks, this.#shards);
    this.#words = this.#blocks.words;
    this.#cells = this.#blocks.cells;
    this.#lock = new SpinLock(this.#shards, ownerTag(slot, generation));
    this.maxValueBytes = Math.min(MAX_VALUE_BYTES, Math.floor((blocks * BLOCK_BYTES) / 4));
  }

  /** Takes the shard of a key; false: it was not to be had in time. */
  enter(key: string): boolean {
    this.#load(key);
    const outcome = this.#acquire((this.#hash >>> 24) & this.#shardMask);
    // The repair used the place of the key for its own.
    if (outcome === ABANDONED) this.#load(key);
    return outcome !== TIMED_OUT;
  }

  leave(): void {
    this.#lock.release(this.#shard * SHARD_WORDS + LOCK);
  }

  /** The entry of the key, now the most recently used; -1: there is none. An expired one is removed. */
  find(nowMs: number): number {
    const entry = this.#lookup();
    if (entry < 0) return -1;
    if (this.#cells[DictionaryBlocks.cell(entry, EXPIRY)] <= nowMs) {
      this.remove(entry);
      return -1;
    }
    this.#unlinkUse(entry);
    this.#linkUse(entry);
    return entry;
  }

  typeOf(entry: number): number {
    return this.#words[entry * BLOCK_WORDS + TYPE];
  }

  number(entry: number): number {
    return this.#cells[DictionaryBlocks.cell(entry, NUMBER)];
  }

  setNumber(entry: number, value: number): void {
    this.#cells[DictionaryBlocks.cell(entry, NUMBER)] = value;
  }

  /** Infinity: never. */
  expiry(entry: number): number {
    return this.#cells[DictionaryBlocks.cell(entry, EXPIRY)];
  }

  setExpiry(entry: number, atMs: number): void {
    this.#cells[DictionaryBlocks.cell(entry, EXPIRY)] = atMs;
  }

  /** A copy of the value's bytes. */
  read(entry: number): Buffer {
    const value = Buffer.allocUnsafe(this.#words[entry * BLOCK_WORDS + VALUE_BYTES]);
    this.#blocks.copyOut(entry, this.#words[entry * BLOCK_WORDS + KEY_BYTES], value);
    return value;
  }

  /** Replaces or adds the key of `enter`. False: the value is too large. */
  write(old: number, type: number, number: number, value: Buffer, expiryMs: number): boolean {
    if (value.length > this.maxValueBytes) return false;
    let replaced = old;
    const needed = DictionaryBlocks.needed(this.#keyBytes + value.length);
    while (this.#blocks.available(this.#shard) < needed) {
      const evicted = this.#evict(replaced);
      if (evicted < 0) return false;
      if (evicted === replaced) replaced = -1;
    }
    const entry = this.#blocks.allocate(this.#shard, needed);
    const word = entry * BLOCK_WORDS;
    this.#words[word + KEY_BYTES] = this.#keyBytes;
    this.#words[word + VALUE_BYTES] = value.length;
    this.#words[word + TYPE] = type;
    this.#cells[DictionaryBlocks.cell(entry, EXPIRY)] = expiryMs;
    this.#cells[DictionaryBlocks.cell(entry, SEQUENCE)] = ++this.#shardCells[
      (this.#shard * SHARD_WORDS) / 2 + NEXT_SEQUENCE
    ];
    this.#cells[DictionaryBlocks.cell(entry, NUMBER)] = number;
    this.#blocks.copyIn(entry, 0, this.#key, this.#keyBytes);
    this.#blocks.copyIn(entry, this.#keyBytes, value, value.length);
    // From here on the entry exists, for a repair too.
    Atomics.store(this.#words, word + HASH, this.#hash);
    this.#linkChain(entry);
    this.#linkUse(entry);
    this.#shards[this.#shard * SHARD_WORDS + ENTRIES]++;
    if (replaced >= 0) this.remove(replaced);
    return true;
  }

  remove(entry: number): void {
    this.#unlinkChain(entry);
    this.#unlinkUse(entry);
    this.#blocks.release(this.#shard, entry);
    this.#shards[this.#shard * SHARD_WORDS + ENTRIES]--;
  }

  clear(): void {
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      if (this.#acquire(shard) === TIMED_OUT) continue;
      const end = this.#usedEnd();
      for (let block = shard * this.#blocks.count; block < end; block++) {
        Atomics.store(this.#words, block * BLOCK_WORDS + HASH, 0);
      }
      this.#rebuild();
      this.leave();
    }
  }

  /** For the supervisor. Returns the number of broken locks. */
  repairAfterDeath(slot: number, generation: number): number {
    const deadTag = ownerTag(slot, generation);
    let broken = 0;
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      if (!this.#lock.takeOver(shard * SHARD_WORDS + LOCK, deadTag)) continue;
      this.#shard = shard;
      this.#rebuild();
      this.leave();
      broken++;
    }
    return broken;
  }

  heldLocks(): number {
    let held = 0;
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      if (this.#lock.holder(shard * SHARD_WORDS + LOCK) !== 0) held++;
    }
    return held;
  }

  stats(): DictionaryStats {
    const stats = { capacityBytes: 0, freeBytes: 0, entries: 0, evictions: 0, lockTimeouts: 0 };
    for (let shard = 0; shard <= this.#shardMask; shard++) {
      const word = shard * SHARD_WORDS;
      stats.capacityBytes += this.#blocks.count * BLOCK_BYTES;
      stats.freeBytes += this.#blocks.available(shard) * BLOCK_BYTES;
      stats.entries += this.#shards[word + ENTRIES];
      stats.evictions += this.#shardCells[word / 2 + EVICTIONS];
      stats.lockTimeouts += Atomics.load(this.#shards, word + TIMEOUTS);
    }
    return stats;
  }

  #load(key: string): void {
    const bytes = Buffer.byteLength(key);
    if (bytes === 0 || bytes > MAX_KEY_BYTES) {
      throw new RangeError(`dictionary key: given ${bytes} bytes, expected 1 to ${MAX_KEY_BYTES}`);
    }
    this.#keyBytes = this.#key.write(key);
    let hash = this.#seed;
    for (let i = 0; i < bytes; i++) hash = Math.imul(hash ^ this.#key[i], 0x01_00_01_93);
    hash = Math.imul(hash ^ (hash >>> 15), 0x85_eb_ca_6b);
    this.#hash = hash ^ (hash >>> 13) || 1;
  }

  #acquire(shard: number): number {
    const outcome = this.#lock.acquire(shard * SHARD_WORDS + LOCK);
    if (outcome === TIMED_OUT) Atomics.add(this.#shards, shard * SHARD_WORDS + TIMEOUTS, 1);
    else this.#shard = shard;
    if (outcome === ABANDONED) this.#rebuild();
    return outcome;
  }

  #lookup(): number {
    const words = this.#words;
    let link = this.#heads[this.#bucket(this.#hash)];
    while (link !== 0) {
      const word = (link - 1) * BLOCK_WORDS;
      const isMatch = words[word + HASH] === this.#hash && words[word + KEY_BYTES] === this.#keyBytes;
      if (isMatch && this.#blocks.hasKey(link - 1, this.#key, this.#keyBytes)) return link - 1;
      link = words[word + LINK];
    }
    return -1;
  }

  /** Removes the least recently used entry and tells which; -1: the shard is empty. */
  #evict(replaced: number): number {
    const shard = this.#shard * SHARD_WORDS;
    const oldest = this.#shards[shard + OLDEST] - 1;
    if (oldest < 0) return -1;
    if (oldest !== replaced) this.#shardCells[shard / 2 + EVICTIONS]++;
    this.remove(oldest);
    return oldest;
  }

  #linkChain(entry: number): void {
    const bucket = this.#bucket(this.#words[entry * BLOCK_WORDS + HASH]);
    this.#words[entry * BLOCK_WORDS + LINK] = this.#heads[bucket];
    this.#heads[bucket] = entry + 1;
  }

  #unlinkChain(entry: number): void {
    const words = this.#words;
    const bucket = this.#bucket(words[entry * BLOCK_WORDS + HASH]);
    const next = words[entry * BLOCK_WORDS + LINK];
    if (this.#heads[bucket] === entry + 1) {
      this.#heads[bucket] = next;
      return;
    }
    let link = this.#heads[bucket];
    while (link !== 0 && words[(link - 1) * BLOCK_WORDS + LINK] !== entry + 1) {
      link = words[(link - 1) * BLOCK_WORDS + LINK];
    }
    if (link !== 0) words[(link - 1) * BLOCK_WORDS + LINK] = next;
  }

  #linkUse(entry: number): void {
    const shard = this.#shard * SHARD_WORDS;
    const newest = this.#shards[shard + NEWEST];
    this.#words[entry * BLOCK_WORDS + OLDER] = newest;
    this.#words[entry * BLOCK_WORDS + NEWER] = 0;
    if (newest === 0) this.#shards[shard + OLDEST] = entry + 1;
    else this.#words[(newest - 1) * BLOCK_WORDS + NEWER] = entry + 1;
    this.#shards[shard + NEWEST] = entry + 1;
  }

  #unlinkUse(entry: number): void {
    const shard = this.#shard * SHARD_WORDS;
    const older = this.#words[entry * BLOCK_WORDS + OLDER];
    const newer = this.#words[entry * BLOCK_WORDS + NEWER];
    if (older === 0) this.#shards[shard + OLDEST] = newer;
    else this.#words[(older - 1) * BLOCK_WORDS + NEWER] = newer;
    if (newer === 0) this.#shards[shard + NEWEST] = older;
    else this.#words[(newer - 1) * BLOCK_WORDS + OLDER] = older;
  }

  /** Makes the whole shard anew from its head blocks; every block that none of them needs is free. */
  #rebuild(): void {
    const words = this.#words;
    const first = this.#shard * this.#blocks.count;
    const end = this.#usedEnd();
    const shard = this.#shard * SHARD_WORDS;
    this.#heads.fill(0, this.#shard * this.#buckets, (this.#shard + 1) * this.#buckets);
    this.#shards.fill(0, shard + USED, shard + OLDEST + 1);
    this.#shards[shard + FREE] = 0;
    const entries: number[] = [];
    for (let block = first; block < end; block++) {
      if (words[block * BLOCK_WORDS + HASH] !== 0) entries.push(block);
    }
    const sequence = (entry: number): number => this.#cells[DictionaryBlocks.cell(entry, SEQUENCE)];
    entries.sort((a, b) => sequence(b) - sequence(a));
    const isUsed = new Uint8Array(this.#blocks.count);
    const kept: number[] = [];
    for (const entry of entries) {
      if (this.#hasNewerTwin(entry)) {
        words[entry * BLOCK_WORDS + HASH] = 0;
        continue;
      }
      kept.push(entry);
      this.#linkChain(entry);
      isUsed[entry - first] = 1;
      let link = words[entry * BLOCK_WORDS + REST];
      for (; link !== 0; link = words[(link - 1) * BLOCK_WORDS + LINK]) isUsed[link - 1 - first] = 1;
    }
    for (const entry of kept.reverse()) this.#linkUse(entry);
    this.#shards[shard + USED] = end - first;
    this.#shards[shard + ENTRIES] = kept.length;
    for (let block = end - 1; block >= first; block--)
      if (isUsed[block - first] === 0) this.#blocks.free(this.#shard, block);
  }

  /** Entries are linked from the newest on, so a twin that is found is newer. */
  #hasNewerTwin(entry: number): boolean {
    const words = this.#words;
    this.#hash = words[entry * BLOCK_WORDS + HASH];
    this.#keyBytes = words[entry * BLOCK_WORDS + KEY_BYTES];
    this.#blocks.copyOut(entry, 0, this.#key.subarray(0, this.#keyBytes));
    return this.#lookup() >= 0;
  }

  #usedEnd(): number {
    return this.#shard * this.#blocks.count + this.#shards[this.#shard * SHARD_WORDS + FRESH];
  }

  #bucket(hash: number): number {
    return this.#shard * this.#buckets + (hash & (this.#buckets - 1));
  }
}
