/** Who watches a store that keeps no past, in which everything is taken as a whole: from elsewhere than the present they load anew. */

import type { StoreChange, StoreListener } from "./contract.ts";

interface Watch {
  listener: StoreListener;
  signal: AbortSignal;
}

export class PresentWatches {
  readonly #watches = new Set<Watch>();

  /** `present`: the revision of the store. As `watch` of the contract. */
  add(from: number, present: number, listener: StoreListener, signal: AbortSignal): void {
    if (from !== present) {
      setImmediate(() => {
        if (!signal.aborted) listener.onResync();
      });
      return;
    }
    const watch = { listener, signal };
    this.#watches.add(watch);
    signal.addEventListener("abort", () => this.#watches.delete(watch), { once: true });
  }

  tell(change: StoreChange): void {
    for (const { listener } of this.#watches) listener.onChange(change);
  }

  clear(): void {
    this.#watches.clear();
  }
}
