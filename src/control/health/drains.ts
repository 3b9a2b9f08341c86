/**
 * Nodes that are taken out by hand, on this machine: no worker begins anything on them, and who asks is told when
 * the last thing that ran there has ended. After that the node's process may be stopped and nobody notices.
 *
 * A drain is a slot in the health table: the very next pick of every worker sees it, a retry of a request that began
 * earlier included. What still runs is asked of the workers, again and again until nothing does. Drains outlive
 * restarts of control and of the node (a file of its own); they end by the undo, or when the node leaves the
 * configuration.
 */

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Log } from "../../lib/log.ts";
import type { PublishedUpstream } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import type { HealthRegistry } from "../../shared/health-registry.ts";
import { drainKey } from "../../shared/health-table.ts";
import type { InFlightQuestion, WorkerToControl } from "../../shared/messages.ts";

/** The part of the publisher that is used. */
export interface WorkersLine {
  /** Puts the question to every worker that serves; gives their slots. */
  askAll(question: InFlightQuestion): number[];
  onInFlight: ((slot: number, answer: Extract<WorkerToControl, { type: "in-flight" }>) => void) | null;
}

export interface Drain {
  upstream: string;
  host: string;
  port: number;
  /** Milliseconds since 1970. */
  since: number;
}

/** What still runs on a drained node. */
export interface DrainState {
  isDrained: boolean;
  inFlight: number;
  /** Workers with something that runs there, and those (null) that have not answered. */
  workers: { worker: number; inFlight: number | null }[];
}

const ASK_EVERY_MS = 25;
/** How long a worker may take to answer before it is asked again. */
const ANSWER_WITHIN_MS = 1000;
const MAX_DRAINS = 10_000;

export class Drains {
  readonly #registry: HealthRegistry;
  readonly #file: string;
  readonly #log: Log;
  readonly #drains = new Map<string, Drain & { slot: number }>();
  readonly #waiting = new Map<number, (slot: number, count: number) => void>();
  readonly #upstreams = new Set<string>();
  #line: WorkersLine | null = null;
  #questions = 0;

  constructor(registry: HealthRegistry, file: string, log: Log) {
    this.#registry = registry;
    this.#file = file;
    this.#log = log;
    for (const drain of this.#read()) this.#claim(drain);
  }

  /** Where workers are asked; before it, nobody can be. */
  connect(line: WorkersLine): void {
    this.#line = line;
    line.onInFlight = (slot, { question, count }) => this.#waiting.get(question)?.(slot, count);
  }

  /** Follows the configuration: what an upstream no longer lists is drained no more. */
  take({ kind, id, value }: ConfigurationItem): void {
    if (kind !== "upstream") return;
    if (value === null) this.#upstreams.delete(id);
    else this.#upstreams.add(id);
    if (this.#drains.size === 0) return;
    const nodes = value === null ? [] : (JSON.parse(value) as PublishedUpstream).nodes;
    for (const drain of this.#drains.values()) {
      if (drain.upstream !== id) continue;
      if (!nodes.some(({ host, port }) => host === drain.host && port === drain.port)) this.#release(drain);
    }
  }

  /** The whole configuration was taken. */
  start(): void {
    for (const drain of this.#drains.values()) if (!this.#upstreams.has(drain.upstream)) this.#release(drain);
  }

  list(): Drain[] {
    return Array.from(this.#drains.values(), ({ upstream, host, port, since }) => ({
      upstream,
      host,
      port,
      since,
    }));
  }

  has(upstream: string, host: string, port: number): boolean {
    return this.#drains.has(nameOf(upstream, host, port));
  }

  /** False: there is no room for another one. Draining twice is draining once. */
  begin(upstream: string, host: string, port: number): boolean {
    if (this.has(upstream, host, port)) return true;
    if (this.#drains.size >= MAX_DRAINS) return false;
    if (!this.#claim({ upstream, host, port, since: Date.now() })) return false;
    this.#log.info("a node is drained", { upstream, host, port });
    this.#write();
    return true;
  }

  /** The node takes requests again. False: it was not drained. */
  undo(upstream: string, host: string, port: number): boolean {
    const drain = this.#drains.get(nameOf(upstream, host, port));
    if (drain === undefined) return false;
    this.#release(drain);
    return true;
  }

  /** What runs there now; with a time, waits for at most so long until nothing does. */
  async state(upstream: string, host: string, port: number, timeoutMs = 0): Promise<DrainState> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const state = await this.#ask(upstream, host, port);
      if (state.isDrained || performance.now() >= endMs) return state;
      await new Promise((resolve) => {
        setTimeout(resolve, ASK_EVERY_MS);
      });
    }
  }

  #ask(upstream: string, host: string, port: number): Promise<DrainState> {
    const question = ++this.#questions;
    const asked = this.#line?.askAll({ type: "in-flight", question, upstream, host, port }) ?? [];
    const counts = new Map<number, number | null>(asked.map((slot) => [slot, null]));
    let missing = asked.length;
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(question);
        resolve(stateOf(counts));
      };
      // A worker that died meanwhile does not answer, and is not asked again.
      const timer = setTimeout(end, ANSWER_WITHIN_MS);
      if (missing === 0) {
        end();
        return;
      }
      this.#waiting.set(question, (slot, count) => {
        if (counts.get(slot) !== null) return;
        counts.set(slot, count);
        if (--missing === 0) end();
      });
    });
  }

  #claim(drain: Drain): boolean {
    const { upstream, host, port } = drain;
    const slot = this.#registry.claimDrain(drainKey(`/upstreams/${upstream}`, host, port));
    if (slot === -1) return false;
    this.#drains.set(nameOf(upstream, host, port), { ...drain, slot });
    return true;
  }

  #release({ upstream, host, port, slot }: Drain & { slot: number }): void {
    this.#drains.delete(nameOf(upstream, host, port));
    this.#registry.release(slot);
    this.#log.info("a drain of a node is over", { upstream, host, port });
    this.#write();
  }

  #write(): void {
    try {
      writeFileSync(`${this.#file}.new`, JSON.stringify(this.list()), { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch (error) {
      this.#log.error("drains cannot be kept over a restart", { file: this.#file, error: String(error) });
    }
  }

  #read(): Drain[] {
    try {
      const drains = JSON.parse(readFileSync(this.#file, "utf8")) as unknown;
      return Array.isArray(drains) ? drains.filter(isDrain) : [];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        this.#log.error("drains cannot be read", { file: this.#file, error: String(error) });
      return [];
    }
  }
}

function stateOf(counts: ReadonlyMap<number, number | null>): DrainState {
  const workers: DrainState["workers"] = [];
  let inFlight = 0;
  for (const [worker, count] of counts) {
    inFlight += count ?? 0;
    if (count !== 0) workers.push({ worker, inFlight: count });
  }
  return { isDrained: workers.length === 0, inFlight, workers };
}

function isDrain(value: unknown): value is Drain {
  if (typeof value !== "object" || value === null) return false;
  const { upstream, host, port, since } = value as Record<string, unknown>;
  return (
    typeof upstream === "string" &&
    typeof host === "string" &&
    Number.isInteger(port) &&
    Number.isFinite(since)
  );
}

function nameOf(upstream: string, host: string, port: number): string {
  return `${upstream}|${host}|${port}`;
}
