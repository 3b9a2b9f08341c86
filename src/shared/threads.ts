/**
 * What the threads of a node tell about themselves: heartbeat, generation, state, applied revision, load.
 *
 * One row per lane, written by its thread (state and generation by the supervisor), read by all. Numbers
 * are float64, since revisions outgrow 32 bits: an aligned 64-bit store is one instruction on the
 * platforms that Node 24 runs on, so a reader sees the old or the new number. What must be ordered goes
 * through `changes`, an atomic word that every acknowledgement advances.
 */

import { laneCount, laneOf, slotOf } from "./lanes.ts";

const STATES = ["absent", "starting", "ready", "draining", "dead"] as const;

export type ThreadState = (typeof STATES)[number];

/** For `GET /v1/workers`. */
export interface ThreadReport {
  slot: number;
  generation: number;
  state: ThreadState;
  /** 0 before the first configuration. */
  appliedRevision: number;
  /** Monotonic milliseconds; 0 before the first beat. */
  lastBeatMs: number;
  eventLoopDelayMs: number;
  heapUsedBytes: number;
  connections: number;
}

/** The first words: changes (32 bits), padding, published revision (64 bits). */
const CHANGES_WORD = 0;
const PUBLISHED = 1;
const HEADER_CELLS = 8;

const ROW_CELLS = 8;
const BEAT = 0;
const GENERATION = 1;
const STATE = 2;
const APPLIED = 3;
const LOOP_DELAY = 4;
const HEAP_USED = 5;
const CONNECTIONS = 6;

/** Monotonic milliseconds that mean the same in every thread (`performance.now()` starts anew in each). */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

export class Threads {
  readonly #cells: Float64Array;
  readonly #words: Int32Array;
  readonly #now: () => number;
  readonly #lanes: number;

  static bytes(workers: number): number {
    return (HEADER_CELLS + laneCount(workers) * ROW_CELLS) * 8;
  }

  /** `now`: monotonic milliseconds; virtual in tests. */
  constructor(shared: SharedArrayBuffer, now: () => number = monotonicMs) {
    this.#cells = new Float64Array(shared);
    this.#words = new Int32Array(shared);
    this.#now = now;
    this.#lanes = (this.#cells.length - HEADER_CELLS) / ROW_CELLS;
  }

  beat(slot: number): void {
    this.#cells[row(slot) + BEAT] = this.#now();
  }

  /** Comparable with `monotonicMs()` in any thread; 0: it never beat. */
  lastBeat(slot: number): number {
    return this.#cells[row(slot) + BEAT];
  }

  /** The supervisor calls it before it starts a thread in the slot: revision and load start from nothing. */
  begin(slot: number, generation: number): void {
    const at = row(slot);
    this.#cells.fill(0, at, at + ROW_CELLS);
    this.#cells[at + GENERATION] = generation;
    this.#cells[at + BEAT] = this.#now();
    this.setState(slot, "starting");
  }

  generation(slot: number): number {
    return this.#cells[row(slot) + GENERATION];
  }

  state(slot: number): ThreadState {
    return STATES[this.#cells[row(slot) + STATE]];
  }

  setState(slot: number, state: ThreadState): void {
    this.#cells[row(slot) + STATE] = STATES.indexOf(state);
    this.#announce();
  }

  /** The thread serves `revision` from now on. */
  acknowledge(slot: number, revision: number): void {
    this.#cells[row(slot) + APPLIED] = revision;
    this.#announce();
  }

  /** The revision that the thread of the slot serves; 0: none yet. */
  applied(slot: number): number {
    return this.#cells[row(slot) + APPLIED];
  }

  /** The node's own revision; written by control, and kept over its restarts. */
  get publishedRevision(): number {
    return this.#cells[PUBLISHED];
  }

  set publishedRevision(revision: number) {
    this.#cells[PUBLISHED] = revision;
    this.#announce();
  }

  /** Advances with every acknowledgement, state and published revision. Pass it to `whenChanged`. */
  get changes(): number {
    return Atomics.load(this.#words, CHANGES_WORD);
  }

  /** Ends when `changes` is no longer `seen`, or after the timeout. Read `changes`, then the facts, then wait. */
  async whenChanged(seen: number, timeoutMs: number): Promise<void> {
    await Atomics.waitAsync(this.#words, CHANGES_WORD, seen, timeoutMs).value;
  }

  reportLoad(slot: number, eventLoopDelayMs: number, heapUsedBytes: number, connections: number): void {
    const at = row(slot);
    this.#cells[at + LOOP_DELAY] = eventLoopDelayMs;
    this.#cells[at + HEAP_USED] = heapUsedBytes;
    this.#cells[at + CONNECTIONS] = connections;
  }

  report(slot: number): ThreadReport {
    const at = row(slot);
    return {
      slot,
      generation: this.#cells[at + GENERATION],
      state: this.state(slot),
      appliedRevision: this.#cells[at + APPLIED],
      lastBeatMs: this.#cells[at + BEAT],
      eventLoopDelayMs: this.#cells[at + LOOP_DELAY],
      heapUsedBytes: this.#cells[at + HEAP_USED],
      connections: this.#cells[at + CONNECTIONS],
    };
  }

  /** Number of worker slots, filled or not. */
  get workers(): number {
    return slotOf(this.#lanes);
  }

  /** What a dead thread no longer does. Its generation and last beat stay, to be looked at. */
  clear(slot: number): void {
    const at = row(slot);
    this.#cells.fill(0, at + APPLIED, at + ROW_CELLS);
    this.setState(slot, "dead");
  }

  #announce(): void {
    Atomics.add(this.#words, CHANGES_WORD, 1);
    Atomics.notify(this.#words, CHANGES_WORD);
  }
}

function row(slot: number): number {
  return HEADER_CELLS + laneOf(slot) * ROW_CELLS;
}
