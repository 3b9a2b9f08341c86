/**
 * Host names of upstream nodes, resolved once per node machine and kept fresh: control watches the names that
 * the configuration uses and publishes every change to the workers. No request ever waits for a DNS server,
 * except the first ones to a name that is new.
 *
 * - /etc/hosts and `localhost` come before DNS.
 * - An answer is asked for again before its TTL ends (at least 1 s; `validMs` overrides the TTL).
 * - While servers fail, the last addresses stay, and questions are repeated with growing pauses.
 * - "No such name" empties a name with addresses only when it is said twice in a row: a server that lost its
 *   zone for a moment must not take an upstream down. Absent names are asked for again after 5 s.
 * - At most `MAX_CONCURRENT` questions run at a time, so that 10,000 names do not flood a server.
 */

import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { ResolverConfig } from "../../config/static-config.ts";
import type { PublishedAddress } from "../../model/published.ts";
import { DnsClient, type Lookup } from "./dns-client.ts";
import { HostsFile } from "./hosts-file.ts";
import { readSearchRules, type SearchRules } from "./resolv-conf.ts";

const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 3_600_000;
const ABSENT_TTL_MS = 5_000;
/** Entries of /etc/hosts have no TTL: the file is looked at again so often. */
const HOSTS_TTL_MS = 10_000;
const MAX_PAUSE_MS = 30_000;
/** Share of the TTL after which is asked again: the answer is there before the old one expires. */
const REFRESH_AT = 0.9;
const MAX_CONCURRENT = 32;
/** Names that were resolved without being watched. */
const MAX_CACHED = 1_000;

export interface ResolverParts {
  hosts?: HostsFile;
  search?: SearchRules;
  /** The machine has an IPv6 address that reaches further than its own link. */
  hasIpv6?: () => boolean;
  /** Monotonic milliseconds. */
  now?: () => number;
  random?: () => number;
  onFailure?: (host: string, reason: string, pauseMs: number) => void;
}

interface Watched {
  host: string;
  /** Null: never resolved. */
  addresses: readonly string[] | null;
  timer: NodeJS.Timeout | null;
  failures: number;
  absences: number;
}

export class Resolver {
  readonly #config: ResolverConfig;
  readonly #dns: DnsClient;
  readonly #hosts: HostsFile;
  readonly #hasIpv6: () => boolean;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #onFailure: NonNullable<ResolverParts["onFailure"]>;
  readonly #watched = new Map<string, Watched>();
  readonly #listeners = new Set<(address: PublishedAddress) => void>();
  readonly #running = new Map<string, Promise<Lookup>>();
  readonly #cached = new Map<string, { lookup: Lookup; untilMs: number }>();
  readonly #queue: (() => void)[] = [];
  #active = 0;
  #isClosed = false;

  constructor(config: ResolverConfig, parts: ResolverParts = {}) {
    this.#config = config;
    this.#hosts = parts.hosts ?? new HostsFile();
    this.#hasIpv6 = parts.hasIpv6 ?? hasGlobalIpv6;
    this.#now = parts.now ?? (() => performance.now());
    this.#random = parts.random ?? Math.random;
    this.#onFailure = parts.onFailure ?? (() => undefined);
    this.#dns = new DnsClient({
      servers: config.servers,
      timeoutMs: config.timeoutMs,
      search: parts.search ?? readSearchRules(),
      usesIpv6: (hasIpv4) => this.#usesIpv6(hasIpv4),
    });
  }

  /** The names in use, all of them: new ones are resolved, missing ones forgotten. Addresses are ignored. */
  watch(hosts: ReadonlySet<string>): void {
    for (const [host, watched] of this.#watched) {
      if (hosts.has(host)) continue;
      if (watched.timer !== null) clearTimeout(watched.timer);
      this.#watched.delete(host);
    }
    for (const host of hosts) {
      if (isIP(host) !== 0 || this.#watched.has(host)) continue;
      const watched: Watched = { host, addresses: null, timer: null, failures: 0, absences: 0 };
      this.#watched.set(host, watched);
      void this.#refresh(watched);
    }
  }

  /** Called with all addresses of a watched name when they changed; none: there is no such name, or no server to ask. */
  onChange(listener: (address: PublishedAddress) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What is known of the watched names; names that were never resolved are missing. */
  addresses(): PublishedAddress[] {
    const known: PublishedAddress[] = [];
    for (const { host, addresses } of this.#watched.values()) {
      if (addresses !== null) known.push({ host, addresses: [...addresses] });
    }
    return known;
  }

  /** Addresses of any name, from memory within their TTL; [] when there is no such name. Throws while servers fail. */
  async resolve(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const watched = this.#watched.get(host)?.addresses;
    if (watched != null) return watched;
    const cached = this.#cached.get(host);
    if (cached !== undefined && cached.untilMs > this.#now()) return addressesOf(host, cached.lookup);
    const lookup = await this.#lookup(host);
    if (lookup.outcome !== "failed") {
      this.#cached.delete(host);
      this.#cached.set(host, { lookup, untilMs: this.#now() + this.#ttlOf(lookup) });
      if (this.#cached.size > MAX_CACHED) this.#cached.delete(this.#cached.keys().next().value!);
    }
    return addressesOf(host, lookup);
  }

  close(): void {
    this.#isClosed = true;
    this.watch(new Set());
    this.#listeners.clear();
    this.#dns.close();
  }

  async #refresh(watched: Watched): Promise<void> {
    watched.timer = null;
    const lookup = await this.#lookup(watched.host);
    if (this.#isClosed || this.#watched.get(watched.host) !== watched) return;
    const pauseMs = this.#apply(watched, lookup);
    watched.timer = setTimeout(() => void this.#refresh(watched), pauseMs).unref();
  }

  /** Takes an answer in; gives the time until the next question. */
  #apply(watched: Watched, lookup: Lookup): number {
    if (lookup.outcome === "failed") {
      const pauseMs =
        Math.min(MIN_TTL_MS * 2 ** watched.failures, MAX_PAUSE_MS) * (0.75 + this.#random() / 2);
      watched.failures++;
      // Requests need not wait for what cannot be told now; what was known before stays.
      if (watched.addresses === null) this.#publish(watched, []);
      this.#onFailure(watched.host, lookup.reason, pauseMs);
      return pauseMs;
    }
    watched.failures = 0;
    if (lookup.outcome === "absent") {
      watched.absences++;
      if (watched.absences === 1 && watched.addresses !== null && watched.addresses.length > 0)
        return MIN_TTL_MS;
      // Once: a name that was misspelt is asked for again and again.
      if (watched.addresses === null || watched.addresses.length > 0)
        this.#onFailure(watched.host, "there is no such name, or it has no address", ABSENT_TTL_MS);
      this.#publish(watched, []);
      return ABSENT_TTL_MS;
    }
    watched.absences = 0;
    const { missing } = lookup;
    const stale =
      missing === null ? [] : (watched.addresses ?? []).filter((address) => isIP(address) === missing);
    this.#publish(watched, stale.length === 0 ? lookup.addresses : [...lookup.addresses, ...stale].sort());
    return Math.max(MIN_TTL_MS, this.#ttlOf(lookup) * (REFRESH_AT - this.#random() / 10));
  }

  #publish(watched: Watched, addresses: readonly string[]): void {
    const before = watched.addresses;
    watched.addresses = addresses;
    if (before !== null && before.join() === addresses.join()) return;
    for (const listener of this.#listeners) listener({ host: watched.host, addresses: [...addresses] });
  }

  #ttlOf(lookup: Lookup): number {
    if (lookup.outcome !== "found") return ABSENT_TTL_MS;
    return Math.min(Math.max(this.#config.validMs ?? lookup.ttlMs, MIN_TTL_MS), MAX_TTL_MS);
  }

  /** On a machine without IPv6 such addresses would fail every other attempt, so IPv4 is preferred there. */
  #usesIpv6(hasIpv4: boolean): boolean {
    return this.#config.ipv6 && (!hasIpv4 || this.#hasIpv6());
  }

  /** One question per name at a time, however many ask. */
  #lookup(host: string): Promise<Lookup> {
    let running = this.#running.get(host);
    if (running === undefined) {
      running = this.#lookupNow(host).finally(() => this.#running.delete(host));
      this.#running.set(host, running);
    }
    return running;
  }

  async #lookupNow(host: string): Promise<Lookup> {
    const name = host.toLowerCase();
    const local = await this.#hosts.lookup(name.replace(/\.$/, ""));
    if (local !== null) {
      const four = local.filter((address) => isIP(address) === 4);
      const addresses = this.#usesIpv6(four.length > 0) ? local : four;
      if (addresses.length > 0) return { outcome: "found", addresses, ttlMs: HOSTS_TTL_MS, missing: null };
    }
    if (this.#active >= MAX_CONCURRENT) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#active++;
    try {
      return this.#isClosed ? { outcome: "failed", reason: "ECANCELLED" } : await this.#dns.lookup(name);
    } finally {
      // The place goes to the one who waits for longest, or is free.
      const next = this.#queue.shift();
      if (next === undefined) this.#active--;
      else next();
    }
  }
}

function addressesOf(host: string, lookup: Lookup): readonly string[] {
  if (lookup.outcome === "failed") throw new Error(`${host}: ${lookup.reason}`);
  return lookup.outcome === "found" ? lookup.addresses : [];
}

function hasGlobalIpv6(): boolean {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { family, internal, address } of addresses ?? []) {
      if (family === "IPv6" && !internal && !address.startsWith("fe80:")) return true;
    }
  }
  return false;
}
