/**
 * The blocks that the dictionary's entries are made of: their layout, the free list of each shard, and the
 * data that runs over the blocks of an entry.
 *
 * A head block holds what is known of an entry and the first bytes of its data (the key, then the value);
 * further blocks hold the rest. The hash word of a block that is not the head of an entry is 0, at all
 * times. The caller holds the lock of the shard.
 */

export const BLOCK_BYTES = 128;
export const BLOCK_WORDS = BLOCK_BYTES / 4;
const BLOCK_CELLS = BLOCK_BYTES / 8;

/** Words of a head block. */
export const HASH = 0;
/** In a chain of entries, of further blocks, or of free ones: the next. Links are block + 1; 0 ends. */
export const LINK = 1;
export const OLDER = 2;
export const NEWER = 3;
export const KEY_BYTES = 4;
export const VALUE_BYTES = 5;
export const TYPE = 6;
/** The first further block. */
export const REST = 7;
/** Its float64. */
export const EXPIRY = 4;
export const SEQUENCE = 5;
export const NUMBER = 6;
const HEAD_DATA_AT = 56;
const HEAD_DATA_BYTES = BLOCK_BYTES - HEAD_DATA_AT;
const REST_DATA_AT = 8;
const REST_DATA_BYTES = BLOCK_BYTES - REST_DATA_AT;

/** Words of a shard that belong to its blocks. Blocks from `FRESH` on were never used. */
export const FREE = 1;
export const FRESH = 2;
export const USED = 3;
export const SHARD_WORDS = 16;

export class DictionaryBlocks {
  readonly words: Int32Array;
  readonly cells: Float64Array;
  /** Per shard. */
  readonly count: number;
  readonly #bytes: Buffer;
  readonly #shards: Int32Array;

  constructor(shared: SharedArrayBuffer, startByte: number, count: number, shards: Int32Array) {
    this.words = new Int32Array(shared, startByte);
    this.cells = new Float64Array(shared, startByte);
    this.#bytes = Buffer.from(shared, startByte);
    this.count = count;
    this.#shards = shards;
  }

  /** Index of a float64 of a head block in `cells`. */
  static cell(entry: number, field: number): number {
    return entry * BLOCK_CELLS + field;
  }

  /** Blocks that so much data needs. */
  static needed(dataBytes: number): number {
    return 1 + Math.max(0, Math.ceil((dataBytes - HEAD_DATA_BYTES) / REST_DATA_BYTES));
  }

  available(shard: number): number {
    return this.count - this.#shards[shard * SHARD_WORDS + USED];
  }

  /** A head block with further ones behind it, `blocks` together; so many must be available. */
  allocate(shard: number, blocks: number): number {
    const head = this.#take(shard);
    let last = head * BLOCK_WORDS + REST;
    for (let i = 1; i < blocks; i++) {
      const block = this.#take(shard);
      this.words[last] = block + 1;
      last = block * BLOCK_WORDS + LINK;
    }
    this.words[last] = 0;
    return head;
  }

  /** An entry's head is no entry any more, and its blocks are free. */
  release(shard: number, entry: number): void {
    let link = this.words[entry * BLOCK_WORDS + REST];
    Atomics.store(this.words, entry * BLOCK_WORDS + HASH, 0);
    this.free(shard, entry);
    while (link !== 0) {
      const next = this.words[(link - 1) * BLOCK_WORDS + LINK];
      this.free(shard, link - 1);
      link = next;
    }
  }

  free(shard: number, block: number): void {
    const word = shard * SHARD_WORDS;
    this.words[block * BLOCK_WORDS + LINK] = this.#shards[word + FREE];
    this.#shards[word + FREE] = block + 1;
    this.#shards[word + USED]--;
  }

  copyIn(entry: number, from: number, source: Buffer, length: number): void {
    this.#run(entry, from, source, length, true);
  }

  copyOut(entry: number, from: number, target: Buffer): void {
    this.#run(entry, from, target, target.length, false);
  }

  hasKey(entry: number, key: Buffer, length: number): boolean {
    const bytes = this.#bytes;
    let start = entry * BLOCK_BYTES + HEAD_DATA_AT;
    let room = HEAD_DATA_BYTES;
    let link = this.words[entry * BLOCK_WORDS + REST];
    for (let done = 0; ;) {
      const count = Math.min(room, length - done);
      for (let i = 0; i < count; i++) if (bytes[start + i] !== key[done + i]) return false;
      done += count;
      if (done === length) return true;
      start = (link - 1) * BLOCK_BYTES + REST_DATA_AT;
      room = REST_DATA_BYTES;
      link = this.words[(link - 1) * BLOCK_WORDS + LINK];
    }
  }

  #take(shard: number): number {
    const word = shard * SHARD_WORDS;
    const free = this.#shards[word + FREE];
    this.#shards[word + USED]++;
    if (free === 0) {
      const fresh = this.#shards[word + FRESH];
      this.#shards[word + FRESH] = fresh + 1;
      return shard * this.count + fresh;
    }
    this.#shards[word + FREE] = this.words[(free - 1) * BLOCK_WORDS + LINK];
    return free - 1;
  }

  /** Copies between `outside` and an entry's data from byte `from`, block by block. */
  #run(entry: number, from: number, outside: Buffer, length: number, isInward: boolean): void {
    let done = 0;
    let at = from;
    let start = entry * BLOCK_BYTES + HEAD_DATA_AT;
    let room = HEAD_DATA_BYTES;
    let link = this.words[entry * BLOCK_WORDS + REST];
    while (done < length) {
      if (at < room) {
        const count = Math.min(room - at, length - done);
        if (isInward) outside.copy(this.#bytes, start + at, done, done + count);
        else this.#bytes.copy(outside, done, start + at, start + at + count);
        done += count;
        at += count;
      } else {
        at -= room;
        start = (link - 1) * BLOCK_BYTES + REST_DATA_AT;
        room = REST_DATA_BYTES;
        link = this.words[(link - 1) * BLOCK_WORDS + LINK];
      }
    }
  }
}
