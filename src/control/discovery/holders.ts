/**
 * Items of the configuration with upstreams whose nodes are discovered, wherever they stand (alone, inside a route or
 * service, inside a plugin): which services they need, and the items as they are published, with the nodes filled in.
 * So nothing that follows published items (workers, the health checker, drains) knows of discovery.
 */

import type { PublishedNode, PublishedUpstream } from "../../model/published.ts";
import { defaultPortOf } from "../../model/schemes.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { type DiscoveredNode, type Need, needOf } from "./node-source.ts";

const MARK = '"discovery_type":';
/** Of the service with that key, as far as they are known. */
export type NodesOf = (key: string) => readonly DiscoveredNode[];

export interface HolderHooks {
  /** A service is used that nobody used before. */
  onNeed(need: Need): void;
  onNeedGone(need: Need): void;
}

interface Holder {
  kind: ConfigurationItem["kind"];
  id: string;
  /** Without nodes. */
  text: string;
  needs: readonly Need[];
}

export class Holders {
  readonly #nodesOf: NodesOf;
  readonly #hooks: HolderHooks;
  readonly #holders = new Map<string, Holder>();
  readonly #usersOf = new Map<string, Set<string>>();
  readonly #needs = new Map<string, Need>();

  constructor(nodesOf: NodesOf, hooks: HolderHooks) {
    this.#nodesOf = nodesOf;
    this.#hooks = hooks;
  }

  /** An item as the state has it. */
  take({ kind, id, value }: ConfigurationItem): void {
    const name = `${kind}/${id}`;
    const before = this.#holders.get(name);
    const isHolder = value !== null && value.includes(MARK);
    if (!isHolder && before === undefined) return;
    const needs = isHolder ? needsIn(JSON.parse(value)) : [];
    for (const need of needs) this.#use(need, name);
    for (const { key } of before?.needs ?? []) {
      if (!needs.some((need) => need.key === key)) this.#disuse(key, name);
    }
    if (needs.length === 0) this.#holders.delete(name);
    else this.#holders.set(name, { kind, id, text: value!, needs });
  }

  /** The same item with the nodes that are known now. */
  filled(item: ConfigurationItem): ConfigurationItem {
    const holder = this.#holders.get(`${item.kind}/${item.id}`);
    if (holder === undefined || item.value === null) return item;
    return { ...item, value: this.#fill(holder) };
  }

  /** All items that need this service, filled. */
  *itemsOf(key: string): IterableIterator<ConfigurationItem> {
    for (const name of this.#usersOf.get(key) ?? []) {
      const holder = this.#holders.get(name)!;
      yield { kind: holder.kind, id: holder.id, value: this.#fill(holder) };
    }
  }

  needs(): Need[] {
    return [...this.#needs.values()];
  }

  /** Names like "upstream/1" of the items that need this service. */
  usersOf(key: string): string[] {
    return [...(this.#usersOf.get(key) ?? [])];
  }

  #fill(holder: Holder): string {
    const value: unknown = JSON.parse(holder.text);
    eachUpstream(value, (upstream, { key }) => {
      upstream.nodes = this.#nodesOf(key).map((node) => published(node, upstream.scheme));
    });
    return JSON.stringify(value);
  }

  #use(need: Need, name: string): void {
    const users = this.#usersOf.get(need.key);
    if (users !== undefined) {
      users.add(name);
      return;
    }
    this.#usersOf.set(need.key, new Set([name]));
    this.#needs.set(need.key, need);
    this.#hooks.onNeed(need);
  }

  #disuse(key: string, name: string): void {
    const users = this.#usersOf.get(key)!;
    users.delete(name);
    if (users.size > 0) return;
    this.#usersOf.delete(key);
    const need = this.#needs.get(key)!;
    this.#needs.delete(key);
    this.#hooks.onNeedGone(need);
  }
}

function published(node: DiscoveredNode, scheme: PublishedUpstream["scheme"]): PublishedNode {
  const { host, port, weight, priority = 0, metadata } = node;
  const filled: PublishedNode = { host, port: port || (defaultPortOf(scheme) ?? 0), weight, priority };
  if (metadata !== undefined) filled.metadata = metadata;
  return filled;
}

function needsIn(value: unknown): Need[] {
  const needs = new Map<string, Need>();
  eachUpstream(value, (_, need) => needs.set(need.key, need));
  return [...needs.values()];
}

/** Depth is bounded: the model bounds that of stored JSON. */
function eachUpstream(value: unknown, visit: (upstream: PublishedUpstream, need: Need) => void): void {
  if (typeof value !== "object" || value === null) return;
  const upstream = value as Partial<PublishedUpstream>;
  if (typeof upstream.discovery_type === "string" && Array.isArray(upstream.nodes)) {
    const need = needOf(upstream as PublishedUpstream);
    if (need !== null) visit(upstream as PublishedUpstream, need);
    return;
  }
  for (const inner of Object.values(value)) eachUpstream(inner, visit);
}
