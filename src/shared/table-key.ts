/**
 * A key of the limit table in the form in which it is compared: packed into words, with its hash.
 *
 * Each character is one byte (Latin-1), up to `MAX_KEY_CHARS`. A key that is longer, or has other
 * characters, becomes its first `READABLE_CHARS` characters and a SHA-256 digest of the whole, and is
 * marked, so that no key that someone sends can equal the shortened form of another.
 *
 * One instance per thread, filled again for every operation, so that no key is allocated. About 1 ns per
 * character.
 */

import { hash } from "node:crypto";

const MAX_KEY_CHARS = 96;
export const KEY_WORDS = MAX_KEY_CHARS / 4;

/** What a prefix can still be recognised by in a shortened key. */
export const READABLE_CHARS = 40;

/** In `length`, above the number of characters. */
export const SHORTENED = 0x100;
export const CHARS_MASK = 0xff;

export class TableKey {
  readonly words = new Int32Array(KEY_WORDS);
  /** Number of characters, with `SHORTENED` if it is not the key as given. */
  length = 0;
  /** Of 32 bits, never 0. */
  hash = 1;
  readonly #seed: number;

  /** The same seed in all threads; random per node, so that nobody can choose keys for one shard. */
  constructor(seed: number) {
    this.#seed = seed | 0;
  }

  load(key: string): void {
    if (key.length > MAX_KEY_CHARS || !this.#pack(key)) {
      this.#pack(shorten(key));
      this.length |= SHORTENED;
    }
  }

  /** False when a character does not fit into a byte. */
  #pack(key: string): boolean {
    const words = this.words;
    const length = key.length;
    const whole = length & ~3;
    let mixed = this.#seed ^ length;
    let seen = 0;
    let word = 0;
    let i = 0;
    for (; i < whole; i += 4) {
      const a = key.charCodeAt(i);
      const b = key.charCodeAt(i + 1);
      const c = key.charCodeAt(i + 2);
      const d = key.charCodeAt(i + 3);
      seen |= a | b | c | d;
      const packed = a | (b << 8) | (c << 16) | (d << 24);
      words[word++] = packed;
      mixed = mix(mixed, packed);
    }
    if (i < length) {
      let packed = 0;
      for (let shift = 0; i < length; i++, shift += 8) {
        const char = key.charCodeAt(i);
        seen |= char;
        packed |= char << shift;
      }
      words[word] = packed;
      mixed = mix(mixed, packed);
    }
    this.length = length;
    this.hash = finish(mixed);
    return seen <= 0xff;
  }
}

function shorten(key: string): string {
  const readable = key.slice(0, READABLE_CHARS).replaceAll(/[^\u0000-\u00ff]/g, "?");
  return `${readable}\n${hash("sha256", key, "base64url")}`;
}

/** One step of MurmurHash3 (Appleby, public domain), which mixes four bytes at a time. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc_9e_2d_51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b_87_35_93);
  const h = hash ^ k;
  return Math.imul((h << 13) | (h >>> 19), 5) + 0xe6_54_6b_64;
}

/** Spreads every bit over the word: shards are chosen by the upper bits, buckets by the lower ones. */
function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85_eb_ca_6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2_b2_ae_35);
  h ^= h >>> 16;
  return h | 0 || 1;
}
