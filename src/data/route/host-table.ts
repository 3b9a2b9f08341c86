/**
 * Path tables by host: exact hosts in a map, `*suffix` entries in a tree that is read from the end of the host.
 */

import { PathTable } from "./path-table.ts";
import { PrefixTree } from "./prefix-tree.ts";

export class HostTable<T> {
  readonly #exact = new Map<string, PathTable<T>>();
  readonly #wildcards = new PrefixTree<PathTable<T>>();

  get isEmpty(): boolean {
    return this.#exact.size === 0 && this.#wildcards.isEmpty;
  }

  exact(host: string): PathTable<T> | undefined {
    return this.#exact.get(host);
  }

  /** Where lookups of wildcards begin; climb with `shorter`. */
  longestWildcard(host: string) {
    return this.#wildcards.isEmpty ? null : this.#wildcards.longestFromEnd(host);
  }

  /** The table of a `hosts` entry (lower case), made if it is missing. */
  ensure(entry: string): PathTable<T> {
    if (!entry.startsWith("*")) {
      let table = this.#exact.get(entry);
      if (table === undefined) this.#exact.set(entry, (table = new PathTable(entry)));
      return table;
    }
    const node = this.#wildcards.ensure(reversedTail(entry));
    return (node.value ??= new PathTable(entry));
  }

  find(entry: string): PathTable<T> | null {
    if (!entry.startsWith("*")) return this.#exact.get(entry) ?? null;
    return this.#wildcards.find(reversedTail(entry))?.value ?? null;
  }

  /** Forgets the table of an entry if nothing is left in it. */
  dropIfEmpty(entry: string): void {
    if (!entry.startsWith("*")) {
      if (this.#exact.get(entry)?.isEmpty) this.#exact.delete(entry);
      return;
    }
    const node = this.#wildcards.find(reversedTail(entry));
    if (!node?.value?.isEmpty) return;
    node.value = null;
    this.#wildcards.prune(node);
  }
}

/** "*.a.com" → "moc.a." */
function reversedTail(entry: string): string {
  let reversed = "";
  for (let i = entry.length - 1; i > 0; i--) reversed += entry.charAt(i);
  return reversed;
}
