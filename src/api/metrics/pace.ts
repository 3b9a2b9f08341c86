/**
 * Lets the rendering of a page rest every few milliseconds, so that control's event loop is never held up for
 * longer, however many pages are rendered at a time: one of them runs in each turn of the loop.
 */

const SLICE_MS = 4;

/** Who waits for a turn of the event loop; one gets each. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isArmed = false;

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#arm();
    });
  }

  #arm(): void {
    if (this.#isArmed || this.#waiting.length === 0) return;
    this.#isArmed = true;
    setImmediate(() => {
      this.#isArmed = false;
      this.#waiting.shift()!();
      this.#arm();
    });
  }
}

export class Pace {
  readonly #turns: Turns;
  #until = performance.now() + SLICE_MS;

  constructor(turns: Turns = new Turns()) {
    this.#turns = turns;
  }

  isOver(): boolean {
    return performance.now() >= this.#until;
  }

  async rest(): Promise<void> {
    await this.#turns.next();
    this.#until = performance.now() + SLICE_MS;
  }
}
