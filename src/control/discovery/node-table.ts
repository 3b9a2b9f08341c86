/**
 * The nodes of every service in use, as far as they are known: one rule for all discoveries about what becomes of them
 * when a source fails or says something strange.
 *
 * - A source that fails changes nothing: the last good nodes serve on.
 * - An answer without nodes does not empty a service that had some, unless the setting says that it may: a registry
 *   that has just started again knows nobody.
 * - Nodes that cannot be (a host that is neither an address nor a name, a port beyond 65535) are left out, whether a registry
 *   or a file says so; an answer with nothing else is a failure. Hosts get into header fields, so nothing else may pass.
 * - A node that was taken out by hand (`exclude`) stays out until the source has listed the service without it once.
 */

import { isIP } from "node:net";
import type { DiscoveredNode, Findings, Need } from "./node-source.ts";

/** Nodes of a service beyond it are left out. */
const MAX_NODES = 10_000;
/** After it a node that was taken out comes back if it is listed still. */
const EXCLUDED_FOR_MS = 600_000;
const MAX_HOST_LENGTH = 253;
const MAX_WEIGHT = 1_000_000;
const HOST_NAME = /^[0-9a-zA-Z._-]+$/;
/** Of what instances say of themselves, text, numbers and claims are kept. */
const MAX_METADATA = 100;
const MAX_METADATA_LENGTH = 1024;

export interface ServiceNodes {
  readonly need: Need;
  /** Null: nobody has told any yet. */
  nodes: readonly DiscoveredNode[] | null;
  /** Milliseconds since 1970 of the last answer, or of the last word that nothing changed; null: none yet. */
  answeredAt: number | null;
  /** Failures since the last answer. */
  failures: number;
  lastFailure: string | null;
  /** The last answer had no nodes, and those before it serve on. */
  isHeld: boolean;
  /** "host:port" → until when it is kept out, by a clock that nobody sets. */
  readonly excluded: Map<string, number>;
}

export interface TableCounts {
  failures: number;
  emptyAnswers: number;
}

export interface TableParts {
  /** Whether an answer without nodes empties a service. */
  trustsEmpty: boolean;
  /** The nodes of a service are other than before. */
  onChange(key: string): void;
  /** The first of failures in a row; `key`: of one service only. */
  onFailure(type: string, reason: string, key: string | undefined): void;
  /** The first answer in a row that has no nodes and empties nothing. */
  onEmpty(key: string): void;
  /** Milliseconds since 1970. */
  now?: () => number;
  /** Monotonic milliseconds. */
  elapsed?: () => number;
}

export class NodeTable implements Findings {
  readonly #parts: TableParts;
  readonly #now: () => number;
  readonly #elapsed: () => number;
  readonly #services = new Map<string, ServiceNodes>();
  readonly #counts = new Map<string, TableCounts>();

  constructor(parts: TableParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#elapsed = parts.elapsed ?? (() => performance.now());
  }

  /** `saved`: what an earlier run knew; serves until the source answers. */
  add(need: Need, saved: readonly DiscoveredNode[] | null): void {
    const nodes = saved === null ? null : usableNodes(saved);
    const isNone = nodes === null || (nodes.length === 0 && saved!.length > 0);
    this.#services.set(need.key, {
      need,
      nodes: isNone ? null : nodes,
      answeredAt: null,
      failures: 0,
      lastFailure: null,
      isHeld: false,
      excluded: new Map(),
    });
  }

  remove(key: string): void {
    this.#services.delete(key);
  }

  get(key: string): ServiceNodes | undefined {
    return this.#services.get(key);
  }

  list(): Iterable<ServiceNodes> {
    return this.#services.values();
  }

  counts(type: string): TableCounts {
    let counts = this.#counts.get(type);
    if (counts === undefined) this.#counts.set(type, (counts = { failures: 0, emptyAnswers: 0 }));
    return counts;
  }

  answer(key: string, listed: readonly DiscoveredNode[]): void {
    const service = this.#services.get(key);
    if (service === undefined) return;
    const usable = usableNodes(listed);
    if (usable.length === 0 && listed.length > 0) {
      this.fail(service.need.type, "none of the nodes that were listed can be used", key);
      return;
    }
    service.answeredAt = this.#now();
    service.failures = 0;
    service.lastFailure = null;
    this.#readmit(service, usable);
    const nodes = usable.filter((node) => !service.excluded.has(placeOf(node)));
    const wasHeld = service.isHeld;
    const hadNodes = service.nodes !== null && service.nodes.length > 0;
    service.isHeld = usable.length === 0 && hadNodes && !this.#parts.trustsEmpty;
    if (usable.length === 0) {
      this.counts(service.need.type).emptyAnswers++;
      if (service.isHeld) {
        if (!wasHeld) this.#parts.onEmpty(key);
        return;
      }
    }
    this.#set(service, nodes);
  }

  confirm(type: string): void {
    for (const service of this.#services.values()) {
      if (service.need.type !== type || service.answeredAt === null || service.failures > 0) continue;
      service.answeredAt = this.#now();
    }
  }

  fail(type: string, reason: string, key?: string): void {
    this.counts(type).failures++;
    let isFirst = false;
    for (const service of this.#services.values()) {
      if (service.need.type !== type || (key !== undefined && service.need.key !== key)) continue;
      if (service.failures++ === 0) isFirst = true;
      service.lastFailure = reason;
    }
    if (isFirst) this.#parts.onFailure(type, reason, key);
  }

  failPartly(type: string, reason: string): void {
    this.counts(type).failures++;
    this.#parts.onFailure(type, reason, undefined);
  }

  /** Takes a node out at once. False: it is not among the nodes. */
  exclude(key: string, place: string): boolean {
    const service = this.#services.get(key);
    if (service?.nodes == null) return false;
    const nodes = service.nodes.filter((node) => placeOf(node) !== place);
    if (nodes.length === service.nodes.length) return false;
    service.excluded.set(place, this.#elapsed() + EXCLUDED_FOR_MS);
    this.#set(service, nodes);
    return true;
  }

  /** Those that left the list may come back, and those that stand on it for too long. */
  #readmit({ excluded }: ServiceNodes, listed: readonly DiscoveredNode[]): void {
    if (excluded.size === 0) return;
    const places = new Set(listed.map(placeOf));
    for (const [place, untilMs] of excluded) {
      if (!places.has(place) || untilMs <= this.#elapsed()) excluded.delete(place);
    }
  }

  #set(service: ServiceNodes, nodes: readonly DiscoveredNode[]): void {
    const before = service.nodes;
    service.nodes = nodes;
    if (before !== null && isSame(before, nodes)) {
      service.nodes = before;
      return;
    }
    this.#parts.onChange(service.need.key);
  }
}

/** Some registries list the same nodes in another order each time: that is no change. */
function isSame(before: readonly DiscoveredNode[], after: readonly DiscoveredNode[]): boolean {
  if (before.length !== after.length) return false;
  const known = new Set(before.map((node) => JSON.stringify(node)));
  return after.every((node) => known.has(JSON.stringify(node)));
}

/** "10.0.0.1:80", "[fd00::1]:80". */
export function placeOf({ host, port }: { host: string; port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Each place once, in the spelling that the rest of control uses, with whole weights. */
function usableNodes(listed: readonly DiscoveredNode[]): DiscoveredNode[] {
  const nodes = new Map<string, DiscoveredNode>();
  for (const node of listed) {
    const { port, weight } = node;
    const host = plainHost(node.host);
    if (host === null) continue;
    if (!Number.isInteger(port) || port < 0 || port > 65535) continue;
    if (!Number.isFinite(weight) || weight < 0 || weight > MAX_WEIGHT) continue;
    const usable: DiscoveredNode = { host, port, weight };
    if (node.priority !== undefined) usable.priority = node.priority;
    const metadata = plainMetadata(node.metadata);
    if (metadata !== undefined) usable.metadata = metadata;
    const place = placeOf(usable);
    if (nodes.has(place)) continue;
    nodes.set(place, usable);
    if (nodes.size === MAX_NODES) break;
  }
  return withWholeWeights([...nodes.values()]);
}

/** Some registries have weights like 0.5: the shares stay, within a hundredth. */
function withWholeWeights(nodes: DiscoveredNode[]): DiscoveredNode[] {
  if (nodes.every(({ weight }) => Number.isInteger(weight))) return nodes;
  return nodes.map((node) => ({ ...node, weight: Math.ceil(node.weight * 100) }));
}

/** Null: neither an address nor a name. */
function plainHost(host: unknown): string | null {
  if (typeof host !== "string" || host.length > MAX_HOST_LENGTH) return null;
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  return HOST_NAME.test(bare) || isIP(bare) !== 0 ? bare.toLowerCase() : null;
}

/** Flat and bounded: it goes to every worker, and what is nested too deeply could not even be written as JSON. */
function plainMetadata(metadata: unknown): Record<string, unknown> | undefined {
  if (typeof metadata !== "object" || metadata === null) return undefined;
  const kept: [string, unknown][] = [];
  for (const [name, value] of Object.entries(metadata)) {
    const isPlain = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    if (!isPlain || name.length > MAX_METADATA_LENGTH || String(value).length > MAX_METADATA_LENGTH) continue;
    kept.push([name, value]);
    if (kept.length === MAX_METADATA) break;
  }
  return Object.fromEntries(kept);
}
