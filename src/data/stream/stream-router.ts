/**
 * Which stream route a connection takes.
 *
 * Those with a server name come first: the exact name, then the wildcard that names most of it. Of several that match, and
 * of those without a name, the oldest counts. A route stands in the list of its port, or in the one for any port: lists stay
 * sorted, so a change moves one entry, and a connection walks the two that can matter to it.
 */

import { AddressSet } from "../../lib/address.ts";

/** What is known of a connection when it is routed. */
export interface StreamFactsToMatch {
  remoteAddress: string;
  serverAddress: string;
  serverPort: number;
  /** Of the TLS that ends here; null: none was sent, or there is none. */
  serverName: string | null;
}

export interface StreamMatcher {
  id: string;
  created: number;
  remote_addr?: string;
  server_addr?: string;
  server_port?: number;
  sni?: string;
}

interface Entry<T> {
  readonly matcher: StreamMatcher;
  readonly remote: AddressSet | null;
  readonly server: AddressSet | null;
  readonly value: T;
}

/** Routes with the same server name, or all those without one. */
class PortTable<T> {
  readonly #ofPort = new Map<number, Entry<T>[]>();
  readonly #ofAny: Entry<T>[] = [];

  get isEmpty(): boolean {
    return this.#ofAny.length === 0 && this.#ofPort.size === 0;
  }

  insert(entry: Entry<T>): void {
    const port = entry.matcher.server_port;
    let list: Entry<T>[] | undefined = port === undefined ? this.#ofAny : this.#ofPort.get(port);
    if (list === undefined) this.#ofPort.set(port!, (list = []));
    list.splice(placeOf(list, entry.matcher), 0, entry);
  }

  delete(entry: Entry<T>): void {
    const port = entry.matcher.server_port;
    const list = port === undefined ? this.#ofAny : this.#ofPort.get(port);
    const at = list === undefined ? -1 : list.indexOf(entry);
    if (at === -1) return;
    list!.splice(at, 1);
    if (port !== undefined && list!.length === 0) this.#ofPort.delete(port);
  }

  find(facts: StreamFactsToMatch): Entry<T> | null {
    const here = first(this.#ofPort.get(facts.serverPort) ?? [], facts);
    const anywhere = first(this.#ofAny, facts);
    if (here === null || anywhere === null) return here ?? anywhere;
    return isBefore(here.matcher, anywhere.matcher) ? here : anywhere;
  }
}

export class StreamRouter<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #unnamed = new PortTable<T>();
  /** By the name as it is written: "a.com", "*.a.com". */
  readonly #named = new Map<string, PortTable<T>>();

  /** An insert replaces the route of that id. Throws a `RangeError` for what is no address. */
  insert(matcher: StreamMatcher, value: T): void {
    const { remote_addr: remote, server_addr: server } = matcher;
    const entry: Entry<T> = {
      matcher,
      remote: remote === undefined ? null : new AddressSet([remote]),
      server: server === undefined ? null : new AddressSet([server]),
      value,
    };
    this.delete(matcher.id);
    this.#entries.set(matcher.id, entry);
    this.#tableFor(matcher.sni).insert(entry);
  }

  delete(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    const { sni } = entry.matcher;
    const table = this.#tableFor(sni);
    table.delete(entry);
    if (sni !== undefined && table.isEmpty) this.#named.delete(sni);
  }

  find(facts: StreamFactsToMatch): T | null {
    const named = facts.serverName === null ? null : this.#findNamed(facts.serverName, facts);
    return (named ?? this.#unnamed.find(facts))?.value ?? null;
  }

  /** A wildcard stands for any number of labels: no certificate depends on it. */
  #findNamed(name: string, facts: StreamFactsToMatch): Entry<T> | null {
    if (this.#named.size === 0) return null;
    const exact = this.#named.get(name)?.find(facts) ?? null;
    if (exact !== null) return exact;
    for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1)) {
      const entry = this.#named.get(`*${name.slice(dot)}`)?.find(facts) ?? null;
      if (entry !== null) return entry;
    }
    return this.#named.get("*")?.find(facts) ?? null;
  }

  #tableFor(sni: string | undefined): PortTable<T> {
    if (sni === undefined) return this.#unnamed;
    let table = this.#named.get(sni);
    if (table === undefined) this.#named.set(sni, (table = new PortTable()));
    return table;
  }
}

function first<T>(list: readonly Entry<T>[], facts: StreamFactsToMatch): Entry<T> | null {
  for (let i = 0; i < list.length; i++) {
    const { remote, server } = list[i];
    if (remote !== null && !remote.has(facts.remoteAddress)) continue;
    if (server === null || server.has(facts.serverAddress)) return list[i];
  }
  return null;
}

function isBefore(a: StreamMatcher, b: StreamMatcher): boolean {
  return a.created < b.created || (a.created === b.created && a.id < b.id);
}

/** Where it belongs in a sorted list. */
function placeOf<T>(list: readonly Entry<T>[], matcher: StreamMatcher): number {
  let from = 0;
  let to = list.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (isBefore(list[middle].matcher, matcher)) from = middle + 1;
    else to = middle;
  }
  return from;
}
