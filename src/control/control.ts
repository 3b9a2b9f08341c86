/**
 * The control side of a node, put together: store → feed → state → publisher → workers, with the resolver
 * beside it. No HTTP and no threads here: `main.ts` adds those, tests do without.
 */

import type { Log } from "../lib/log.ts";
import type { PluginCatalog } from "../model/resource-type.ts";
import { RESOURCE_TYPES } from "../model/resources.ts";
import type { Threads } from "../shared/threads.ts";
import type { Store } from "../store/contract.ts";
import { AddressItems, type HostResolver } from "./addresses.ts";
import { StoreFeed } from "./feed.ts";
import { Publisher } from "./publish.ts";
import { ConfigurationState } from "./state.ts";

export interface ControlParts {
  store: Store;
  plugins: PluginCatalog;
  threads: Threads;
  resolver: HostResolver;
  /** The first published revision is greater. */
  startRevision: number;
  log: Log;
}

export class Control {
  readonly store: Store;
  readonly state: ConfigurationState;
  readonly feed: StoreFeed;
  readonly publisher: Publisher;
  readonly #addresses: AddressItems;

  constructor(parts: ControlParts) {
    const { store, plugins, threads, resolver, startRevision, log } = parts;
    this.store = store;
    const types = new Map(RESOURCE_TYPES.map((type) => [type.plural, type]));
    this.state = new ConfigurationState(types, plugins, (item) => this.publisher.change(item));
    this.#addresses = new AddressItems(resolver, (item) => this.publisher.change(item));
    this.publisher = new Publisher(threads, () => this.#everything(), startRevision, log);
    const hooks = { onLoaded: () => this.publisher.open(), onSlice: () => this.#watchHosts() };
    this.feed = new StoreFeed(store, this.state, hooks, log);
  }

  /** Ends when the whole content of the store is published. */
  async start(): Promise<void> {
    await this.feed.start();
  }

  async close(): Promise<void> {
    this.feed.stop();
    this.publisher.close();
    this.#addresses.close();
    await this.store.close();
  }

  *#everything() {
    yield* this.#addresses.published();
    yield* this.state.published();
  }

  #watchHosts(): void {
    if (!this.state.hostsChanged) return;
    this.state.hostsChanged = false;
    this.#addresses.watch(this.state.hosts());
  }
}
