/**
 * The last good nodes of services in a file of the data folder, so that a control thread (or node) that starts while
 * the registry is away serves with what was known. It is a hint, without age: an old node that is gone fails as any
 * dead node does, and the first answer of the registry replaces it.
 */

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Log } from "../../lib/log.ts";
import type { DiscoveredNode } from "./node-source.ts";

const DELAY_MS = 1000;
/** Services that nobody uses now. */
const MAX_KEPT = 10_000;

export class SavedNodes {
  readonly #file: string;
  readonly #log: Log;
  readonly #known = new Map<string, readonly DiscoveredNode[]>();
  #timer: NodeJS.Timeout | null = null;

  constructor(file: string, log: Log) {
    this.#file = file;
    this.#log = log;
    this.#read();
  }

  /** Null: nothing was known of it. */
  take(key: string): readonly DiscoveredNode[] | null {
    const nodes = this.#known.get(key) ?? null;
    this.#known.delete(key);
    return nodes;
  }

  /** Of a service that nobody uses now: it may come back. */
  keep(key: string, nodes: readonly DiscoveredNode[]): void {
    this.#known.set(key, nodes);
    if (this.#known.size > MAX_KEPT) this.#known.delete(this.#known.keys().next().value!);
  }

  writeSoon(services: () => Iterable<readonly [string, readonly DiscoveredNode[]]>): void {
    this.#timer ??= setTimeout(() => this.write(services()), DELAY_MS).unref();
  }

  write(services: Iterable<readonly [string, readonly DiscoveredNode[]]>): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    try {
      // What nobody has asked for yet may be needed still: a node may end before it has its configuration.
      const text = JSON.stringify(Object.fromEntries([...this.#known, ...services]));
      writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch (error) {
      this.#log.warn("discovered nodes cannot be kept", { file: this.#file, error: String(error) });
    }
  }

  #read(): void {
    try {
      const services: unknown = JSON.parse(readFileSync(this.#file, "utf8"));
      if (typeof services !== "object" || services === null) return;
      for (const [key, nodes] of Object.entries(services)) {
        if (Array.isArray(nodes)) this.#known.set(key, nodes.filter(isNode));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      this.#log.warn("the kept nodes cannot be read", { file: this.#file, error: String(error) });
    }
  }
}

function isNode(value: unknown): value is DiscoveredNode {
  if (typeof value !== "object" || value === null) return false;
  const { host, port, weight } = value as Record<string, unknown>;
  return typeof host === "string" && Number.isInteger(port) && Number.isInteger(weight);
}
