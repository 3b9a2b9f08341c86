/**
 * The file that `dump` of Consul's discoveries names: what was found, for people and for the next start, in APISIX's form
 * (`{"services": {"web": [...]}, "last_update": 1718000000, "expire": 0}`). Written aside and renamed.
 */

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { DumpConfig } from "../../config/discovery.ts";
import type { Log } from "../../lib/log.ts";
import type { DiscoveredNode } from "./node-source.ts";
import { isRecord } from "./registry-client.ts";

const DELAY_MS = 100;

export class DumpFile {
  readonly #config: DumpConfig;
  readonly #log: Log;
  readonly #loaded: Record<string, unknown>;
  #timer: NodeJS.Timeout | null = null;

  constructor(config: DumpConfig, log: Log) {
    this.#config = config;
    this.#log = log;
    this.#loaded = config.isLoaded ? this.#load() : {};
  }

  /** Of the file as it was at the start; null: nothing that can be believed. */
  nodesOf(service: string): DiscoveredNode[] | null {
    const nodes = Object.hasOwn(this.#loaded, service) ? this.#loaded[service] : null;
    return Array.isArray(nodes) ? nodes.filter(isNode) : null;
  }

  /** Throws what the file system throws. */
  text(): string {
    return readFileSync(this.#config.path, "utf8");
  }

  writeSoon(services: () => Iterable<readonly [string, readonly DiscoveredNode[]]>): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#write(Object.fromEntries(services()));
    }, DELAY_MS).unref();
  }

  #write(services: object): void {
    const { path, expireMs } = this.#config;
    const entity = { services, last_update: Math.floor(Date.now() / 1000), expire: expireMs / 1000 };
    try {
      writeFileSync(`${path}.new`, JSON.stringify(entity));
      renameSync(`${path}.new`, path);
    } catch (error) {
      this.#log.warn("the dump of a discovery cannot be written", { path, error: String(error) });
    }
  }

  #load(): Record<string, unknown> {
    const { path, expireMs } = this.#config;
    try {
      const { services, last_update: at } = JSON.parse(this.text()) as Record<string, unknown>;
      // Of a time that cannot be read nobody knows how old it is.
      const isOld = expireMs > 0 && !(Number(at) * 1000 + expireMs >= Date.now());
      return isRecord(services) && !isOld ? services : {};
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        this.#log.warn("the dump of a discovery cannot be read", { path, error: String(error) });
      return {};
    }
  }
}

function isNode(value: unknown): value is DiscoveredNode {
  if (!isRecord(value)) return false;
  const { host, port, weight } = value;
  return typeof host === "string" && Number.isInteger(port) && Number.isInteger(weight);
}
