/**
 * One watcher of the embedded store: first the past out of the history, in slices, then what is committed.
 *
 * Order and completeness come from one number, the revision up to which the listener has been told: a live
 * commit is delivered directly only when it is the next one, otherwise it is read from the history. That
 * covers commits of other processes on the same file too.
 */

import type { StoreChange, StoreListener } from "../contract.ts";

/** Revisions that are replayed in one turn of the event loop. */
const REPLAY_SLICE = 200;

export interface ChangeSource {
  /** Newest revision. */
  readonly revision: number;
  /** Revisions up to this one may be missing from the history. */
  readonly compacted: number;
  /** Changes after `from`, in order, at most `limit` revisions. */
  changesAfter(from: number, limit: number): StoreChange[];
}

export class Watcher {
  readonly #source: ChangeSource;
  readonly #listener: StoreListener;
  readonly #signal: AbortSignal;
  #told: number;
  #replay: NodeJS.Immediate | null = null;

  constructor(source: ChangeSource, from: number, listener: StoreListener, signal: AbortSignal) {
    this.#source = source;
    this.#listener = listener;
    this.#signal = signal;
    this.#told = from;
  }

  get isEnded(): boolean {
    return this.#signal.aborted;
  }

  /** A change was committed here. */
  offer(change: StoreChange): void {
    if (this.isEnded || change.revision <= this.#told) return;
    if (this.#replay === null && change.revision === this.#told + 1) {
      this.#told = change.revision;
      this.#listener.onChange(change);
    } else {
      this.catchUp();
    }
  }

  /** Reads on from the history, beginning in a later turn of the event loop. */
  catchUp(): void {
    this.#replay ??= setImmediate(() => {
      this.#replay = null;
      if (!this.isEnded) this.#replaySlice();
    });
  }

  #replaySlice(): void {
    const { revision, compacted } = this.#source;
    if (this.#told < compacted || this.#told > revision) {
      // The listener loads anew and says by a new watch from where it goes on; this one is over.
      this.#told = Number.MAX_SAFE_INTEGER;
      this.#listener.onResync();
      return;
    }
    for (const change of this.#source.changesAfter(this.#told, REPLAY_SLICE)) {
      if (this.isEnded) return;
      this.#told = change.revision;
      this.#listener.onChange(change);
    }
    if (this.#told < this.#source.revision) this.catchUp();
  }
}
