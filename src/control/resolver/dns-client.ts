/**
 * All addresses of one name, from DNS servers. Underneath is Node's `dns.Resolver`, which is c-ares (UDP, TCP
 * after truncation, several servers, random ports and ids) and not `getaddrinfo`: no thread is blocked.
 *
 * A and AAAA are asked for together. "Absent" is what a server said with authority (no such name, or no
 * address); "failed" is everything after which nothing is known: time out, SERVFAIL, no server.
 */

import { Resolver as CaresResolver } from "node:dns/promises";
import { candidates, type SearchRules } from "./resolv-conf.ts";

const MAX_ADDRESSES = 256;
const TRIES = 2;

export type Lookup =
  | {
      outcome: "found";
      /** Sorted, so that a server that rotates its answers causes no change. */
      addresses: readonly string[];
      ttlMs: number;
      /** The family whose query failed while the other one was answered: what was known of it stays true. */
      missing: 4 | 6 | null;
    }
  | { outcome: "absent" }
  | { outcome: "failed"; reason: string };

export interface DnsSettings {
  /** "ip" or "ip:port"; empty: those of resolv.conf. */
  servers: readonly string[];
  timeoutMs: number;
  search: SearchRules;
  /** Do IPv6 addresses count, for a name that has IPv4 addresses or has none? */
  usesIpv6: (hasIpv4: boolean) => boolean;
}

type Records = { address: string; ttl: number }[];

export class DnsClient {
  readonly #settings: DnsSettings;
  readonly #resolver: CaresResolver;

  constructor(settings: DnsSettings) {
    this.#settings = settings;
    this.#resolver = new CaresResolver({
      timeout: Math.max(1, Math.ceil(settings.timeoutMs / TRIES)),
      tries: TRIES,
    });
    if (settings.servers.length > 0) this.#resolver.setServers(settings.servers);
  }

  /** Never rejects. */
  async lookup(host: string): Promise<Lookup> {
    for (const name of candidates(host, this.#settings.search)) {
      const lookup = await this.#lookupName(name);
      if (lookup.outcome !== "absent") return lookup;
    }
    return { outcome: "absent" };
  }

  /** Running lookups fail. */
  close(): void {
    this.#resolver.cancel();
  }

  async #lookupName(name: string): Promise<Lookup> {
    const { usesIpv6 } = this.#settings;
    const [four, six] = await Promise.all([
      settle(this.#resolver.resolve4(name, { ttl: true })),
      usesIpv6(false) ? settle(this.#resolver.resolve6(name, { ttl: true })) : [],
    ]);
    if (typeof four === "string" && (typeof six === "string" || six.length === 0)) {
      return { outcome: "failed", reason: four };
    }
    if (typeof six === "string" && four.length === 0) return { outcome: "failed", reason: six };
    const fourRecords = typeof four === "string" ? [] : four;
    const sixRecords = typeof six === "string" || !usesIpv6(fourRecords.length > 0) ? [] : six;
    const records = [...fourRecords, ...sixRecords].slice(0, MAX_ADDRESSES);
    if (records.length === 0) return { outcome: "absent" };
    return {
      outcome: "found",
      addresses: [...new Set(records.map((record) => record.address))].sort(),
      ttlMs: Math.min(...records.map((record) => record.ttl)) * 1000,
      missing: typeof four === "string" ? 4 : typeof six === "string" ? 6 : null,
    };
  }
}

/** Records, none when the server says that there are none, or the code of the failure. */
async function settle(query: Promise<Records>): Promise<Records | string> {
  try {
    return await query;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "EUNKNOWN";
    return code === "ENOTFOUND" || code === "ENODATA" ? [] : code;
  }
}
