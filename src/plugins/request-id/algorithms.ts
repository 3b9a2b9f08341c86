/** The kinds of request ids: each function makes one, unique by chance of at least 96 bits (`range_id`: as set). */

import { randomBytes, randomText } from "./random-pool.ts";

const NANOID_ALPHABET = "-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const NANOID_LENGTH = 21;

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KSUID_LENGTH = 27;
/** Seconds since 1970 at which the time of KSUIDs begins. */
const KSUID_EPOCH = 1_400_000_000;

/** Ids of one millisecond that stay in order; beyond it the next millisecond is borrowed. */
const SEQUENCE_LIMIT = 0x1000;

/** Version 4 (RFC 9562 5.4). */
export function uuid(): string {
  return crypto.randomUUID();
}

export function nanoid(): string {
  return randomText(NANOID_LENGTH, NANOID_ALPHABET);
}

let lastMs = 0;
let sequence = 0;

/**
 * Version 7 (RFC 9562 5.7): 48 bits of milliseconds, 12 bits of sequence (6.2, method 1), 62 random bits. Each is
 * greater than the one before of this worker, also when the clock goes back.
 */
export function uuidv7(nowMs: number): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    sequence = 0;
  } else if (++sequence === SEQUENCE_LIMIT) {
    lastMs++;
    sequence = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  const count = sequence.toString(16).padStart(3, "0");
  const random = randomBytes(8);
  random[0] = (random[0] & 0x3f) | 0x80;
  const tail = random.toString("hex");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}

const ksuidWords = new Uint32Array(5);

/** 32 bits of seconds, 128 random bits, in base 62: sorts by time (github.com/segmentio/ksuid). */
export function ksuid(nowMs: number): string {
  const words = ksuidWords;
  const random = randomBytes(16);
  words[0] = Math.floor(nowMs / 1000) - KSUID_EPOCH;
  for (let i = 0; i < 4; i++) words[i + 1] = random.readUInt32BE(i * 4);
  let text = "";
  for (let digit = 0; digit < KSUID_LENGTH; digit++) {
    let rest = 0;
    for (let i = 0; i < words.length; i++) {
      const value = rest * 0x1_0000_0000 + words[i];
      words[i] = Math.floor(value / 62);
      rest = value % 62;
    }
    text = BASE62[rest] + text;
  }
  return text;
}

export function rangeId(length: number, alphabet: string): string {
  return randomText(length, alphabet);
}
