/**
 * The control side of a node, put together: store → feed → state → publisher → workers, with the resolver
 * beside it. No HTTP and no threads here: `main.ts` adds those, tests do without.
 */

import type { Log } from "../lib/log.ts";
import { EncryptedFields, type FieldCipher } from "../model/encrypted-fields.ts";
import type { JsonObject, PluginCatalog } from "../model/resource-type.ts";
import { RESOURCE_TYPES } from "../model/resources.ts";
import type { Threads } from "../shared/threads.ts";
import type { Store } from "../store/contract.ts";
import type { SealedFile } from "../store/snapshot/sealed-file.ts";
import { SnapshotKeeper } from "../store/snapshot/keeper.ts";
import type { Snapshot } from "../store/snapshot/snapshot.ts";
import type { ConfigurationItem } from "../shared/configuration-bytes.ts";
import { AddressItems, type HostResolver } from "./addresses.ts";
import { CertificateSupply, type CertificateSupplyParts } from "./certificates/supply.ts";
import { TicketKey } from "./certificates/ticket-key.ts";
import type { Discoveries } from "./discovery/discoveries.ts";
import { type Fallback, StoreFeed } from "./feed.ts";
import { Publisher } from "./publish.ts";
import { RolloutItems } from "./rollouts/items.ts";
import { ConfigurationState } from "./state.ts";

export interface ControlParts {
  store: Store;
  plugins: PluginCatalog;
  /** `plugins`: whether fields of plugins are encrypted too; private keys always are. */
  encryption: { cipher: FieldCipher; plugins: boolean };
  threads: Threads;
  resolver: HostResolver;
  /** Knows the nodes of upstreams that name a service; absent: nobody does. */
  discoveries?: Discoveries;
  /** How certificates are got from elsewhere. */
  sources?: Pick<CertificateSupplyParts, "authorities" | "isOwnListener">;
  /** Nodes that share the store share the key of TLS session tickets. Absent: they do not. */
  sharesTicketKey?: boolean;
  /** The first published revision is greater. */
  startRevision: number;
  /** Is told of every item before workers are; absent: nobody is. */
  onItem?: (item: ConfigurationItem) => void;
  /** Where the last good configuration is kept; absent or null: nowhere. */
  snapshot?: SnapshotPlace | null;
  log: Log;
}

export interface SnapshotPlace {
  file: SealedFile;
  /** What the configuration comes from: "etcd /apisix". */
  source: string;
  intervalMs: number;
}

/** How often it is asked whether workers need what they must not get as long as they have something newer. */
const LOOK_EVERY_MS = 200;
const UNREADABLE = "a stored value looks encrypted, but by no key of the keyring; it is taken for plain text";
/** Kinds of place are few; the bound is for plugins that users bring. */
const PLACES_TOLD = 1000;

export class Control {
  readonly store: Store;
  readonly state: ConfigurationState;
  readonly feed: StoreFeed;
  readonly publisher: Publisher;
  readonly certificates: CertificateSupply;
  readonly #ticketKey: TicketKey | null;
  readonly rollouts: RolloutItems;
  readonly #addresses: AddressItems;
  readonly #discoveries: Discoveries | null;
  readonly #threads: Threads;
  readonly #log: Log;
  #waiting: NodeJS.Timeout | null = null;
  #secretsVersion = "0 0";
  /** Published revision of the snapshot that the node began with. */
  #begunAt = 0;
  readonly #keeper: SnapshotKeeper | null = null;

  constructor(parts: ControlParts) {
    const { store, plugins, encryption, threads, resolver, startRevision, log } = parts;
    this.store = store;
    this.#threads = threads;
    this.#log = log;
    const fields = new EncryptedFields(
      plugins,
      encryption.cipher,
      encryption.plugins,
      onceEach((place) => log.warn(`${UNREADABLE}: ${place}`)),
    );
    const publish = (item: ConfigurationItem): void => {
      parts.onItem?.(item);
      this.publisher.change(item);
    };
    const types = new Map(RESOURCE_TYPES.map((type) => [type.plural, type]));
    const discoveries = parts.discoveries ?? null;
    this.#discoveries = discoveries;
    this.certificates = new CertificateSupply({
      ...parts.sources,
      secretOf: (id) => this.#secretOf(id),
      log,
    });
    this.certificates.connect(publish);
    const isTicketKeyShared = parts.sharesTicketKey === true;
    this.#ticketKey = isTicketKeyShared ? new TicketKey({ store, cipher: encryption.cipher, log }) : null;
    void this.#ticketKey?.start(publish);
    this.state = new ConfigurationState(types, plugins, fields, (item) => this.rollouts.take(item));
    this.rollouts = new RolloutItems(this.state, (item) => {
      const taken = this.certificates.take(item);
      if (taken !== null) publish(discoveries === null ? taken : discoveries.take(taken));
    });
    this.#addresses = new AddressItems(resolver, publish);
    discoveries?.connect({ publish, onHosts: () => this.#watchHostsSoon() });
    this.publisher = new Publisher(threads, () => this.#everything(), startRevision, log);
    const hooks = {
      onLoaded: () => this.#onLoaded(),
      onSlice: () => this.#onSlice(),
      batch: { begin: () => this.publisher.begin(), end: () => this.publisher.end() },
    };
    let fallback: Fallback | null = null;
    if (parts.snapshot !== undefined && parts.snapshot !== null) {
      const take = () => this.#snapshot();
      const confirmedAt = () => (this.feed.isSettled ? this.feed.confirmedAt : null);
      const keeper = new SnapshotKeeper({ ...parts.snapshot, take, confirmedAt, log });
      this.#keeper = keeper;
      fallback = async () => {
        const snapshot = await keeper.read();
        this.#begunAt = snapshot?.published ?? 0;
        return snapshot;
      };
    }
    this.feed = new StoreFeed(store, this.state, hooks, log, fallback);
  }

  /** Milliseconds for which nothing has said that the configuration is the newest; null: there is none yet. */
  ageMs(now: number = Date.now()): number | null {
    const { confirmedAt } = this.feed;
    return confirmedAt === null ? null : Math.max(0, now - confirmedAt);
  }

  /** Newest revision that every worker that serves has. */
  get appliedRevision(): number {
    let least = this.publisher.revision;
    for (let slot = 0; slot < this.#threads.workers; slot++) {
      if (this.#threads.state(slot) === "ready") least = Math.min(least, this.#threads.applied(slot));
    }
    return least;
  }

  /** Ends when the whole content of the store is published. */
  async start(): Promise<void> {
    await this.feed.start();
  }

  async close(): Promise<void> {
    this.feed.stop();
    if (this.#waiting !== null) clearInterval(this.#waiting);
    await this.#keeper?.close();
    this.publisher.close();
    this.#discoveries?.close();
    this.certificates.close();
    this.#ticketKey?.close();
    this.#addresses.close();
    await this.store.close();
  }

  *#everything() {
    yield* this.#addresses.published();
    const discoveries = this.#discoveries;
    for (const item of this.rollouts.published(this.state.published())) {
      const filled = this.certificates.filled(item);
      yield discoveries === null ? filled : discoveries.filled(filled);
    }
    const ticketKey = this.#ticketKey?.item ?? null;
    if (ticketKey !== null) yield ticketKey;
  }

  #onLoaded(): void {
    this.certificates.loaded();
    this.#open();
  }

  /**
   * When this thread takes the place of another that died, the workers may have a configuration that came after the
   * snapshot: it is not taken away, unless one of them has none at all.
   */
  #open(): void {
    if (this.feed.origin !== "snapshot" || this.#threads.publishedRevision <= this.#begunAt) {
      this.publisher.open();
      return;
    }
    this.#log.warn("the workers have a newer configuration than the snapshot, and keep it");
    this.#waiting = setInterval(() => {
      if (this.feed.origin !== "store" && !this.#isWorkerWithout()) return;
      clearInterval(this.#waiting!);
      this.publisher.open();
    }, LOOK_EVERY_MS);
  }

  #isWorkerWithout(): boolean {
    for (let slot = 0; slot < this.#threads.workers; slot++) {
      if (this.#threads.applied(slot) === 0) return true;
    }
    return false;
  }

  #snapshot(): Snapshot | null {
    const { feed, publisher, store, state } = this;
    const { confirmedAt } = feed;
    if (!feed.isSettled || confirmedAt === null) return null;
    const { identity } = store;
    const items = state.stored();
    return { revision: feed.revision, identity, published: publisher.revision, confirmedAt, items };
  }

  #onSlice(): void {
    this.#watchHosts();
    this.#watchSecrets();
    this.#keeper?.changed();
  }

  #secretOf(id: string): JsonObject | undefined {
    const entry = this.state.get("secrets", id);
    return entry === undefined || entry.fault !== null ? undefined : this.state.plain(entry);
  }

  #watchSecrets(): void {
    const version = `${this.state.newestRevision("secrets")} ${this.state.count("secrets")}`;
    if (version === this.#secretsVersion) return;
    this.#secretsVersion = version;
    void this.certificates.secretsChanged();
  }

  #watchHosts(): void {
    if (!this.state.hosts.hasChanged) return;
    this.state.hosts.hasChanged = false;
    const hosts = this.state.hosts.names();
    for (const host of this.#discoveries?.hosts() ?? []) hosts.add(host);
    this.#addresses.watch(hosts);
  }

  /** Many services may change in one turn. */
  #watchHostsSoon(): void {
    this.state.hosts.hasChanged = true;
    setImmediate(() => this.#watchHosts());
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
