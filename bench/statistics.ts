/** Medians and percentiles, and the correction for what a waiting load generator did not send. */

/** Median of the values; NaN for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What a turn costs more than the two turns before and after it. */
export function addedBetween(before: number, turn: number, after: number): number {
  return turn - (before + after) / 2;
}

/** Mean of the middle half of the values; NaN for none. */
export function middleMean(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const cut = Math.floor(sorted.length / 4);
  const middle = sorted.slice(cut, sorted.length - cut);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}

/** Median of the distances from `centre`: half of the values lie no farther from it. */
export function medianDistance(values: readonly number[], centre: number): number {
  return median(values.map((value) => Math.abs(value - centre)));
}

/** The smallest value that `share` (0..1) of the ascending values do not exceed (nearest rank); NaN for none. */
export function percentile(ascending: ArrayLike<number>, share: number): number {
  if (ascending.length === 0) return Number.NaN;
  const rank = Math.ceil(share * ascending.length);
  return ascending[Math.min(Math.max(rank, 1), ascending.length) - 1];
}

/**
 * Latencies as they would have been seen by requests that were due every `intervalUs` on each connection.
 *
 * A connection that waits for a slow answer sends nothing meanwhile, so the slow moment is seen once where a
 * client of its own would have seen it at every due time ("coordinated omission"). The rule is that of
 * HdrHistogram: a latency L above the interval adds L - interval, L - 2 intervals, and so on. It counts
 * rather too many slow ones than too few. Returns ascending values.
 */
export function correctForOmission(latenciesUs: Iterable<number>, intervalUs: number): Float64Array {
  const all: number[] = [];
  for (const latency of latenciesUs) {
    all.push(latency);
    if (intervalUs <= 0) continue;
    for (let missed = latency - intervalUs; missed >= intervalUs; missed -= intervalUs) all.push(missed);
  }
  return Float64Array.from(all).sort();
}

/** Deterministic random numbers in 0..1 (mulberry32): every peer and every run gets the same requests. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d_2b_79_f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
