/**
 * The health of one node as one word, and what a result makes of it. Pure: the table does the exchanging.
 *
 * Four states. A result against the state is counted; so many in a row as its limit says turn the state, and
 * before that the state is called "mostly": a success forgets the failures, a failure the successes. Results
 * that agree with a full state are not counted, so that a healthy node under traffic costs no write. Active
 * and passive results count into the same word. This is the state machine of lua-resty-healthcheck, whose
 * counts the Control API shows.
 *
 * Bits: 0–23 either three counts of failures, eight bits each (HTTP, TCP, timeout), or the count of successes
 * (bit 24 says which); 25–26 the state; 27–31 the end of the slot's generation, so that an exchange fails
 * when the slot was given to another node meanwhile.
 */

export const HEALTHY = 0;
export const MOSTLY_HEALTHY = 1;
export const MOSTLY_UNHEALTHY = 2;
export const UNHEALTHY = 3;

export const STATE_NAMES = ["healthy", "mostly_healthy", "mostly_unhealthy", "unhealthy"] as const;

export const SUCCESS = 0;
export const HTTP_FAILURE = 1;
export const TCP_FAILURE = 2;
export const TIMEOUT = 3;
export type Result = typeof SUCCESS | typeof HTTP_FAILURE | typeof TCP_FAILURE | typeof TIMEOUT;

const COUNT_MASK = 0xff;
const COUNTS_MASK = 0xff_ff_ff;
const COUNTS_SUCCESSES = 1 << 24;
const STATE_SHIFT = 25;
const STATE_MASK = 3 << STATE_SHIFT;
const GENERATION_SHIFT = 27;
const GENERATION_MASK = -1 << GENERATION_SHIFT;

export function stateOf(word: number): number {
  return (word >>> STATE_SHIFT) & 3;
}

/** Whether it is of that generation, as far as the word tells. */
export function isOfGeneration(word: number, generation: number): boolean {
  return (word & GENERATION_MASK) === generation << GENERATION_SHIFT;
}

/** Healthy and mostly healthy nodes get requests. */
export function isUp(word: number): boolean {
  return stateOf(word) <= MOSTLY_HEALTHY;
}

/** How often `result` was counted since a result of the other sort. */
export function countOf(word: number, result: Result): number {
  const ofSuccesses = (word & COUNTS_SUCCESSES) !== 0;
  if (result === SUCCESS) return ofSuccesses ? word & COUNT_MASK : 0;
  return ofSuccesses ? 0 : (word >>> (8 * (result - 1))) & COUNT_MASK;
}

/** The word after one more result; the same word when there is nothing to count. `limit` 1..254; 0: not counted. */
export function afterResult(word: number, result: Result, limit: number): number {
  if (limit < 1) return word;
  const state = stateOf(word);
  const isSuccess = result === SUCCESS;
  if (state === (isSuccess ? HEALTHY : UNHEALTHY)) return word;
  const count = Math.min(countOf(word, result) + 1, COUNT_MASK);
  let next = state;
  if (count >= limit) next = isSuccess ? HEALTHY : UNHEALTHY;
  else if (state === HEALTHY) next = MOSTLY_HEALTHY;
  else if (state === UNHEALTHY) next = MOSTLY_UNHEALTHY;
  return (word & GENERATION_MASK) | (next << STATE_SHIFT) | countsAfter(word, result, count);
}

/** The same state and counts in a slot of that generation. 0 is a node that nothing is known of: healthy, no counts. */
export function movedTo(word: number, generation: number): number {
  return (word & ~GENERATION_MASK) | (generation << GENERATION_SHIFT);
}

/** State and counts without the generation: what is kept over a restart of the node. */
export function withoutGeneration(word: number): number {
  return word & (STATE_MASK | COUNTS_SUCCESSES | COUNTS_MASK);
}

function countsAfter(word: number, result: Result, count: number): number {
  if (result === SUCCESS) return COUNTS_SUCCESSES | count;
  const shift = 8 * (result - 1);
  const others = (word & COUNTS_SUCCESSES) !== 0 ? 0 : word & COUNTS_MASK & ~(COUNT_MASK << shift);
  return others | (count << shift);
}
