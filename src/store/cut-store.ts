/** For tests: a store behind a line that can be cut. While it is, nothing is answered and the watch is silent. */

import {
  type HistoryEntry,
  type Store,
  type StoreContact,
  type StoredItem,
  type StoreListener,
  type StoreState,
  StoreUnavailableError,
  type StoreWrite,
  type WriteOptions,
} from "./contract.ts";

export class CutStore implements Store {
  readonly inner: Store;
  /** Who watches. */
  listener: StoreListener | null = null;
  loads = 0;
  #isDown = false;
  #lastAt: number | null = null;
  #onLoad: (() => void) | null = null;

  constructor(inner: Store) {
    this.inner = inner;
  }

  get identity(): string {
    return this.inner.identity;
  }

  get isDown(): boolean {
    return this.#isDown;
  }

  /** A store that is back has a watch that missed something: it asks for a resync. */
  set isDown(isDown: boolean) {
    const isBack = this.#isDown && !isDown;
    if (isDown) this.#lastAt = this.contact().lastAt;
    this.#isDown = isDown;
    if (isBack) this.listener?.onResync();
  }

  contact(): StoreContact {
    const { isReachable, lastAt } = this.inner.contact();
    return this.#isDown ? { isReachable: false, lastAt: this.#lastAt } : { isReachable, lastAt };
  }

  /** Ends when somebody has tried to load `count` times since the store was made. */
  async whenLoaded(count: number): Promise<void> {
    while (this.loads < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onLoad = resolve;
      await promise;
    }
  }

  async load(): Promise<StoreState> {
    this.loads++;
    this.#onLoad?.();
    this.#assertUp();
    return await this.inner.load();
  }

  watch(from: number, listener: StoreListener, signal: AbortSignal): void {
    this.listener = listener;
    const onChange: StoreListener["onChange"] = (change) => {
      if (!this.#isDown) listener.onChange(change);
    };
    this.inner.watch(from, { onChange, onResync: () => listener.onResync() }, signal);
  }

  async get(key: string): Promise<StoredItem | null> {
    this.#assertUp();
    return await this.inner.get(key);
  }

  async write(batch: StoreWrite[], options?: WriteOptions): Promise<number> {
    this.#assertUp();
    return await this.inner.write(batch, options);
  }

  async history(key: string, limit: number): Promise<HistoryEntry[]> {
    this.#assertUp();
    return await this.inner.history(key, limit);
  }

  async close(): Promise<void> {
    await this.inner.close();
  }

  #assertUp(): void {
    if (this.#isDown) throw new StoreUnavailableError("the configuration store does not answer");
  }
}
