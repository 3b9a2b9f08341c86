/**
 * Long work that nobody waits for, thinly spread: every piece is followed by a rest that is a multiple of the time
 * that it took. Threads that share its core then never wait for more than one piece, and lose only a share of the core
 * (src/lib/slices.ts lets the work's own thread do other things in between, and is back at once).
 *
 *     const pace = new Pace(9); // a tenth of the time
 *     for (const piece of pieces) {
 *       await work(piece);
 *       await pace.rest();
 *     }
 */

/** Of one rest: a piece during which the machine stood still is no reason to stand still as well. */
const LONGEST_REST_MS = 250;

export class Pace {
  readonly #restShare: number;
  #pieceBegan: number;
  #wake: (() => void) | null = null;
  #isHurried = false;

  /** `restShare`: how much longer than a piece its rest is. The first piece begins now. */
  constructor(restShare: number) {
    this.#restShare = restShare;
    this.#pieceBegan = performance.now();
  }

  /** After each piece. */
  async rest(): Promise<void> {
    if (!this.#isHurried) {
      const restMs = Math.min((performance.now() - this.#pieceBegan) * this.#restShare, LONGEST_REST_MS);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, restMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    this.#pieceBegan = performance.now();
  }

  /** Somebody waits for it now: the rest is over, and no other follows. */
  hurry(): void {
    this.#isHurried = true;
    this.#wake?.();
  }
}
