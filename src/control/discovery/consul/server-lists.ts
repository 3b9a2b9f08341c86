/**
 * What several servers list of the same services, put together: all of it while they answer. The list of a server that
 * fails counts only for services of which no other server knows a node, since the others know what has changed.
 */

import type { ConsulDiscoveryConfig } from "../../../config/discovery.ts";
import { placeOf } from "../node-table.ts";
import type { DiscoveredNode } from "../node-source.ts";

type Lists = ReadonlyMap<string, readonly DiscoveredNode[]>;

export class ServerLists {
  readonly #servers: readonly string[];
  readonly #lists = new Map<string, { services: Lists; isFailing: boolean }>();
  /** Servers that fail and have never told anything. */
  readonly #silent = new Set<string>();

  constructor(servers: readonly string[]) {
    this.#servers = servers;
  }

  answered(server: string, services: Lists): void {
    this.#silent.delete(server);
    this.#lists.set(server, { services, isFailing: false });
  }

  /** False: it was failing already. */
  failed(server: string): boolean {
    const list = this.#lists.get(server);
    const isNew = list === undefined ? !this.#silent.has(server) : !list.isFailing;
    if (list === undefined) this.#silent.add(server);
    else list.isFailing = true;
    return isNew;
  }

  /** Some server answers. */
  get isFresh(): boolean {
    for (const { isFailing } of this.#lists.values()) if (!isFailing) return true;
    return false;
  }

  /** What this server listed last. */
  of(server: string, service: string): readonly DiscoveredNode[] {
    return this.#lists.get(server)?.services.get(service) ?? [];
  }

  /** Null: no server has told anything yet, or none of them knows a node and one has still to say. */
  nodesOf(service: string, sort: ConsulDiscoveryConfig["sort"]): DiscoveredNode[] | null {
    if (this.#lists.size === 0) return null;
    const all = [...this.#lists.values()];
    const fresh = merged(
      all.filter(({ isFailing }) => !isFailing),
      service,
    );
    const nodes = fresh.length > 0 ? fresh : merged(all, service);
    const isOpen = this.#servers.some((server) => !this.#lists.has(server) && !this.#silent.has(server));
    if (nodes.length === 0 && isOpen) return null;
    switch (sort) {
      case "host_sort":
        return nodes.sort(byHost);
      case "port_sort":
        return nodes.sort((a, b) => a.port - b.port);
      case "combine_sort":
        return nodes.sort((a, b) => byHost(a, b) || a.port - b.port);
      default:
        return nodes;
    }
  }
}

function merged(lists: readonly { services: Lists }[], service: string): DiscoveredNode[] {
  const nodes = new Map<string, DiscoveredNode>();
  for (const { services } of lists) {
    for (const node of services.get(service) ?? []) {
      const place = placeOf(node);
      if (!nodes.has(place)) nodes.set(place, node);
    }
  }
  return [...nodes.values()];
}

function byHost(a: DiscoveredNode, b: DiscoveredNode): number {
  return a.host < b.host ? -1 : a.host > b.host ? 1 : 0;
}
