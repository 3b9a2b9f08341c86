/** Stores over the etcd of a test. */

import { type ConnectorConfig, DirectConnector } from "../../src/store/etcd/channel.ts";
import { EtcdStore, type EtcdStoreOptions } from "../../src/store/etcd/store.ts";
import type { TestContext } from "node:test";
import {
  type Store,
  type StoreChange,
  type StoredItem,
  type StoreListener,
  StoreUnavailableError,
} from "../../src/store/contract.ts";

/** Its log is dropped unless `log` is given. */
export function storeOptions(
  endpoints: string[],
  { avoidFailedMs = 10_000, tls = null, ...change }: Partial<EtcdStoreOptions & ConnectorConfig> = {},
): EtcdStoreOptions {
  return {
    connector: new DirectConnector({ endpoints, avoidFailedMs, tls }),
    prefix: "/apisix",
    timeoutMs: 10_000,
    longestPauseMs: 500,
    user: null,
    historyRevisions: 10_000,
    historyDays: 30,
    log: { info: () => {}, warn: () => {} },
    ...change,
  };
}

export function openStore(t: TestContext, options: EtcdStoreOptions): EtcdStore {
  const store = new EtcdStore(options);
  t.after(() => store.close());
  return store;
}

/** The content of a store as a node would hold it: loaded, followed, and loaded anew when it must be. */
export class Mirror implements StoreListener {
  readonly items = new Map<string, StoredItem>();
  resyncs = 0;
  readonly #store: Store;
  readonly #end = new AbortController();
  #wake: () => void = () => {};

  private constructor(store: Store) {
    this.#store = store;
  }

  static async of(t: TestContext, store: Store): Promise<Mirror> {
    const mirror = new Mirror(store);
    t.after(() => mirror.#end.abort());
    await mirror.#load();
    return mirror;
  }

  onChange({ events }: StoreChange): void {
    for (const event of events) {
      if (event.type === "put") this.items.set(event.item.key, event.item);
      else this.items.delete(event.key);
    }
    this.#wake();
  }

  onResync(): void {
    this.resyncs++;
    void this.#load();
  }

  /** Text of the values by key, in the order of the keys. */
  get values(): Record<string, string> {
    const sorted = [...this.items.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
    return Object.fromEntries(sorted.map(({ key, value }) => [key, value]));
  }

  async until(holds: (mirror: Mirror) => boolean): Promise<void> {
    while (!holds(this)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  async #load(): Promise<void> {
    while (!this.#end.signal.aborted) {
      try {
        const { items, revision } = await this.#store.load();
        this.items.clear();
        for (const item of items) this.items.set(item.key, item);
        this.#store.watch(revision, this, this.#end.signal);
        this.#wake();
        return;
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        // As the feed does: it comes back some time.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}
