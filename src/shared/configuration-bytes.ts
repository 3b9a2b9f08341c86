/**
 * A batch of configuration as bytes in shared memory: encoded once by control, read by every worker.
 *
 * Layout (little endian, 32-bit words): magic, count, then per item six words (operation and kind, id
 * offset, id length, value offset, value length, checksum), then the texts in UTF-8. Workers keep a
 * reference into these bytes instead of a parsed object and parse again when an item is first used; the
 * bytes live as long as an item refers to them.
 */

/** What workers are told about. The order is the order in which a batch is applied. */
export const KINDS = [
  "address", // id: host name; value: { addresses, ... } as control resolved it
  "plugin_metadata",
  "consumer_group",
  "plugin_config",
  "consumer",
  "upstream",
  "service",
  "route",
  "global_rule",
  "ssl",
  "stream_route",
  "proto",
  "block",
  "drain", // for control alone: workers read the health table
  "ticket_key", // id: "1"; value: { key }, 48 bytes in base64, for TLS session tickets
] as const;

export type Kind = (typeof KINDS)[number];

export interface ConfigurationItem {
  kind: Kind;
  id: string;
  /** Validated and normalised JSON text; null deletes. */
  value: string | null;
}

const MAGIC = 0x43_41_52_44; // "CARD"
const HEADER_WORDS = 2;
const ITEM_WORDS = 6;
const DELETE_FLAG = 0x100;

/** Encodes a batch; items are ordered by kind, deletions of a kind last in reverse order of kinds. */
export function encodeConfiguration(items: readonly ConfigurationItem[]): SharedArrayBuffer {
  const steps = encodeInSteps(items, Infinity);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The same, stopping after every `stepItems` items, so that a large batch need not hold the event loop. */
export function* encodeInSteps(
  items: readonly ConfigurationItem[],
  stepItems: number,
): Generator<undefined, SharedArrayBuffer, void> {
  const ranks: ConfigurationItem[][] = [];
  let textBytes = 0;
  let untilPause = stepItems;
  for (const item of items) {
    (ranks[rank(item)] ??= []).push(item);
    textBytes += Buffer.byteLength(item.id) + (item.value === null ? 0 : Buffer.byteLength(item.value));
    if (--untilPause > 0) continue;
    untilPause = stepItems;
    yield;
  }
  const headBytes = (HEADER_WORDS + items.length * ITEM_WORDS) * 4;
  const shared = new SharedArrayBuffer(headBytes + textBytes);
  const words = new Uint32Array(shared, 0, headBytes / 4);
  const text = Buffer.from(shared);
  words[0] = MAGIC;
  words[1] = items.length;
  let word = HEADER_WORDS;
  let at = headBytes;
  for (const { kind, id, value } of ranks.flat()) {
    const idLength = text.write(id, at);
    const valueLength = value === null ? 0 : text.write(value, at + idLength);
    words[word] = KINDS.indexOf(kind) | (value === null ? DELETE_FLAG : 0);
    words[word + 1] = at;
    words[word + 2] = idLength;
    words[word + 3] = at + idLength;
    words[word + 4] = valueLength;
    words[word + 5] = checksum(text, at + idLength, valueLength);
    word += ITEM_WORDS;
    at += idLength + valueLength;
    if (--untilPause > 0) continue;
    untilPause = stepItems;
    yield;
  }
  return shared;
}

function rank(item: ConfigurationItem): number {
  const kind = KINDS.indexOf(item.kind);
  return item.value === null ? 2 * KINDS.length - kind : kind;
}

/** Text of one item, as bytes that all workers share. Small on purpose: a worker holds one per resource. */
export class ItemBytes {
  /** The whole batch: a view per item would cost 100 bytes each. */
  readonly #batch: Buffer;
  readonly #at: number;
  readonly length: number;
  readonly checksum: number;

  constructor(batch: Buffer, at: number, length: number, checksum: number) {
    this.#batch = batch;
    this.#at = at;
    this.length = length;
    this.checksum = checksum;
  }

  text(): string {
    return this.#batch.toString("utf8", this.#at, this.#at + this.length);
  }

  parse<T>(): T {
    return JSON.parse(this.text()) as T;
  }

  equals(other: ItemBytes): boolean {
    if (this.checksum !== other.checksum || this.length !== other.length) return false;
    return (
      this.#batch.compare(
        other.#batch,
        other.#at,
        other.#at + other.length,
        this.#at,
        this.#at + this.length,
      ) === 0
    );
  }
}

export interface DecodedItem {
  kind: Kind;
  id: string;
  /** Null: deleted. */
  bytes: ItemBytes | null;
}

/** Reads a batch item by item, so that the reader can stop after any and go on later. */
export class ConfigurationReader {
  readonly #text: Buffer;
  readonly #words: Uint32Array;
  readonly count: number;

  constructor(shared: SharedArrayBuffer) {
    const head = new Uint32Array(shared, 0, HEADER_WORDS);
    if (head[0] !== MAGIC) throw new Error("not a configuration batch");
    this.count = head[1]!;
    this.#words = new Uint32Array(shared, 0, HEADER_WORDS + this.count * ITEM_WORDS);
    this.#text = Buffer.from(shared);
  }

  item(index: number): DecodedItem {
    const word = HEADER_WORDS + index * ITEM_WORDS;
    const operation = this.#words[word];
    const idAt = this.#words[word + 1];
    const valueAt = this.#words[word + 3];
    return {
      kind: KINDS[operation & 0xff],
      id: this.#text.toString("utf8", idAt, idAt + this.#words[word + 2]),
      bytes:
        (operation & DELETE_FLAG) !== 0
          ? null
          : new ItemBytes(this.#text, valueAt, this.#words[word + 4], this.#words[word + 5]),
    };
  }
}

/** FNV-1a over the text: tells a changed item from an unchanged one before the bytes are compared. */
function checksum(bytes: Buffer, at: number, length: number): number {
  let hash = 0x81_1c_9d_c5;
  for (let i = at; i < at + length; i++) hash = Math.imul(hash ^ bytes[i], 0x01_00_01_93);
  return hash >>> 0;
}
