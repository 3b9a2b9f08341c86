/**
 * How much the connections of a worker read before others have their turn: some hundred microseconds of relaying in each turn of the
 * event loop, all of them together, however many send as fast as they can. A request of another route waits that long, and not for
 * one read of each of them (64 KiB; libuv reads a socket up to 32 times in a row while the buffer comes back full).
 *
 * Who has had its share waits in a queue. Each turn lets the first of it go on: as many as may read a buffer each. So all that
 * send without end get the same.
 *
 * Short reads, which are nearly all, cost one comparison, and the beginning of an answer costs two.
 */

/**
 * What of an answer does not count: most are shorter, and answers of 100 KiB, 64 at a time, would pay for turns that nobody
 * needs (two system calls for each).
 */
export const FREE_BYTES = 256 * 1024;
/** Shorter reads do not count: half a record of TLS. */
export const LARGE_READ_BYTES = 8192;
/** What libuv reads at once. */
const READ_BYTES = 64 * 1024;
const READERS_PER_TURN = 4;
/** One that reads alone has all of it. */
export const BYTES_PER_TURN = READERS_PER_TURN * READ_BYTES;

/** The head of the queue that has had its turn is cut off when it is so long. */
const COMPACT_AT = 1024;

export interface TurnReader {
  /** It may read again. */
  onTurn(): void;
}

let turn = 0;
let isArmed = false;
/** Read in the present turn, by all. */
let turnBytes = 0;
/** Told in the present turn that they may read. */
let readers = 0;
/** What one may read in the present turn. */
let share = BYTES_PER_TURN;
let waiting: TurnReader[] = [];
/** Those before it have had their turn. */
let first = 0;

/** What one connection has read in the present turn. */
export class ReadTurn {
  #turn = -1;
  #bytes = 0;

  /** After a read. */
  count(bytes: number): void {
    arm();
    if (this.#turn !== turn) {
      this.#turn = turn;
      this.#bytes = 0;
    }
    this.#bytes += bytes;
    turnBytes += bytes;
  }

  /** May it read on? True: not now, and `reader` hears when it may. */
  isOver(reader: TurnReader): boolean {
    const isUsedUp = this.#turn === turn && this.#bytes >= share;
    if (!isUsedUp && turnBytes < BYTES_PER_TURN) return false;
    waiting.push(reader);
    return true;
  }

  /** The same for one that something else has held up meanwhile: it comes behind those who wait. */
  isOverAfterPause(reader: TurnReader): boolean {
    arm();
    if (first < waiting.length || readers >= READERS_PER_TURN) {
      waiting.push(reader);
      return true;
    }
    if (this.isOver(reader)) return true;
    readers++;
    return false;
  }
}

function arm(): void {
  if (isArmed) return;
  isArmed = true;
  // Behind all that is readable now.
  setImmediate(begin);
}

function begin(): void {
  isArmed = false;
  turn++;
  turnBytes = 0;
  const from = first;
  first = Math.min(from + READERS_PER_TURN, waiting.length);
  readers = first - from;
  share = BYTES_PER_TURN / Math.max(1, readers);
  for (let i = from; i < first; i++) waiting[i].onTurn();
  if (first === waiting.length) {
    waiting = [];
    first = 0;
  } else if (first >= COMPACT_AT) {
    waiting = waiting.slice(first);
    first = 0;
  }
  // Also for whoever reads alone afterwards.
  if (waiting.length > 0 || readers > 0) arm();
}
