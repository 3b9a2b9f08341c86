/**
 * All certificates of a worker, and which one a client is shown: by server name, else by the listener that it
 * reached, else by the name that the static file has for such clients.
 *
 * A change takes effect with the next handshake; connections that stand keep what they have.
 */

import type { SecureContext } from "node:tls";
import type { TlsConfig, TlsVersion } from "../../config/static-config.ts";
import type { PluginLog } from "../../plugin/host.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";
import { LruMap } from "../../lib/lru.ts";
import { Certificate } from "./certificate.ts";
import { ServerNames } from "./server-names.ts";

/** Certificates whose contexts (some 100 KB each) are held at a time; others make theirs anew. */
const MAX_WITH_CONTEXTS = 1024;

export class Certificates {
  readonly config: TlsConfig;
  readonly #log: PluginLog;
  #ticketKeys: Buffer | null;
  readonly #byId = new Map<string, Certificate>();
  readonly #byName = new ServerNames<Certificate>();
  /** "9443" and "127.0.0.1:9443". */
  readonly #byListener = new Map<string, Certificate[]>();
  readonly #withContexts = new LruMap<string, Certificate>(MAX_WITH_CONTEXTS);
  #mutualCount = 0;

  constructor(config: TlsConfig, ticketKeys: Buffer | null, log: PluginLog) {
    this.config = config;
    this.#ticketKeys = config.sessionTickets ? ticketKeys : null;
    this.#log = log;
  }

  /** Some certificate asks for client certificates: only then requests need to be looked at. */
  get hasMutual(): boolean {
    return this.#mutualCount > 0;
  }

  put(id: string, bytes: ItemBytes): void {
    // Before the one that was goes: of what cannot be read nothing may be left less guarded.
    const certificate = new Certificate(bytes, this.#byId.get(id) ?? null);
    this.delete(id);
    this.#byId.set(id, certificate);
    if (!certificate.isServer) return;
    this.#byName.add(certificate.names, certificate);
    for (const key of listenerKeys(certificate)) {
      const list = this.#byListener.get(key) ?? [];
      this.#byListener.set(
        key,
        [...list, certificate].sort((a, b) => a.created - b.created),
      );
    }
    if (certificate.mutual !== null) this.#mutualCount++;
  }

  delete(id: string): void {
    const certificate = this.#byId.get(id);
    if (certificate === undefined) return;
    this.#byId.delete(id);
    this.#withContexts.delete(id);
    if (!certificate.isServer) return;
    this.#byName.remove(certificate.names, certificate);
    for (const key of listenerKeys(certificate)) {
      const rest = this.#byListener.get(key)!.filter((each) => each !== certificate);
      if (rest.length === 0) this.#byListener.delete(key);
      else this.#byListener.set(key, rest);
    }
    if (certificate.mutual !== null) this.#mutualCount--;
  }

  /** 48 bytes, for new handshakes. Tickets of the one before open nothing any more. */
  useTicketKey(key: Buffer): void {
    if (!this.config.sessionTickets || this.#ticketKeys?.equals(key) === true) return;
    this.#ticketKeys = key;
    for (const certificate of this.#byId.values()) certificate.dropContexts();
  }

  byId(id: string): Certificate | null {
    const certificate = this.#byId.get(id);
    return certificate?.isServer === true ? certificate : null;
  }

  /** By a lower-case name. */
  byName(name: string): Certificate | null {
    return this.#byName.find(name);
  }

  /**
   * The certificate whose rules hold for requests to a host. Where none stands for it, that of a wildcard above it:
   * "*.a.com" is a certificate for one label, and in the hosts of a route for any number of them.
   */
  guardOf(host: string): Certificate | null {
    return this.#byName.find(host) ?? this.#byName.above(host);
  }

  /** For clients that send no name. */
  byListener(address: string, port: number): Certificate | null {
    return (this.#byListener.get(`${address}:${port}`) ?? this.#byListener.get(String(port)))?.[0] ?? null;
  }

  /** `pair`: which alone, or -1 for all. Null: it cannot be made; the log says why. */
  contextOf(certificate: Certificate, versions: readonly TlsVersion[], pair: number): SecureContext | null {
    try {
      // A resumed session shows no chain: whether it is short enough could not be looked at again.
      const ticketKeys = certificate.mutual === null ? this.#ticketKeys : null;
      const context = certificate.context(versions, pair, this.config, ticketKeys);
      this.#warnOfDates(certificate);
      const evicted = this.#withContexts.set(certificate.id, certificate);
      if (evicted !== undefined && evicted !== certificate) evicted.dropContexts();
      return context;
    } catch (error) {
      this.#log.error("certificate cannot be used", { ssl: certificate.id, reason: String(error) });
      return null;
    }
  }

  /** Clients refuse such a certificate; that is theirs to decide, and the operator's to know. */
  #warnOfDates(certificate: Certificate): void {
    for (const { validFrom, validTo } of certificate.takeUnfitDates(Date.now()))
      this.#log.warn("certificate is not valid now", { ssl: certificate.id, from: validFrom, to: validTo });
  }
}

function listenerKeys({ listen }: Certificate): string[] {
  return listen.map(({ ip, port }) => (ip === undefined ? String(port) : `${ip}:${port}`));
}
