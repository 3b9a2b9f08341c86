/**
 * The addresses of upstream hosts that are names: asks the resolver for those in use, and publishes what it
 * says as items of the configuration.
 */

import type { PublishedAddress } from "../model/published.ts";
import type { ConfigurationItem } from "../shared/configuration-bytes.ts";

/** What is asked of a resolver; it keeps the answers fresh for as long as a name is watched. */
export interface HostResolver {
  /** Exactly these from now on. */
  watch(hosts: ReadonlySet<string>): void;
  onChange(listener: (address: PublishedAddress) => void): void;
  close(): void;
}

export class AddressItems {
  readonly #resolver: HostResolver;
  readonly #publish: (item: ConfigurationItem) => void;
  readonly #known = new Map<string, string>();
  #hosts = new Set<string>();

  constructor(resolver: HostResolver, publish: (item: ConfigurationItem) => void) {
    this.#resolver = resolver;
    this.#publish = publish;
    resolver.onChange((address) => this.#take(address));
  }

  watch(hosts: Set<string>): void {
    this.#hosts = hosts;
    for (const host of this.#known.keys()) {
      if (hosts.has(host)) continue;
      this.#known.delete(host);
      this.#publish({ kind: "address", id: host, value: null });
    }
    this.#resolver.watch(hosts);
  }

  *published(): IterableIterator<ConfigurationItem> {
    for (const [host, value] of this.#known) yield { kind: "address", id: host, value };
  }

  close(): void {
    this.#resolver.close();
  }

  #take(address: PublishedAddress): void {
    const { host } = address;
    // An answer to a name that left meanwhile.
    if (!this.#hosts.has(host)) return;
    const value = JSON.stringify(address);
    if (this.#known.get(host) === value) return;
    this.#known.set(host, value);
    this.#publish({ kind: "address", id: host, value });
  }
}
