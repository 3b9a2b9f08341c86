/**
 * Connection and request figures of each thread: one lane per thread, written by it alone.
 *
 * Figures that say what is open now end with their worker: the supervisor clears them when it dies, so no
 * count leaks. Totals stay, and the replacement counts on. A single writer needs no atomic operation:
 * an aligned float64 store is one instruction, and a reader sees the old or the new number. Costs a few ns.
 */

import { laneCount, laneOf } from "./lanes.ts";

/** Open now; cleared on death. */
export const ACTIVE = 0;
export const READING = 1;
export const WRITING = 2;
export const WAITING = 3;
export const IN_FLIGHT = 4;
/** Totals; kept. */
export const ACCEPTED = 8;
export const HANDLED = 9;
export const REQUESTS = 10;
/** Requests refused because the worker was overloaded. */
export const SHED = 11;
/** Lines of the access log that the disk was too slow for. */
export const LOG_LINES_DROPPED = 12;
/** Refused writes to the Admin API that were one too many for the audit log. */
export const AUDIT_SUPPRESSED = 13;
/** Requests refused by the limits of their upstream. */
export const LIMITED = 14;

const FIRST_TOTAL = 8;
const LANE_CELLS = 16;

export class GaugeLanes {
  readonly #cells: Float64Array;
  readonly #own: number;
  readonly #lanes: number;

  static bytes(workers: number): number {
    return laneCount(workers) * LANE_CELLS * 8;
  }

  /** `slot`: whose lane `add` and `set` write. */
  constructor(shared: SharedArrayBuffer, slot: number) {
    this.#cells = new Float64Array(shared);
    this.#own = laneOf(slot) * LANE_CELLS;
    this.#lanes = this.#cells.length / LANE_CELLS;
  }

  /** `gauge`: one of the constants above. */
  add(gauge: number, by: number): void {
    this.#cells[this.#own + gauge] += by;
  }

  set(gauge: number, value: number): void {
    this.#cells[this.#own + gauge] = value;
  }

  of(slot: number, gauge: number): number {
    return this.#cells[laneOf(slot) * LANE_CELLS + gauge];
  }

  /** Over all threads. */
  total(gauge: number): number {
    let sum = 0;
    for (let lane = 0; lane < this.#lanes; lane++) sum += this.#cells[lane * LANE_CELLS + gauge];
    return sum;
  }

  /** What a dead thread no longer has open. */
  clear(slot: number): void {
    const at = laneOf(slot) * LANE_CELLS;
    this.#cells.fill(0, at, at + FIRST_TOTAL);
  }
}
