/**
 * How long to wait before a thread that died is started again: not at all at first, since connections wait in
 * its sockets, then longer with every death that follows soon, so that a broken thread costs little. What ran
 * stably starts from nothing. Jitter keeps threads that died together from starting together.
 */

const BASE_MS = 100;
const MAX_MS = 5_000;
const STABLE_MS = 30_000;
const JITTER = 0.25;

export class BackOff {
  #deaths = 0;
  readonly #random: () => number;

  /** `random`: from 0 up to 1; given in tests. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Deaths that followed each other without a stable run between them. */
  get deaths(): number {
    return this.#deaths;
  }

  /** Milliseconds to wait after a death that ended a run of `ranMs`. */
  afterDeath(ranMs: number): number {
    this.#deaths = ranMs >= STABLE_MS ? 1 : this.#deaths + 1;
    if (this.#deaths === 1) return 0;
    const delay = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(this.#deaths - 2, 16));
    return delay * (1 - JITTER + 2 * JITTER * this.#random());
  }
}
