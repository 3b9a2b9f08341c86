/**
 * Carries the content of the store into the state: everything at the start, then change by change, in
 * slices, so that heartbeats, probes and API calls never wait long for a bulk of changes.
 *
 * A small change is in the state before the store answers its writer. Without the store nothing stops: the
 * state stays as it is, and a load that fails is tried again.
 */

import type { Log } from "../lib/log.ts";
import type { Store, StoreChange, StoredItem, StoreEvent, StoreState } from "../store/contract.ts";
import type { ConfigurationState } from "./state.ts";

/** Work in one turn of the event loop. */
const SLICE_MS = 8;
const RETRY_MS = 1000;

export interface FeedHooks {
  /** The state is complete for the first time. */
  onLoaded(): void;
  /** A slice has been taken over. */
  onSlice(): void;
}

export class StoreFeed {
  readonly #store: Store;
  readonly #state: ConfigurationState;
  readonly #hooks: FeedHooks;
  readonly #log: Log;
  readonly #end = new AbortController();
  #watch = new AbortController();
  #waiting: StoreChange[] = [];
  #isWorking = false;
  #revision = 0;
  #waiters: { revision: number; resolve(): void }[] = [];
  #sliceEnd = 0;
  #nextTurn: NodeJS.Immediate | null = null;

  constructor(store: Store, state: ConfigurationState, hooks: FeedHooks, log: Log) {
    this.#store = store;
    this.#state = state;
    this.#hooks = hooks;
    this.#log = log;
  }

  /** Revision of the store that the state holds. */
  get revision(): number {
    return this.#revision;
  }

  /** Loads, then follows the store. Ends when the first load is complete. */
  async start(): Promise<void> {
    await this.#loadUntilDone();
    if (!this.#end.signal.aborted) this.#hooks.onLoaded();
  }

  /** Ends when the state holds `revision` of the store. */
  async whenTaken(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ revision, resolve });
    await promise;
  }

  stop(): void {
    this.#end.abort();
    this.#watch.abort();
    if (this.#nextTurn !== null) clearImmediate(this.#nextTurn);
  }

  async #loadUntilDone(): Promise<void> {
    while (!this.#end.signal.aborted) {
      try {
        const loaded = await this.#store.load();
        await this.#takeAll(loaded);
        this.#follow(loaded.revision);
        return;
      } catch (error) {
        this.#log.error("the configuration store cannot be read; trying again", { error: String(error) });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Makes the state equal to what was loaded; what is the same already is left alone. */
  async #takeAll(loaded: StoreState): Promise<void> {
    let end = performance.now() + SLICE_MS;
    const gone = new Set(this.#state.keys());
    for (const item of loaded.items) {
      gone.delete(item.key);
      this.#put(item);
      if (performance.now() < end) continue;
      this.#hooks.onSlice();
      await new Promise((resolve) => setImmediate(resolve));
      end = performance.now() + SLICE_MS;
    }
    for (const key of gone) this.#state.delete(key);
    this.#hooks.onSlice();
  }

  #follow(from: number): void {
    this.#waiting = [];
    this.#reached(from);
    this.#watch = new AbortController();
    this.#store.watch(
      from,
      {
        onChange: (change) => {
          this.#waiting.push(change);
          this.#work();
        },
        onResync: () => {
          this.#log.warn("the history of the store has moved on; loading everything anew");
          this.#watch.abort();
          // What waited is older than what is about to be loaded.
          this.#waiting = [];
          void this.#loadUntilDone();
        },
      },
      this.#watch.signal,
    );
  }

  /** Takes what waits, at once while this turn of the event loop has time, else in the next. */
  #work(): void {
    if (this.#isWorking) return;
    this.#nextTurn ??= this.#beginTurn();
    this.#isWorking = true;
    let taken = 0;
    while (taken < this.#waiting.length && performance.now() < this.#sliceEnd) {
      const change = this.#waiting[taken++];
      for (const event of change.events) this.#take(event);
      this.#reached(change.revision);
    }
    this.#waiting.splice(0, taken);
    this.#isWorking = false;
    if (taken > 0) this.#hooks.onSlice();
  }

  /** The budget is one per turn, however many changes arrive in it. */
  #beginTurn(): NodeJS.Immediate {
    this.#sliceEnd = performance.now() + SLICE_MS;
    return setImmediate(() => {
      this.#nextTurn = null;
      if (this.#waiting.length > 0) this.#work();
    });
  }

  #take(event: StoreEvent): void {
    if (event.type === "put") this.#put(event.item);
    else this.#state.delete(event.key);
  }

  /** The state throws for nothing that a store may hold; were it to, the items behind must not wait for ever. */
  #put(item: StoredItem): void {
    try {
      this.#state.put(item);
    } catch (error) {
      this.#log.error("an item of the store could not be taken", { key: item.key, error: String(error) });
    }
  }

  #reached(revision: number): void {
    this.#revision = revision;
    if (this.#waiters.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.revision > revision) return true;
      waiter.resolve();
      return false;
    });
  }
}
