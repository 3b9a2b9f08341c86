/**
 * Addresses of host names, as control resolved them and published them to this worker. No name is resolved in
 * a worker. One book per worker; upstreams listen for the names that their nodes have.
 */

export class AddressBook {
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #listeners = new Map<string, Set<() => void>>();

  /** Null: not resolved (yet). An empty list: the name exists nowhere. */
  get(host: string): readonly string[] | null {
    return this.#addresses.get(host) ?? null;
  }

  /** Null forgets the name. Listeners hear of it only if something changed. */
  set(host: string, addresses: readonly string[] | null): void {
    const before = this.#addresses.get(host);
    if (addresses === null) {
      if (!this.#addresses.delete(host)) return;
    } else {
      if (before !== undefined && isEqual(before, addresses)) return;
      this.#addresses.set(host, addresses);
    }
    const listeners = this.#listeners.get(host);
    if (listeners !== undefined) for (const listener of listeners) listener();
  }

  listen(host: string, listener: () => void): void {
    const listeners = this.#listeners.get(host);
    if (listeners === undefined) this.#listeners.set(host, new Set([listener]));
    else listeners.add(listener);
  }

  unlisten(host: string, listener: () => void): void {
    const listeners = this.#listeners.get(host);
    if (listeners?.delete(listener) === true && listeners.size === 0) this.#listeners.delete(host);
  }
}

function isEqual(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((address, i) => address === b[i]);
}
