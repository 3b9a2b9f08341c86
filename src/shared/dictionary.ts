/**
 * Key-value memory that all workers of a node share, for plugins: cached tokens, flags, small queues.
 *
 * Keys are text of 1 to 256 bytes. Values are strings, numbers, buffers, or lists of these, up to
 * `maxValueBytes` (a quarter of a shard, at most 1 MiB). When room is short, the entry that was least
 * recently used goes, in the shard where room is needed; whatever must not be forgotten does not belong
 * here (limits have a table of their own). Each operation is atomic; what is read is a copy.
 *
 * Times to live are milliseconds; none means until evicted. Operations that change something answer false
 * (or undefined) when the value is too large or the memory could not be had in time.
 *
 * Measured on Node 24: get of a short string 0.35 µs, set 0.5 µs, increment 0.15 µs.
 */

import type { DictionaryStats, DictionaryTable } from "./dictionary-table.ts";

export type DictionaryValue = string | number | Buffer;

const NUMBER = 1;
const STRING = 2;
const BYTES = 3;
const LIST = 4;

/** An element of a list: its type (1 byte), its length (4 bytes), its bytes. Numbers take 8. */
const ELEMENT_HEAD_BYTES = 5;
const NOTHING = Buffer.alloc(0);

export class Dictionary {
  readonly #table: DictionaryTable;
  readonly #now: () => number;

  /** `now`: wall clock milliseconds; virtual in tests. */
  constructor(table: DictionaryTable, now: () => number = Date.now) {
    this.#table = table;
    this.#now = now;
  }

  get maxValueBytes(): number {
    return this.#table.maxValueBytes;
  }

  /** Undefined: no such key, or a list. */
  get(key: string): DictionaryValue | undefined {
    const table = this.#table;
    if (!table.enter(key)) return undefined;
    try {
      const entry = table.find(this.#now());
      if (entry < 0) return undefined;
      const type = table.typeOf(entry);
      if (type === NUMBER) return table.number(entry);
      if (type === STRING) return table.read(entry).toString("utf8");
      return type === BYTES ? table.read(entry) : undefined;
    } finally {
      table.leave();
    }
  }

  /** Adds or replaces. */
  set(key: string, value: DictionaryValue, ttlMs: number = Infinity): boolean {
    return this.#store(key, value, ttlMs, true);
  }

  /** Only when there is no such key. */
  add(key: string, value: DictionaryValue, ttlMs: number = Infinity): boolean {
    return this.#store(key, value, ttlMs, false);
  }

  /** Whether there was one. */
  delete(key: string): boolean {
    const table = this.#table;
    if (!table.enter(key)) return false;
    try {
      const entry = table.find(this.#now());
      if (entry >= 0) table.remove(entry);
      return entry >= 0;
    } finally {
      table.leave();
    }
  }

  /**
   * Adds to a number and answers the new one. A missing key starts at `initial` with the time to live, or
   * stays missing (undefined) without it; so does the answer for a key that holds no number.
   */
  increment(key: string, delta: number, initial?: number, ttlMs: number = Infinity): number | undefined {
    const table = this.#table;
    const now = this.#now();
    if (!table.enter(key)) return undefined;
    try {
      const entry = table.find(now);
      if (entry >= 0) {
        if (table.typeOf(entry) !== NUMBER) return undefined;
        const value = table.number(entry) + delta;
        table.setNumber(entry, value);
        return value;
      }
      if (initial === undefined) return undefined;
      const value = initial + delta;
      return table.write(-1, NUMBER, value, NOTHING, now + ttlMs) ? value : undefined;
    } finally {
      table.leave();
    }
  }

  /** Milliseconds that the key still has; Infinity without a time to live; undefined: no such key. */
  timeToLive(key: string): number | undefined {
    const table = this.#table;
    const now = this.#now();
    if (!table.enter(key)) return undefined;
    try {
      const entry = table.find(now);
      return entry < 0 ? undefined : table.expiry(entry) - now;
    } finally {
      table.leave();
    }
  }

  /** False: no such key. */
  expire(key: string, ttlMs: number): boolean {
    const table = this.#table;
    const now = this.#now();
    if (!table.enter(key)) return false;
    try {
      const entry = table.find(now);
      if (entry >= 0) table.setExpiry(entry, now + ttlMs);
      return entry >= 0;
    } finally {
      table.leave();
    }
  }

  /**
   * Adds at the front of a list, which is made if there is none. Answers the new length; undefined when
   * the list would be too large or the key holds something else. A list is written anew by every push and
   * pop: lists are for short queues.
   */
  lpush(key: string, value: DictionaryValue): number | undefined {
    return this.#push(key, value, true);
  }

  /** Adds at the end. */
  rpush(key: string, value: DictionaryValue): number | undefined {
    return this.#push(key, value, false);
  }

  /** Takes the first element; undefined: there is no such list. */
  lpop(key: string): DictionaryValue | undefined {
    return this.#pop(key, true);
  }

  /** Takes the last element. */
  rpop(key: string): DictionaryValue | undefined {
    return this.#pop(key, false);
  }

  /** Length of the list; 0: there is none. */
  llen(key: string): number {
    const table = this.#table;
    if (!table.enter(key)) return 0;
    try {
      const entry = table.find(this.#now());
      return entry < 0 || table.typeOf(entry) !== LIST ? 0 : table.number(entry);
    } finally {
      table.leave();
    }
  }

  clear(): void {
    this.#table.clear();
  }

  stats(): DictionaryStats {
    return this.#table.stats();
  }

  #store(key: string, value: DictionaryValue, ttlMs: number, replaces: boolean): boolean {
    const table = this.#table;
    const now = this.#now();
    const isNumber = typeof value === "number";
    const bytes = isNumber ? NOTHING : typeof value === "string" ? Buffer.from(value) : value;
    const type = isNumber ? NUMBER : typeof value === "string" ? STRING : BYTES;
    if (!table.enter(key)) return false;
    try {
      const old = table.find(now);
      if (old >= 0 && !replaces) return false;
      return table.write(old, type, isNumber ? value : 0, bytes, now + ttlMs);
    } finally {
      table.leave();
    }
  }

  #push(key: string, value: DictionaryValue, isFront: boolean): number | undefined {
    const table = this.#table;
    const element = encodeElement(value);
    if (!table.enter(key)) return undefined;
    try {
      const old = table.find(this.#now());
      if (old < 0) return table.write(-1, LIST, 1, element, Infinity) ? 1 : undefined;
      if (table.typeOf(old) !== LIST) return undefined;
      const length = table.number(old) + 1;
      const before = table.read(old);
      const list = Buffer.concat(isFront ? [element, before] : [before, element]);
      return table.write(old, LIST, length, list, table.expiry(old)) ? length : undefined;
    } finally {
      table.leave();
    }
  }

  #pop(key: string, isFront: boolean): DictionaryValue | undefined {
    const table = this.#table;
    if (!table.enter(key)) return undefined;
    try {
      const old = table.find(this.#now());
      if (old < 0 || table.typeOf(old) !== LIST) return undefined;
      const list = table.read(old);
      const length = table.number(old);
      let start = 0;
      if (!isFront) for (let i = 1; i < length; i++) start = elementEnd(list, start);
      const end = elementEnd(list, start);
      if (length === 1) table.remove(old);
      else
        table.write(
          old,
          LIST,
          length - 1,
          isFront ? list.subarray(end) : list.subarray(0, start),
          table.expiry(old),
        );
      return decodeElement(list, start, end);
    } finally {
      table.leave();
    }
  }
}

function encodeElement(value: DictionaryValue): Buffer {
  if (typeof value === "number") {
    const element = Buffer.alloc(ELEMENT_HEAD_BYTES + 8);
    element[0] = NUMBER;
    element.writeUInt32LE(8, 1);
    element.writeDoubleLE(value, ELEMENT_HEAD_BYTES);
    return element;
  }
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  const head = Buffer.alloc(ELEMENT_HEAD_BYTES);
  head[0] = typeof value === "string" ? STRING : BYTES;
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function elementEnd(list: Buffer, start: number): number {
  return start + ELEMENT_HEAD_BYTES + list.readUInt32LE(start + 1);
}

function decodeElement(list: Buffer, start: number, end: number): DictionaryValue {
  const from = start + ELEMENT_HEAD_BYTES;
  if (list[start] === NUMBER) return list.readDoubleLE(from);
  const bytes = list.subarray(from, end);
  return list[start] === STRING ? bytes.toString("utf8") : bytes;
}
