/**
 * Gives the nodes of upstreams with `outlier` their place in the health table. Workers count errors there and eject
 * by themselves, so that it goes on whatever becomes of control.
 */

import { isIP } from "node:net";
import type { FactFamily } from "../fact-families.ts";
import type { Log } from "../../lib/log.ts";
import type { PublishedAddress, PublishedUpstream } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import type { HealthRegistry } from "../../shared/health-registry.ts";
import { outlierKey } from "../../shared/health-table.ts";
import { keyOfItem, upstreamOfItem } from "./items.ts";
import { type NodeSample, nodeSamples } from "./node-samples.ts";
import { portOf } from "./targets.ts";

interface Place {
  slot: number;
  address: string;
  port: number;
}

interface Watched {
  upstream: PublishedUpstream;
  /** By "host|address|port". */
  places: Map<string, Place>;
}

export class OutlierSlots {
  readonly #registry: HealthRegistry;
  readonly #log: Log;
  readonly #watched = new Map<string, Watched>();
  readonly #addresses = new Map<string, readonly string[]>();

  constructor(registry: HealthRegistry, log: Log) {
    this.#registry = registry;
    this.#log = log;
  }

  /** An item as it is published to workers. */
  take(item: ConfigurationItem): void {
    if (item.kind === "address") this.#takeAddress(item);
    const key = keyOfItem(item);
    if (key === null) return;
    this.put(key, upstreamOfItem(item, '"outlier"'));
  }

  /** The upstream with that health key, or none any more. */
  put(key: string, upstream: PublishedUpstream | null): void {
    const watched = this.#watched.get(key);
    if (upstream === null || upstream.outlier === undefined) {
      if (watched === undefined) return;
      this.#watched.delete(key);
      for (const { slot } of watched.places.values()) this.#registry.release(slot);
    } else if (watched === undefined) {
      const added = { upstream, places: new Map<string, Place>() };
      this.#watched.set(key, added);
      this.#place(key, added);
    } else {
      watched.upstream = upstream;
      this.#place(key, watched);
    }
  }

  /** `upstream_ejected`: 1 for nodes that are ejected now. */
  ejected(nowMs: number, prefix: string): FactFamily {
    const nodes: NodeSample[] = [];
    for (const [key, { places }] of this.#watched) {
      for (const { slot, address, port } of places.values()) {
        const value = this.#registry.table.ejectedUntil(slot) > nowMs ? 1 : 0;
        nodes.push({ name: prefix + key, address, port, value });
      }
    }
    const help = "Nodes of upstreams that are ejected for their errors";
    return { name: "upstream_ejected", type: "gauge", help, samples: nodeSamples(nodes, Math.max) };
  }

  #takeAddress({ id, value }: ConfigurationItem): void {
    if (value === null) this.#addresses.delete(id);
    else this.#addresses.set(id, (JSON.parse(value) as PublishedAddress).addresses);
    for (const [key, watched] of this.#watched) {
      if (watched.upstream.nodes.some(({ host }) => host === id)) this.#place(key, watched);
    }
  }

  #place(key: string, watched: Watched): void {
    const { upstream, places: before } = watched;
    const places = new Map<string, Place>();
    for (const node of upstream.nodes) {
      const port = portOf(upstream, node.port);
      const addresses = isIP(node.host) === 0 ? (this.#addresses.get(node.host) ?? []) : [node.host];
      for (const address of addresses) {
        const name = `${node.host}|${address}|${port}`;
        const slot =
          before.get(name)?.slot ?? this.#registry.claim(outlierKey(key, node.host, address, port));
        if (slot === -1)
          this.#log.error("the table of health is full: a node is not watched", { key, address });
        else places.set(name, { slot, address, port });
      }
    }
    watched.places = places;
    for (const [name, { slot }] of before) if (!places.has(name)) this.#registry.release(slot);
  }
}
