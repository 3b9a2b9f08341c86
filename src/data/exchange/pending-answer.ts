/** An upstream's answer that a plugin waits for as a whole. What arrives of it is held by the exchange. */

import type { HeaderList } from "../../lib/headers.ts";
import type { WholeAnswer } from "../../plugin/exchange.ts";

export class PendingAnswer {
  /** Never settles when the answer does not come to its end. */
  readonly promise: Promise<WholeAnswer>;
  readonly #limitBytes: number;
  #bytes = 0;
  #resolve!: (answer: WholeAnswer) => void;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Whether more may come after these bytes. */
  takes(bytes: number): boolean {
    this.#bytes += bytes;
    if (this.#bytes <= this.#limitBytes) return true;
    this.#resolve({ body: null, trailers: null });
    return false;
  }

  complete(chunks: readonly Buffer[], trailers: HeaderList | null): void {
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, this.#bytes);
    this.#resolve({ body, trailers });
  }
}
