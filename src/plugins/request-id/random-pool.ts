/** Random bytes by the handful: one call of the system's generator serves hundreds of requests. */

import { randomFillSync } from "node:crypto";

const POOL_BYTES = 4096;

const pool = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/** A view of `length` fresh random bytes, up to 4096; valid until the next call. */
export function randomBytes(length: number): Buffer {
  if (used + length > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  used += length;
  return pool.subarray(used - length, used);
}

/** Text of `length` characters out of `alphabet` (2 to 65,536 of them), each as likely as any other. */
export function randomText(length: number, alphabet: string): string {
  const size = alphabet.length;
  // Numbers beyond the last whole multiple would favour the first characters.
  const limit = 65_536 - (65_536 % size);
  let text = "";
  while (text.length < length) {
    const number = randomBytes(2).readUInt16LE();
    if (number < limit) text += alphabet[number % size];
  }
  return text;
}
