/**
 * The control side of a node, put together: store → feed → state → publisher → workers, with the resolver
 * beside it. No HTTP and no threads here: `main.ts` adds those, tests do without.
 */

import type { Log } from "../lib/log.ts";
import { EncryptedFields, type FieldCipher } from "../model/encrypted-fields.ts";
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
  /** `plugins`: whether fields of plugins are encrypted too; private keys always are. */
  encryption: { cipher: FieldCipher; plugins: boolean };
  threads: Threads;
  resolver: HostResolver;
  /** The first published revision is greater. */
  startRevision: number;
  log: Log;
}

const UNREADABLE = "a stored value looks encrypted, but by no key of the keyring; it is taken for plain text";
/** Kinds of place are few; the bound is for plugins that users bring. */
const PLACES_TOLD = 1000;

export class Control {
  readonly store: Store;
  readonly state: ConfigurationState;
  readonly feed: StoreFeed;
  readonly publisher: Publisher;
  readonly #addresses: AddressItems;

  constructor(parts: ControlParts) {
    const { store, plugins, encryption, threads, resolver, startRevision, log } = parts;
    this.store = store;
    const fields = new EncryptedFields(
      plugins,
      encryption.cipher,
      encryption.plugins,
      onceEach((place) => log.warn(`${UNREADABLE}: ${place}`)),
    );
    const types = new Map(RESOURCE_TYPES.map((type) => [type.plural, type]));
    this.state = new ConfigurationState(types, plugins, fields, (item) => this.publisher.change(item));
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

/** Tells the first of equals; a store full of them must not fill the log. */
function onceEach(tell: (text: string) => void): (text: string) => void {
  const told = new Set<string>();
  return (text) => {
    if (told.has(text) || told.size >= PLACES_TOLD) return;
    told.add(text);
    tell(text);
  };
}
