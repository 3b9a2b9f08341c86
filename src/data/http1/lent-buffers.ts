/**
 * Buffers for bytes on their way to a socket, used again and again.
 *
 * V8 counts what buffers hold outside of its heap, and collects the whole heap for every 64 MB of it: 20 answers of a megabyte per
 * second each cost the worker a pause of 5 to 20 ms several times a second, however small its heap was, and every request waited.
 *
 * Not cleared: whoever borrows one writes before it reads. Who does not give one back loses nothing but the saving.
 */

const SMALLEST_BITS = 12;
export const LARGEST_LENT_BYTES = 64 * 1024;
/** Of each size. */
const MAX_FREE_BYTES = 1024 * 1024;

/** By size, from the smallest, each twice as large as the one before. */
const free: Buffer[][] = [[], [], [], [], []];

/** A buffer of at least `bytes`, which are at most `LARGEST_LENT_BYTES`. */
export function borrow(bytes: number): Buffer {
  const size = bytes <= 1 << SMALLEST_BITS ? 0 : 32 - SMALLEST_BITS - Math.clz32(bytes - 1);
  return free[size].pop() ?? Buffer.allocUnsafeSlow(1 << (size + SMALLEST_BITS));
}

/** Nobody holds it, or a view of it, any more. */
export function giveBack(buffer: Buffer): void {
  const same = free[31 - SMALLEST_BITS - Math.clz32(buffer.length)];
  if (same.length * buffer.length < MAX_FREE_BYTES) same.push(buffer);
}
