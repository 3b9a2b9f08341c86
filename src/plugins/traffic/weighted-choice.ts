/**
 * Chooses among entries by their weights, exactly and over all workers of the node.
 *
 * Requests draw tickets from a counter in shared memory; a ticket says which entry. Small weights give a cycle, laid
 * out by smooth weighted round-robin (Nginx's: entries are mixed, not in blocks), in which each entry stands exactly as
 * often as its weight says. Where the cycle would be long, the fractional parts of multiples of the golden ratio take its
 * place: after n tickets no share is off by more than some log(n) requests.
 *
 * The counter may be forgotten when memory is short: then the cycle begins anew. When it cannot be had, this worker
 * counts by itself.
 */

import type { PluginHost } from "../../plugin/index.ts";

/** Entries of the longest cycle that is laid out. */
const MAX_CYCLE = 10_000;
/** 2^32 divided by the golden ratio: multiples of it, modulo 2^32, fill the range evenly. */
const GOLDEN_STEP = 2_654_435_769;
const RANGE = 2 ** 32;

/** No entry has a weight. */
export const NO_CHOICE = -1;

export class WeightedChoice {
  readonly #dictionary: PluginHost["dictionary"];
  readonly #name: string;
  /** Where each entry ends in the range 0 to 2^32. */
  readonly #ends: readonly number[];
  readonly #total: number;
  /** Entries in turn; null: the cycle is too long, or there is only one entry to choose. */
  readonly #cycle: Uint8Array | null;
  readonly #only: number;
  #localTicket = 0;

  /** `name` must differ between choices of different content; at most 256 entries. */
  constructor(weights: readonly number[], name: string, dictionary: PluginHost["dictionary"]) {
    this.#dictionary = dictionary;
    this.#name = name;
    this.#total = weights.reduce((sum, weight) => sum + weight, 0);
    let end = 0;
    this.#ends = weights.map((weight) => (end += weight) * (RANGE / (this.#total || 1)));
    const weighted = weights.filter((weight) => weight > 0).length;
    this.#only = weighted <= 1 ? weights.findIndex((weight) => weight > 0) : NO_CHOICE;
    this.#cycle = weighted <= 1 ? null : layOut(weights, this.#total);
  }

  /** Index of the next entry in the order of `owner`, whose requests are shared out by themselves. */
  next(owner: string): number {
    if (this.#total === 0) return NO_CHOICE;
    if (this.#only !== NO_CHOICE) return this.#only;
    const ticket = this.ticket(owner);
    return this.#cycle === null ? this.at(positionOf(ticket)) : this.#cycle[ticket % this.#cycle.length];
  }

  /** The next number, from 0. */
  ticket(owner: string): number {
    const ticket = this.#dictionary.increment(owner + this.#name, 1, -1);
    return ticket ?? this.#localTicket++;
  }

  /** The entry at a position from 0 to 2^32; a little more weight moves few positions. */
  at(position: number): number {
    const ends = this.#ends;
    for (let i = 0; i < ends.length; i++) if (position < ends[i]) return i;
    return NO_CHOICE;
  }
}

/** Spreads tickets over the range 0 to 2^32. */
export function positionOf(ticket: number): number {
  return Math.imul(ticket, GOLDEN_STEP) >>> 0;
}

function layOut(weights: readonly number[], total: number): Uint8Array | null {
  const divisor = weights.reduce(greatestDivisor, 0);
  const length = total / divisor;
  if (length > MAX_CYCLE) return null;
  const cycle = new Uint8Array(length);
  const current = weights.map(() => 0);
  for (let turn = 0; turn < length; turn++) {
    let best = 0;
    for (let i = 0; i < weights.length; i++) {
      current[i] += weights[i];
      if (current[i] > current[best]) best = i;
    }
    current[best] -= total;
    cycle[turn] = best;
  }
  return cycle;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
