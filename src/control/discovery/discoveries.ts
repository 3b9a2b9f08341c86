/**
 * Discovery on this machine, put together: which services the configuration needs, the sources that know their nodes,
 * what is known, and the items of the configuration with the nodes filled in. Runs in control, once for all workers.
 *
 * A change of nodes is a change of the items that use them, published like any other; nothing else follows.
 */

import { isIP } from "node:net";
import { join } from "node:path";
import type { FactFamily, FactSample } from "../fact-families.ts";
import type { DefaultNode, DiscoveryConfig, DumpConfig } from "../../config/discovery.ts";
import type { Log } from "../../lib/log.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import { DumpFile } from "./dump-file.ts";
import { Holders } from "./holders.ts";
import { type DiscoveredNode, type Findings, labelOf, type Need, type NodeSource } from "./node-source.ts";
import { NodeTable, type ServiceNodes } from "./node-table.ts";
import { SavedNodes } from "./saved-nodes.ts";

/** One kind of discovery that the static file sets up. */
export interface SourcePlan {
  type: string;
  open(findings: Findings): NodeSource;
  dump: DumpConfig | null;
  /** Serves where no node is known. */
  defaultNode: (DefaultNode & { weight: number }) | null;
  /** For who looks, without secrets. */
  shownConfig: object;
}

export interface DiscoveriesParts {
  config: Pick<DiscoveryConfig, "trustsEmpty">;
  plans: readonly SourcePlan[];
  /** Whether the place is a listener of this node that is none for traffic: registries open no way there. */
  isOwnListener?: (host: string, port: number) => boolean;
  dataFolder: string;
  log: Log;
}

export interface DiscoveryLine {
  publish(item: ConfigurationItem): void;
  /** Names among the nodes are others than before. */
  onHosts(): void;
}

interface Opened {
  plan: SourcePlan;
  source: NodeSource;
  dump: DumpFile | null;
}

export class Discoveries {
  readonly #log: Log;
  readonly #isOwnListener: (host: string, port: number) => boolean;
  readonly #table: NodeTable;
  readonly #holders: Holders;
  readonly #saved: SavedNodes;
  readonly #sources = new Map<string, Opened>();
  readonly #toldMissing = new Set<string>();
  #line: DiscoveryLine | null = null;
  #turn: NodeJS.Immediate | null = null;
  #hostsTurn: NodeJS.Immediate | null = null;
  #hosts = new Set<string>();
  #wasReady = false;
  #isClosed = false;

  constructor({ config, plans, isOwnListener = () => false, dataFolder, log }: DiscoveriesParts) {
    this.#log = log;
    this.#isOwnListener = isOwnListener;
    this.#saved = new SavedNodes(join(dataFolder, "discovery.json"), log);
    this.#table = new NodeTable({
      trustsEmpty: config.trustsEmpty,
      onChange: (key) => this.#onChange(key),
      onFailure: (type, reason, key) =>
        log.warn("a discovery fails; the last nodes serve on", { type, reason, service: key }),
      onEmpty: (key) => log.warn("a discovery lists no node; the last ones serve on", { service: key }),
    });
    this.#holders = new Holders((key) => this.#nodesOf(key), {
      onNeed: (need) => this.#add(need),
      onNeedGone: (need) => this.#remove(need),
    });
    for (const plan of plans) {
      const dump = plan.dump === null ? null : new DumpFile(plan.dump, log);
      this.#sources.set(plan.type, { plan, source: plan.open(this.#table), dump });
    }
  }

  /** Where changes go. */
  connect(line: DiscoveryLine): void {
    this.#line = line;
  }

  /** An item as the state has it; gives it as it is published. */
  take(item: ConfigurationItem): ConfigurationItem {
    this.#holders.take(item);
    return this.#holders.filled(item);
  }

  /** The same for an item that was taken before. */
  filled(item: ConfigurationItem): ConfigurationItem {
    return this.#holders.filled(item);
  }

  /** Names (not addresses) among the nodes. */
  hosts(): ReadonlySet<string> {
    return this.#hosts;
  }

  /** Why the node must get no traffic yet; null: every service was asked for once since the start. */
  objection(): string | null {
    if (this.#wasReady) return null;
    for (const { need, nodes, answeredAt, failures } of this.#table.list()) {
      const isKnown = nodes !== null || answeredAt !== null || failures > 0;
      if (!isKnown && this.#sources.has(need.type))
        return `discovery: ${need.key} has not been looked up yet`;
    }
    this.#wasReady = true;
    return null;
  }

  types(): Iterable<string> {
    return this.#sources.keys();
  }

  shownConfig(type: string): object {
    return this.#sources.get(type)!.plan.shownConfig;
  }

  dumpFile(type: string): DumpFile | null {
    return this.#sources.get(type)?.dump ?? null;
  }

  /** What is known of the services in use; `service`: of those that upstreams name so. */
  services(type: string, service?: string): ServiceNodes[] {
    const list: ServiceNodes[] = [];
    for (const each of this.#table.list()) {
      if (each.need.type !== type || (service !== undefined && each.need.service !== service)) continue;
      list.push(each);
    }
    return list;
  }

  /** Names like "upstream/1" of the items that use the service. */
  usersOf(key: string): string[] {
    return this.#holders.usersOf(key);
  }

  /** Takes a node out until the source no longer lists it. False: it is not there. */
  exclude(key: string, place: string): boolean {
    return this.#table.exclude(key, place);
  }

  async refresh(type: string): Promise<void> {
    await this.#sources.get(type)?.source.refresh();
  }

  families(now: number = Date.now()): FactFamily[] {
    const ages: FactSample[] = [];
    const nodes: FactSample[] = [];
    const held: FactSample[] = [];
    for (const service of this.#table.list()) {
      const labels = { type: service.need.type, service: labelOf(service.need) };
      nodes.push({ labels, value: service.nodes?.length ?? 0 });
      held.push({ labels, value: service.isHeld ? 1 : 0 });
      if (service.answeredAt === null) continue;
      ages.push({ labels, value: Math.max(0, now - service.answeredAt) / 1000 });
    }
    const failures: FactSample[] = [];
    const empty: FactSample[] = [];
    for (const type of this.#sources.keys()) {
      const counts = this.#table.counts(type);
      failures.push({ labels: { type }, value: counts.failures });
      empty.push({ labels: { type }, value: counts.emptyAnswers });
    }
    return [
      gauge("discovery_nodes", "Nodes that are known of a discovered service", nodes),
      gauge("discovery_age_seconds", "Time since the nodes of a service were confirmed", ages),
      gauge("discovery_held", "1 while a service is listed without nodes and its last ones serve on", held),
      counter("discovery_failures_total", "Questions to a discovery that failed", failures),
      counter("discovery_empty_answers_total", "Answers of a discovery without a node for a service", empty),
    ].filter(({ samples }) => samples.length > 0);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#hostsTurn !== null) clearImmediate(this.#hostsTurn);
    for (const { source } of this.#sources.values()) source.close();
    if (this.#sources.size > 0) this.#saved.write(this.#known());
  }

  #nodesOf(key: string): readonly DiscoveredNode[] {
    const service = this.#table.get(key);
    const nodes = (service?.nodes ?? []).filter(({ host, port }) => !this.#isOwnListener(host, port));
    if (nodes.length > 0 || service === undefined) return nodes;
    const standIn = this.#sources.get(service.need.type)?.plan.defaultNode;
    return standIn == null ? nodes : [standIn];
  }

  #add(need: Need): void {
    const opened = this.#sources.get(need.type);
    if (opened === undefined && !this.#toldMissing.has(need.type)) {
      this.#toldMissing.add(need.type);
      this.#log.warn("an upstream names a discovery that is not set up", {
        type: need.type,
        service: labelOf(need),
        set_up: [...this.#sources.keys()],
      });
    }
    this.#table.add(need, this.#saved.take(need.key) ?? opened?.dump?.nodesOf(labelOf(need)) ?? null);
    this.#watchSoon();
    this.#seeHostsSoon();
  }

  #remove({ key }: Need): void {
    const nodes = this.#table.get(key)?.nodes;
    if (nodes != null) this.#saved.keep(key, nodes);
    this.#table.remove(key);
    this.#watchSoon();
    this.#seeHostsSoon();
  }

  /** Many items may come in one turn. */
  #watchSoon(): void {
    if (this.#isClosed) return;
    this.#turn ??= setImmediate(() => {
      this.#turn = null;
      const byType = new Map<string, Need[]>();
      for (const need of this.#holders.needs()) {
        const needs = byType.get(need.type);
        if (needs === undefined) byType.set(need.type, [need]);
        else needs.push(need);
      }
      for (const [type, { source }] of this.#sources) source.watch(byType.get(type) ?? []);
    });
  }

  #onChange(key: string): void {
    this.#seeHostsSoon();
    for (const item of this.#holders.itemsOf(key)) this.#line?.publish(item);
    this.#saved.writeSoon(() => this.#known());
    const type = this.#table.get(key)!.need.type;
    this.#sources.get(type)?.dump?.writeSoon(() => this.#listed(type));
  }

  *#known(): IterableIterator<readonly [string, readonly DiscoveredNode[]]> {
    for (const { need, nodes } of this.#table.list()) if (nodes !== null) yield [need.key, nodes];
  }

  *#listed(type: string): IterableIterator<readonly [string, readonly DiscoveredNode[]]> {
    for (const { need, nodes } of this.services(type)) if (nodes !== null) yield [labelOf(need), nodes];
  }

  /** Once for all services that change in one turn: it looks at every node of all of them. */
  #seeHostsSoon(): void {
    if (this.#isClosed) return;
    this.#hostsTurn ??= setImmediate(() => {
      this.#hostsTurn = null;
      this.#seeHosts();
    });
  }

  #seeHosts(): void {
    const hosts = new Set<string>();
    for (const { need } of this.#table.list()) {
      for (const { host } of this.#nodesOf(need.key)) if (isIP(host) === 0) hosts.add(host);
    }
    if (hosts.size === this.#hosts.size && [...hosts].every((host) => this.#hosts.has(host))) return;
    this.#hosts = hosts;
    this.#line?.onHosts();
  }
}

function gauge(name: string, help: string, samples: FactSample[]): FactFamily {
  return { name, type: "gauge", help, samples };
}

function counter(name: string, help: string, samples: FactSample[]): FactFamily {
  return { name, type: "counter", help, samples };
}
