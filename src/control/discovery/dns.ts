/**
 * Discovery in DNS: all records of a name become nodes. The name may have a port ("web.test:8080"); SRV records bring
 * ports, weights and priorities of their own. CNAMEs are followed by the name servers.
 *
 * The first kind of record in `order` that a name has counts; `last` is the kind that it had before. A kind that fails
 * (no answer, SERVFAIL) is passed over as long as the name never had it; a name that had SRV records must not fall to its
 * addresses, and so to other ports, because a server is busy.
 *
 * A name is asked for again shortly before its TTL ends (1 s to 1 h). SRV records are so with the addresses of their
 * targets, since the DNS client of Node.js tells no TTL for them. Sources: RFC 1035, RFC 2782.
 */

import { Resolver as CaresResolver } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { DnsDiscoveryConfig } from "../../config/discovery.ts";
import { candidates, NO_SEARCH, readSearchRules, type SearchRules } from "../resolver/resolv-conf.ts";
import type { DiscoveredNode, Findings, Need, NodeSource } from "./node-source.ts";
import { Rounds } from "./rounds.ts";

type Kind = "SRV" | "A" | "AAAA";

interface Found {
  nodes: DiscoveredNode[];
  ttlMs: number;
  /** The name says that there is none of the service: other kinds of record do not count. */
  isNone?: boolean;
}

export interface DnsTimes {
  /** Of one question. */
  timeoutMs: number;
  /** Overrides TTLs; null: as answered. */
  validMs: number | null;
  /** Whether IPv6 addresses count. */
  ipv6: boolean;
}

const TRIES = 2;
const MIN_TTL_MS = 1000;
const MAX_TTL_MS = 3_600_000;
const ABSENT_TTL_MS = 5000;
/** Share of the TTL after which is asked again. */
const REFRESH_AT = 0.9;
const MAX_TARGETS = 256;
/** Beyond it weights are fractions, which are rounded where nodes are kept. */
const MAX_SCALE = 1000;

export class DnsSource implements NodeSource {
  readonly type = "dns";
  readonly #findings: Findings;
  readonly #resolver: CaresResolver;
  readonly #order: readonly Kind[];
  readonly #prefersLast: boolean;
  readonly #search: SearchRules;
  readonly #times: DnsTimes;
  readonly #watched = new Map<string, WatchedName>();

  constructor(config: DnsDiscoveryConfig, times: DnsTimes, findings: Findings) {
    this.#findings = findings;
    this.#times = times;
    const servers = config.resolvConf === null ? config.servers : nameServersIn(config.resolvConf);
    this.#search = config.resolvConf === null ? NO_SEARCH : readSearchRules(config.resolvConf);
    this.#prefersLast = config.order.includes("last");
    this.#order = config.order.filter(
      (kind): kind is Kind => kind === "SRV" || kind === "A" || (kind === "AAAA" && times.ipv6),
    );
    const timeout = Math.max(1, Math.ceil(times.timeoutMs / TRIES));
    this.#resolver = new CaresResolver({ timeout, tries: TRIES });
    // Without any, those of the system are asked.
    if (servers.length > 0) this.#resolver.setServers(servers);
  }

  watch(needs: readonly Need[]): void {
    const keys = new Set(needs.map(({ key }) => key));
    for (const [key, watched] of this.#watched) {
      if (keys.has(key)) continue;
      watched.close();
      this.#watched.delete(key);
    }
    for (const { key, service } of needs) {
      if (this.#watched.has(key)) continue;
      const { host, port } = splitName(service);
      const watched = new WatchedName({
        resolve: (last) => this.#resolve(host, port, last),
        tell: (nodes) => this.#findings.answer(key, nodes),
        fail: (reason) => this.#findings.fail(this.type, `${host}: ${reason}`, key),
      });
      this.#watched.set(key, watched);
      void watched.ask();
    }
  }

  async refresh(): Promise<void> {
    await Promise.all(Array.from(this.#watched.values(), (watched) => watched.ask()));
  }

  close(): void {
    this.watch([]);
    this.#resolver.cancel();
  }

  async #resolve(
    host: string,
    port: number | null,
    last: Kind | null,
  ): Promise<Found & { kind: Kind | null }> {
    const order =
      this.#prefersLast && last !== null
        ? [last, ...this.#order.filter((kind) => kind !== last)]
        : this.#order;
    let failure: Error | null = null;
    for (const kind of order) {
      for (const name of candidates(host, this.#search)) {
        try {
          const found = await this.#records(kind, name, port);
          if (found.nodes.length > 0 || found.isNone === true) return { ...found, kind };
        } catch (error) {
          if (kind === last) throw error;
          failure = error as Error;
        }
      }
    }
    if (failure !== null) throw failure;
    return { nodes: [], ttlMs: ABSENT_TTL_MS, kind: null };
  }

  async #records(kind: Kind, name: string, port: number | null): Promise<Found> {
    if (kind === "SRV") return this.#services(name, port);
    const addresses = await this.#addresses(kind, name);
    return {
      nodes: addresses.map(({ address }) => ({ host: address, port: port ?? 0, weight: 1 })).sort(byHost),
      ttlMs: this.#ttlOf(addresses),
    };
  }

  /** A target of several addresses shares its weight among them, in whole numbers. */
  async #services(name: string, port: number | null): Promise<Found> {
    const listed = await orNone(this.#resolver.resolveSrv(name));
    // The root as target: decidedly not available here (RFC 2782).
    const services = listed.filter((service) => service.name !== "").slice(0, MAX_TARGETS);
    if (services.length === 0 && listed.length > 0) {
      return { nodes: [], ttlMs: ABSENT_TTL_MS, isNone: true };
    }
    const targets = await Promise.all(
      services.map(async (service) => ({ service, addresses: await this.#addressesOfTarget(service.name) })),
    );
    const common = targets.reduce((all, { addresses }) => lcm(all, Math.max(1, addresses.length)), 1);
    const scale = common > MAX_SCALE ? 1 : common;
    const nodes: DiscoveredNode[] = [];
    for (const { service, addresses } of targets) {
      for (const { address } of addresses) {
        nodes.push({
          host: address,
          port: port ?? service.port,
          weight: ((service.weight || 1) * scale) / addresses.length,
          // The least comes first in DNS, the greatest here.
          priority: -service.priority,
        });
      }
    }
    if (services.length > 0 && nodes.length === 0)
      throw new Error("no target of its SRV records has an address");
    return { nodes: nodes.sort(byHost), ttlMs: this.#ttlOf(targets.flatMap(({ addresses }) => addresses)) };
  }

  async #addressesOfTarget(name: string): Promise<{ address: string; ttl: number }[]> {
    if (isIP(name) !== 0) return [{ address: name, ttl: MAX_TTL_MS }];
    for (const kind of this.#order.filter((each) => each !== "SRV")) {
      const addresses = await this.#addresses(kind, name);
      if (addresses.length > 0) return addresses;
    }
    return [];
  }

  #addresses(kind: "A" | "AAAA", name: string): Promise<{ address: string; ttl: number }[]> {
    return orNone(
      kind === "A"
        ? this.#resolver.resolve4(name, { ttl: true })
        : this.#resolver.resolve6(name, { ttl: true }),
    );
  }

  #ttlOf(addresses: readonly { ttl: number }[]): number {
    const least = addresses.reduce((ttl, each) => Math.min(ttl, each.ttl * 1000), MAX_TTL_MS);
    return Math.max(MIN_TTL_MS, (this.#times.validMs ?? least) * REFRESH_AT);
  }
}

/** One name, asked for again when its TTL is nearly over. */
class WatchedName {
  readonly #rounds: Rounds;
  #last: Kind | null = null;

  constructor(parts: {
    resolve(last: Kind | null): Promise<Found & { kind: Kind | null }>;
    tell(nodes: DiscoveredNode[]): void;
    fail(reason: string): void;
  }) {
    this.#rounds = new Rounds({
      run: async () => {
        const { nodes, ttlMs, kind } = await parts.resolve(this.#last);
        if (kind !== null) this.#last = kind;
        parts.tell(nodes);
        return ttlMs;
      },
      pauseMs: MAX_TTL_MS,
      onFailure: (reason) => parts.fail(reason),
    });
  }

  ask(): Promise<void> {
    return this.#rounds.now();
  }

  close(): void {
    this.#rounds.close();
  }
}

/** Records; none where the server says that there are none. Other failures are thrown. */
async function orNone<T>(query: Promise<T[]>): Promise<T[]> {
  try {
    return await query;
  } catch (error) {
    const { code = "EUNKNOWN" } = error as NodeJS.ErrnoException;
    if (code === "ENOTFOUND" || code === "ENODATA") return [];
    throw new Error(code, { cause: error });
  }
}

/** "web.test", "web.test:8080". */
function splitName(service: string): { host: string; port: number | null } {
  const [, host, port] = /^(.*?)(?::(\d{1,5}))?$/.exec(service) ?? [];
  return { host: (host ?? service).toLowerCase(), port: port === undefined ? null : Number(port) };
}

/** Addresses of the `nameserver` lines, also with a port; what the client cannot use is passed over. */
function nameServersIn(path: string): string[] {
  const servers: string[] = [];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [keyword, server] = line.trim().split(/\s+/);
    if (keyword === "nameserver" && server !== undefined && isNameServer(server)) servers.push(server);
  }
  return servers;
}

function isNameServer(text: string): boolean {
  return isIP(text) !== 0 || isIP(/^\[?([^\]]+?)\]?:\d{1,5}$/.exec(text)?.[1] ?? "") !== 0;
}

function byHost(a: DiscoveredNode, b: DiscoveredNode): number {
  return a.host < b.host ? -1 : a.host > b.host ? 1 : a.port - b.port;
}

function lcm(a: number, b: number): number {
  return (a * b) / gcd(a, b);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
