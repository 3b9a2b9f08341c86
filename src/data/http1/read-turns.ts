/**
 * How much one connection reads before others have their turn. libuv reads a socket up to 32 times in a row as long as the
 * buffer (64 KiB) comes back full: an upstream that sends as fast as it can would hold the worker for milliseconds each time,
 * and twenty of them add up. After so much the connection waits for the next turn of the event loop.
 *
 * Short reads, which are nearly all, cost one comparison.
 */

/** Shorter reads do not count: half a record of TLS. */
export const LARGE_READ_BYTES = 8192;
export const BYTES_PER_TURN = 256 * 1024;

export interface TurnReader {
  /** The next turn has begun. */
  onTurn(): void;
}

let turn = 0;
let isArmed = false;
let waiting: TurnReader[] = [];

/** What one connection has read in the present turn. */
export class ReadTurn {
  #turn = -1;
  #bytes = 0;

  /** After a read. True: that was enough, and `reader` hears when it may go on. */
  isOver(bytes: number, reader: TurnReader): boolean {
    if (!isArmed) {
      isArmed = true;
      // Behind all that is readable now.
      setImmediate(begin);
    }
    if (this.#turn !== turn) {
      this.#turn = turn;
      this.#bytes = 0;
    }
    this.#bytes += bytes;
    if (this.#bytes < BYTES_PER_TURN) return false;
    waiting.push(reader);
    return true;
  }
}

function begin(): void {
  isArmed = false;
  turn++;
  const readers = waiting;
  waiting = [];
  for (let i = 0; i < readers.length; i++) readers[i].onTurn();
}
