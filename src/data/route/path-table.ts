/**
 * The routes of one host by path: exact paths first, then prefixes from the longest to the shortest.
 *
 * Routes that share a path or a prefix form a chain in the order in which they are tried. With one exact path, the common
 * case of tables per host, the chain itself is the table and no map is made.
 */

import type { RouteConditions } from "./conditions.ts";
import { PrefixTree } from "./prefix-tree.ts";

/** A route as the router holds it: one per route, however many paths and hosts it has. */
export class RouteRecord<T> {
  readonly id: string;
  readonly value: T;
  readonly priority: number;
  readonly createdOrder: number;
  /** Bits of the methods, 0 for any. */
  readonly methods: number;
  readonly conditions: RouteConditions | null;
  /** Kept for the removal. */
  readonly uris: readonly string[];
  readonly hosts: readonly string[] | null;

  constructor(
    id: string,
    value: T,
    priority: number,
    createdOrder: number,
    methods: number,
    conditions: RouteConditions | null,
    uris: readonly string[],
    hosts: readonly string[] | null,
  ) {
    this.id = id;
    this.value = value;
    this.priority = priority;
    this.createdOrder = createdOrder;
    this.methods = methods;
    this.conditions = conditions;
    this.uris = uris;
    this.hosts = hosts;
  }
}

/** One path of one route, and the route that is tried after it. */
export class RouteEntry<T> {
  readonly uri: string;
  readonly record: RouteRecord<T>;
  /** Length of the checked prefix where the rest is a template; -1 where nothing is left to check. */
  readonly templateFrom: number;
  next: RouteEntry<T> | null = null;

  constructor(uri: string, record: RouteRecord<T>, templateFrom: number) {
    this.uri = uri;
    this.record = record;
    this.templateFrom = templateFrom;
  }
}

/** Higher priority, then the longer path, then the older route. Ids make the order total. */
function precedes<T>(a: RouteEntry<T>, b: RouteEntry<T>): boolean {
  const left = a.record;
  const right = b.record;
  if (left.priority !== right.priority) return left.priority > right.priority;
  if (a.uri.length !== b.uri.length) return a.uri.length > b.uri.length;
  if (left.createdOrder !== right.createdOrder) return left.createdOrder < right.createdOrder;
  return left.id < right.id;
}

function link<T>(head: RouteEntry<T> | null, entry: RouteEntry<T>): RouteEntry<T> {
  if (head === null || precedes(entry, head)) {
    entry.next = head;
    return entry;
  }
  let before = head;
  while (before.next !== null && !precedes(entry, before.next)) before = before.next;
  entry.next = before.next;
  before.next = entry;
  return head;
}

function unlink<T>(head: RouteEntry<T> | null, record: RouteRecord<T>): RouteEntry<T> | null {
  let first = head;
  while (first !== null && first.record === record) first = first.next;
  for (let kept = first; kept !== null; kept = kept.next) {
    while (kept.next !== null && kept.next.record === record) kept.next = kept.next.next;
  }
  return first;
}

export class PathTable<T> {
  /** The `hosts` entry that this table stands for; "" for routes without. */
  readonly host: string;
  /** One chain while there is one exact path, a map of chains from the second on. */
  #exact: RouteEntry<T> | Map<string, RouteEntry<T>> | null = null;
  /** Null while there are no prefixes. */
  prefixes: PrefixTree<RouteEntry<T>> | null = null;

  constructor(host: string) {
    this.host = host;
  }

  get isEmpty(): boolean {
    return this.#exact === null && this.prefixes === null;
  }

  /** Head of the chain of exactly this path. */
  exact(path: string): RouteEntry<T> | null {
    const exact = this.#exact;
    if (exact === null) return null;
    if (exact instanceof RouteEntry) return exact.uri === path ? exact : null;
    return exact.get(path) ?? null;
  }

  addExact(entry: RouteEntry<T>): void {
    const exact = this.#exact;
    if (exact === null) {
      this.#exact = entry;
    } else if (exact instanceof Map) {
      exact.set(entry.uri, link(exact.get(entry.uri) ?? null, entry));
    } else if (exact.uri === entry.uri) {
      this.#exact = link(exact, entry);
    } else {
      this.#exact = new Map([
        [exact.uri, exact],
        [entry.uri, entry],
      ]);
    }
  }

  removeExact(path: string, record: RouteRecord<T>): void {
    const exact = this.#exact;
    if (exact === null) return;
    if (exact instanceof RouteEntry) {
      if (exact.uri === path) this.#exact = unlink(exact, record);
      return;
    }
    const rest = unlink(exact.get(path) ?? null, record);
    if (rest !== null) exact.set(path, rest);
    else if (exact.delete(path) && exact.size === 0) this.#exact = null;
  }

  addPrefix(prefix: string, entry: RouteEntry<T>): void {
    this.prefixes ??= new PrefixTree();
    const node = this.prefixes.ensure(prefix);
    node.value = link(node.value, entry);
  }

  removePrefix(prefix: string, record: RouteRecord<T>): void {
    const node = this.prefixes?.find(prefix);
    if (node === null || node === undefined || node.value === null) return;
    node.value = unlink(node.value, record);
    if (node.value !== null) return;
    this.prefixes!.prune(node);
    if (this.prefixes!.isEmpty) this.prefixes = null;
  }
}
