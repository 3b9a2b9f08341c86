/**
 * Certificates by server name: exact names, a wildcard for one label ("*.a.com"), and "*" for every name. The most
 * specific one is taken; of several for one name the oldest, as with routes.
 */

interface Named {
  readonly id: string;
  readonly created: number;
}

export class ServerNames<T extends Named> {
  readonly #exact = new Map<string, T[]>();
  /** By what follows the asterisk. */
  readonly #wildcards = new Map<string, T[]>();
  /** Wildcards that do not begin at a dot ("*a.com"), which are rare: without them one look is enough. */
  #oddWildcards = 0;

  /** Names are lower case. */
  add(names: readonly string[], item: T): void {
    for (const name of names) {
      const list = this.#listOf(name, true)!;
      if (list.length === 0 && isOdd(name)) this.#oddWildcards++;
      list.push(item);
      list.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
    }
  }

  remove(names: readonly string[], item: T): void {
    for (const name of names) {
      const list = this.#listOf(name, false);
      const at = list === undefined ? -1 : list.indexOf(item);
      if (at === -1) continue;
      list!.splice(at, 1);
      if (list!.length > 0) continue;
      if (isOdd(name)) this.#oddWildcards--;
      if (name.startsWith("*")) this.#wildcards.delete(name.slice(1));
      else this.#exact.delete(name);
    }
  }

  find(name: string): T | null {
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact[0];
    if (this.#wildcards.size === 0) return null;
    const dot = name.indexOf(".");
    const end = dot === -1 ? name.length : dot;
    for (let at = this.#oddWildcards > 0 ? 1 : end; at <= end; at++) {
      const found = at === 0 ? undefined : this.#wildcards.get(name.slice(at));
      if (found !== undefined) return found[0];
    }
    return this.#wildcards.get("")?.[0] ?? null;
  }

  /** Of the nearest wildcard for which the name has labels too many. */
  above(name: string): T | null {
    if (this.#wildcards.size === 0) return null;
    for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1)) {
      const found = this.#wildcards.get(name.slice(dot));
      if (found !== undefined) return found[0];
    }
    return null;
  }

  #listOf(name: string, isWanted: boolean): T[] | undefined {
    const isWildcard = name.startsWith("*");
    const map = isWildcard ? this.#wildcards : this.#exact;
    const key = isWildcard ? name.slice(1) : name;
    let list = map.get(key);
    if (list === undefined && isWanted) map.set(key, (list = []));
    return list;
  }
}

function isOdd(name: string): boolean {
  return name.startsWith("*") && name !== "*" && name[1] !== ".";
}
