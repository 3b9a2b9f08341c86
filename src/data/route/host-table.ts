/**
 * Path tables by host: exact hosts in a map, `*suffix` entries in a table that reads hosts from their end.
 */

import { PathTable } from "./path-table.ts";
import { PrefixTable, type PrefixCursor } from "./prefix-table.ts";

export class HostTable<T> {
  readonly #exact = new Map<string, PathTable<T>>();
  readonly #wildcards = new PrefixTable<PathTable<T>>(true);

  get isEmpty(): boolean {
    return this.#exact.size === 0 && this.#wildcards.size === 0;
  }

  exact(host: string): PathTable<T> | undefined {
    return this.#exact.get(host);
  }

  /** The table of the longest wildcard that fits; `nextWildcard` goes on from there. */
  firstWildcard(host: string, cursor: PrefixCursor): PathTable<T> | null {
    return this.#wildcards.size === 0 ? null : this.#wildcards.first(host, cursor);
  }

  nextWildcard(host: string, cursor: PrefixCursor): PathTable<T> | null {
    return this.#wildcards.next(host, cursor);
  }

  /** The table of a `hosts` entry (lower case), made if it is missing. */
  ensure(entry: string): PathTable<T> {
    let table = this.find(entry);
    if (table !== null) return table;
    table = new PathTable(entry);
    if (isWildcard(entry)) this.#wildcards.set(table.prefix, table);
    else this.#exact.set(entry, table);
    return table;
  }

  find(entry: string): PathTable<T> | null {
    if (isWildcard(entry)) return this.#wildcards.get(entry.slice(1));
    return this.#exact.get(entry) ?? null;
  }

  /** Forgets the table of an entry if nothing is left in it. */
  dropIfEmpty(entry: string): void {
    if (this.find(entry)?.isEmpty !== true) return;
    if (isWildcard(entry)) this.#wildcards.delete(entry.slice(1));
    else this.#exact.delete(entry);
  }
}

function isWildcard(entry: string): boolean {
  return entry.startsWith("*");
}
