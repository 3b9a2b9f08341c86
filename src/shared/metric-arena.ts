/**
 * The bytes of one metric lane: what a worker writes and the metrics page reads.
 *
 * A lane is a row of records, each a family (its definition as JSON) or a series (its values, then its
 * labels in the form in which the page shows them). The only writer is the thread of the lane. It writes
 * a record before it moves `used` past it, so whatever a reader finds below `used` is complete, and a
 * worker that dies while it adds a record leaves nothing. The lane outlives the worker: a replacement
 * finds its records and counts on.
 *
 * Values are float64 on 8-byte boundaries and are written without atomic operations (there are none for
 * floats). One writer needs none: on the 64-bit platforms that Node 24 runs on such a store is one
 * instruction, so a reader sees the old value or the new one.
 */

/** Header words. */
const USED = 0;
const CHANGES = 1;
const SERIES = 2;
/** Header cells (float64): lookups that ended in an overflow series, and mistakes. */
const OVERFLOWED = 4;
const ERRORS = 5;
const HEADER_BYTES = 128;

/** Values of series that found no room at all go here and are never shown. */
export const VOID_INDEX = HEADER_BYTES / 8;
const VOID_CELLS = 64;
/** A histogram needs one more for +Inf and one for the sum. */
export const MAX_BUCKETS = VOID_CELLS - 2;
const FIRST_RECORD = HEADER_BYTES + VOID_CELLS * 8;

/** Record words. */
const SIZE = 0;
const STATE = 1;
const FAMILY = 2;
const TEXT_BYTES = 3;
const HASH_LOW = 4;
const HASH_HIGH = 5;
const VALUES = 6;
const IS_GAUGE = 7;
const RECORD_HEAD_BYTES = 32;
/** Sizes are rounded up to this, so that the room of a freed series fits another one. */
const SIZE_STEP_BYTES = 64;

export const FREE = 0;
export const LIVE = 1;
export const OVERFLOW = 2;
export const FAMILY_RECORD = 3;

export const MAX_TEXT_BYTES = 8192;
const MIN_LANE_BYTES = 16_384;
/** Offsets are 32-bit words. */
const MAX_LANE_BYTES = 2 ** 31 - 64;

export class MetricArena {
  readonly words: Int32Array;
  readonly cells: Float64Array;
  readonly bytes: Buffer;

  static create(bytes: number): SharedArrayBuffer {
    if (!Number.isInteger(bytes) || bytes < MIN_LANE_BYTES || bytes > MAX_LANE_BYTES) {
      throw new RangeError(
        `metric bytes per worker: given ${bytes}, expected an integer from ${MIN_LANE_BYTES} to ${MAX_LANE_BYTES}`,
      );
    }
    const shared = new SharedArrayBuffer(bytes - (bytes % SIZE_STEP_BYTES));
    new Int32Array(shared)[USED] = FIRST_RECORD;
    return shared;
  }

  constructor(shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared);
    this.cells = new Float64Array(shared);
    this.bytes = Buffer.from(shared);
  }

  get capacityBytes(): number {
    return this.bytes.length;
  }

  /** Records lie below this byte. */
  get usedBytes(): number {
    return Atomics.load(this.words, USED);
  }

  /** Advances when a record is freed or its room used again; what a reader remembers is stale then. */
  get changes(): number {
    return Atomics.load(this.words, CHANGES);
  }

  get series(): number {
    return this.words[SERIES];
  }

  get overflowed(): number {
    return this.cells[OVERFLOWED];
  }

  get errors(): number {
    return this.cells[ERRORS];
  }

  countOverflow(): void {
    this.cells[OVERFLOWED]++;
  }

  countError(): void {
    this.cells[ERRORS]++;
  }

  /** Byte offsets of records: `for (let at = firstRecord(); at < usedBytes; at = after(at))`. */
  firstRecord(): number {
    return FIRST_RECORD;
  }

  after(at: number): number {
    return at + this.words[at / 4 + SIZE];
  }

  state(at: number): number {
    return Atomics.load(this.words, at / 4 + STATE);
  }

  sizeOf(at: number): number {
    return this.words[at / 4 + SIZE];
  }

  /** Offset of the family's record. */
  familyOf(at: number): number {
    return this.words[at / 4 + FAMILY];
  }

  /** Where the values of a record begin, as an index into `cells`. */
  indexOf(at: number): number {
    return (at + RECORD_HEAD_BYTES) / 8;
  }

  /** The reverse of `indexOf`. */
  recordOf(index: number): number {
    return index * 8 - RECORD_HEAD_BYTES;
  }

  textStart(at: number): number {
    return at + RECORD_HEAD_BYTES + this.words[at / 4 + VALUES] * 8;
  }

  textEnd(at: number): number {
    return this.textStart(at) + this.words[at / 4 + TEXT_BYTES];
  }

  text(at: number): string {
    return this.bytes.toString("utf8", this.textStart(at), this.textEnd(at));
  }

  /** Of the text, 32 bits of which the low ones are well mixed. Equal texts have equal ones, not the reverse. */
  textHash(at: number): number {
    const hash = this.words[at / 4 + HASH_LOW] ^ this.words[at / 4 + HASH_HIGH];
    const mixed = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
    return mixed ^ (mixed >>> 13);
  }

  static sizeFor(values: number, textBytes: number): number {
    const bytes = RECORD_HEAD_BYTES + values * 8 + textBytes;
    return Math.ceil(bytes / SIZE_STEP_BYTES) * SIZE_STEP_BYTES;
  }

  /** Adds a record at the end; -1: there is no room. */
  append(state: number, family: number, values: number, isGauge: boolean, text: string): number {
    const at = this.words[USED];
    const size = MetricArena.sizeFor(values, Buffer.byteLength(text));
    if (at + size > this.bytes.length) return -1;
    this.words[at / 4 + SIZE] = size;
    this.#fill(at, state, family, values, isGauge, text);
    Atomics.store(this.words, USED, at + size);
    return at;
  }

  /** Uses the room of a freed record of the same size. */
  reuse(at: number, family: number, values: number, isGauge: boolean, text: string): void {
    this.#fill(at, LIVE, family, values, isGauge, text);
    Atomics.add(this.words, CHANGES, 1);
  }

  free(at: number): void {
    if (this.state(at) !== FAMILY_RECORD) this.words[SERIES]--;
    Atomics.store(this.words, at / 4 + STATE, FREE);
    Atomics.add(this.words, CHANGES, 1);
  }

  /** What a dead worker measured is no longer so. Counters and histograms stay. */
  clearGauges(): void {
    const used = this.usedBytes;
    for (let at = FIRST_RECORD; at < used; at = this.after(at)) {
      if (this.words[at / 4 + IS_GAUGE] === 1) this.cells[this.indexOf(at)] = 0;
    }
  }

  /** Counts the series again: a death may have come between a record and the count. */
  recount(): void {
    const used = this.usedBytes;
    let series = 0;
    for (let at = FIRST_RECORD; at < used; at = this.after(at)) {
      const state = this.state(at);
      if (state === LIVE || state === OVERFLOW) series++;
    }
    this.words[SERIES] = series;
  }

  #fill(at: number, state: number, family: number, values: number, isGauge: boolean, text: string): void {
    const word = at / 4;
    this.words[word + FAMILY] = family;
    this.words[word + VALUES] = values;
    this.words[word + IS_GAUGE] = isGauge ? 1 : 0;
    this.cells.fill(0, this.indexOf(at), this.indexOf(at) + values);
    const start = this.textStart(at);
    const length = this.bytes.write(text, start);
    this.words[word + TEXT_BYTES] = length;
    this.#hash(word, start, length);
    Atomics.store(this.words, word + STATE, state);
    if (state !== FAMILY_RECORD) this.words[SERIES]++;
  }

  /** FNV-1a (Fowler, Noll, Vo) twice with different starts: to find equal labels of other lanes by. */
  #hash(word: number, start: number, length: number): void {
    let low = 0x81_1c_9d_c5;
    let high = 0x9e_37_79_b9;
    for (let i = start; i < start + length; i++) {
      const byte = this.bytes[i];
      low = Math.imul(low ^ byte, 0x01_00_01_93);
      high = Math.imul(high ^ byte, 0x85_eb_ca_6b) ^ (high >>> 15);
    }
    this.words[word + HASH_LOW] = low;
    this.words[word + HASH_HIGH] = high;
  }
}
