/**
 * Carries the content of the store into the state: everything at the start, then change by change, in
 * slices, so that heartbeats, probes and API calls never wait long for a bulk of changes.
 *
 * A small change is in the state before the store answers its writer. Without the store nothing stops: the
 * state stays as it is, and a load that fails is tried again. A node that starts without the store begins with what it
 * had before (`fallback`), and goes over to what the store has by its differences, whenever that answers.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { giveWay } from "../lib/give-way.ts";
import type { Log } from "../lib/log.ts";
import { slices } from "../lib/slices.ts";
import type { Store, StoreChange, StoredItem, StoreEvent, StoreState } from "../store/contract.ts";
import type { ConfigurationState } from "./state.ts";

/** Work in one turn of the event loop. */
const SLICE_MS = 8;
/** After a failed load; twice as long after the next, up to the last. */
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2000;
/** A store that is silent for so long at the start is not waited for. */
const PATIENCE_MS = 5000;
/** A change of more is taken in slices; nobody is told of it before it is whole. */
const LARGE_CHANGE = 500;
/** Of failed loads, how many are passed over in silence after one that is told. */
const UNTOLD_FAILURES = 29;

export interface FeedHooks {
  /** The state is complete for the first time. */
  onLoaded(): void;
  /** A slice has been taken over. */
  onSlice(): void;
  /** What the state tells from now on belongs together, until the end of it has been awaited. Absent: nobody minds. */
  batch?: { begin(): void; end(): Promise<void> };
}

/** What the state holds: nothing yet, what an earlier run of the node had, or what the store has. */
export type FeedOrigin = "nothing" | "snapshot" | "store";

/** What the node had before, when the store does not answer; null: nothing that can be used. */
export type Fallback = () => Promise<(StoreState & { confirmedAt: number }) | null>;

export class StoreFeed {
  readonly #store: Store;
  readonly #state: ConfigurationState;
  readonly #hooks: FeedHooks;
  readonly #log: Log;
  readonly #fallback: Fallback | null;
  readonly #end = new AbortController();
  #watch = new AbortController();
  #waiting: StoreChange[] = [];
  #isWorking = false;
  #revision = 0;
  #waiters: { revision: number; resolve(): void }[] = [];
  #sliceEnd = 0;
  #nextTurn: NodeJS.Immediate | null = null;
  #origin: FeedOrigin = "nothing";
  /** Of what was taken over as a whole and is in slices still: the state is neither old nor new. */
  #isTaking = false;
  /** Milliseconds since 1970: the state was as the store then; null: it is as new as what the store has told. */
  #staleSince: number | null = null;
  /** What goes on with the fallback; the store's content comes after it. */
  #taking: Promise<void> | null = null;
  #failures = 0;
  readonly #failed = Promise.withResolvers<void>();

  constructor(
    store: Store,
    state: ConfigurationState,
    hooks: FeedHooks,
    log: Log,
    fallback: Fallback | null = null,
  ) {
    this.#store = store;
    this.#state = state;
    this.#hooks = hooks;
    this.#log = log;
    this.#fallback = fallback;
  }

  /** Revision of the store that the state holds. */
  get revision(): number {
    return this.#revision;
  }

  get origin(): FeedOrigin {
    return this.#origin;
  }

  /** The state is all of one revision, and of the store. */
  get isSettled(): boolean {
    return this.#origin === "store" && !this.#isTaking && !this.#isWorking && this.#waiting.length === 0;
  }

  /** Milliseconds since 1970 until which nothing newer than the state is known; null: there is nothing yet. */
  get confirmedAt(): number | null {
    if (this.#staleSince !== null || this.#origin !== "store") return this.#staleSince;
    return this.#store.contact().lastAt;
  }

  /** Loads, then follows the store. Ends when there is something to serve: of the store, else from the fallback. */
  async start(): Promise<void> {
    const loading = this.#loadUntilDone();
    if (this.#fallback !== null) {
      const { promise: patience, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, PATIENCE_MS);
      await Promise.race([loading, this.#failed.promise, patience]);
      clearTimeout(timer);
      await this.#fallBack(this.#fallback);
    }
    if (this.#origin === "nothing") await loading;
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

  /** Takes what the node had before, unless the store has answered meanwhile. */
  async #fallBack(fallback: Fallback): Promise<void> {
    if (this.#hasBegun()) return;
    this.#log.error("the configuration store does not answer");
    const former = await fallback();
    if (former === null || this.#hasBegun()) return;
    this.#taking = this.#takeAll(former);
    await this.#taking;
    this.#origin = "snapshot";
    this.#staleSince = former.confirmedAt;
    this.#reached(former.revision);
    const confirmed = new Date(former.confirmedAt).toISOString();
    this.#log.warn("serving the configuration that this node had before", {
      revision: former.revision,
      confirmed,
    });
  }

  #hasBegun(): boolean {
    return this.#origin !== "nothing" || this.#isTaking || this.#end.signal.aborted;
  }

  async #loadUntilDone(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const waiters = new Set(this.#waiters);
      try {
        const loaded = await this.#store.load();
        await this.#taking;
        await this.#takeAll(loaded);
        if (this.#origin === "snapshot") this.#log.info("the configuration store answers again");
        this.#origin = "store";
        this.#staleSince = null;
        this.#failures = 0;
        this.#follow(loaded.revision);
        this.#release(waiters);
        return;
      } catch (error) {
        this.#tellFailure(error);
        await this.#pause();
      }
    }
  }

  #tellFailure(error: unknown): void {
    this.#failed.resolve();
    if (this.#failures++ % (UNTOLD_FAILURES + 1) !== 0) return;
    this.#log.error("the configuration store cannot be read; trying again", { error: String(error) });
  }

  /** Ends early with the feed. */
  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(FIRST_RETRY_MS * 2 ** (this.#failures - 1), LAST_RETRY_MS));
    const stop = () => resolve();
    this.#end.signal.addEventListener("abort", stop, { once: true });
    await promise;
    clearTimeout(timer);
    this.#end.signal.removeEventListener("abort", stop);
  }

  /** Makes the state equal to what was loaded; what is the same already is left alone. */
  async #takeAll(loaded: StoreState): Promise<void> {
    this.#isTaking = true;
    let end = performance.now() + SLICE_MS;
    const gone = new Set(this.#state.keys());
    for (const item of loaded.items) {
      gone.delete(item.key);
      this.#put(item);
      giveWay();
      if (performance.now() < end) continue;
      this.#hooks.onSlice();
      await nextTurn();
      end = performance.now() + SLICE_MS;
    }
    for (const key of gone) this.#state.delete(key);
    this.#isTaking = false;
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
          this.#staleSince = Math.min(this.#store.contact().lastAt ?? Date.now(), Date.now());
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
      const change = this.#waiting[taken];
      if (change.events.length > LARGE_CHANGE) break;
      taken++;
      for (const event of change.events) this.#take(event);
      this.#reached(change.revision);
      giveWay();
    }
    this.#waiting.splice(0, taken);
    const next = this.#waiting.at(0);
    if (next !== undefined && next.events.length > LARGE_CHANGE) void this.#takeLarge(next);
    else this.#isWorking = false;
    if (taken > 0) this.#hooks.onSlice();
  }

  /** One change in slices: it is the first that waits, and the others wait for it. */
  async #takeLarge(change: StoreChange): Promise<void> {
    const { signal } = this.#watch;
    const breathe = slices();
    this.#hooks.batch?.begin();
    for (const event of change.events) {
      await breathe();
      // What is loaded instead is newer.
      if (signal.aborted) break;
      this.#take(event);
      giveWay();
    }
    await this.#hooks.batch?.end();
    this.#isWorking = false;
    if (!signal.aborted) {
      this.#waiting.shift();
      this.#reached(change.revision);
      this.#hooks.onSlice();
    }
    if (this.#waiting.length > 0) this.#work();
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

  /**
   * What they waited for was written before the load began and so is part of it, or is gone with a store that was
   * restored: its revisions may be smaller for long.
   */
  #release(waiters: ReadonlySet<{ resolve(): void }>): void {
    this.#waiters = this.#waiters.filter((waiter) => !waiters.has(waiter));
    for (const waiter of waiters) waiter.resolve();
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
