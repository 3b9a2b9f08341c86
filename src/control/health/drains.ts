/**
 * Nodes that are taken out by hand, on this machine or on all that share its store: no worker here begins anything on them,
 * and who asks is told when the last thing that ran there has ended. After that the node's process may be stopped and
 * nobody notices.
 *
 * A drain is a slot in the health table: the very next pick of every worker sees it, a retry of a request that began
 * earlier included. What still runs is asked of the workers, again and again until nothing does. Drains of this machine
 * outlive restarts of control and of the node (a file of its own); they end by the undo, or when the node leaves the
 * configuration: then when every worker knows that, since until then one may still choose it. Drains of all machines
 * are resources of the store and end with these.
 */

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log } from "../../lib/log.ts";
import type { PublishedDrain, PublishedUpstream } from "../../model/published.ts";
import type { ConfigurationItem } from "../../shared/configuration-bytes.ts";
import type { HealthRegistry } from "../../shared/health-registry.ts";
import { drainKey } from "../../shared/health-table.ts";
import type { InFlightQuestion, WorkerToControl } from "../../shared/messages.ts";

/** The part of the publisher that is used. */
export interface WorkersLine {
  /** Puts the question to every worker that serves; gives their slots. */
  askAll(question: InFlightQuestion): number[];
  onInFlight: ((slot: number, answer: Extract<WorkerToControl, { type: "in-flight" }>) => void) | null;
  /** Publishes what is collected; gives the revision that contains every change so far. */
  flush(): number;
  /** Slots of workers that have not applied it in that time. */
  whenApplied(revision: number, timeoutMs: number): Promise<number[]>;
}

export interface Drain {
  upstream: string;
  host: string;
  port: number;
  /** Milliseconds since 1970. */
  since: number;
}

/** One of all machines. */
export interface SharedDrain extends Drain {
  id: string;
  mark: string;
}

interface HeldDrain extends Drain {
  /** In the health table; -1: there was no room, and workers do not know of it. */
  slot: number;
  isOwn: boolean;
  /** Of the resource in the store; null: there is none. */
  shared: PublishedDrain | null;
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
/** For workers to hear that a node left; one that cannot is replaced within it. */
const LEAVE_WITHIN_MS = 60_000;

export class Drains {
  readonly #registry: HealthRegistry;
  readonly #file: string;
  readonly #log: Log;
  readonly #drains = new Map<string, HeldDrain>();
  /** Of nodes that left, by name, until every worker knows. */
  readonly #leaving = new Map<string, { upstream: string; slot: number }>();
  /** Names by ids of resources. */
  readonly #shared = new Map<string, string>();
  /** Hears that drains of all machines came or went. */
  onShared: (() => void) | null = null;
  readonly #waiting = new Map<number, (slot: number, count: number) => void>();
  readonly #upstreams = new Set<string>();
  #line: WorkersLine | null = null;
  #questions = 0;

  constructor(registry: HealthRegistry, file: string, log: Log) {
    this.#registry = registry;
    this.#file = file;
    this.#log = log;
    for (const drain of this.#read()) this.#claim(drain, null);
  }

  /** Where workers are asked; before it, nobody can be. */
  connect(line: WorkersLine): void {
    this.#line = line;
    line.onInFlight = (slot, { question, count }) => this.#waiting.get(question)?.(slot, count);
  }

  /** Follows the configuration: what an upstream no longer lists is drained on this machine no more. */
  take({ kind, id, value }: ConfigurationItem): void {
    if (kind === "drain") this.#takeShared(id, value === null ? null : (JSON.parse(value) as PublishedDrain));
    if (kind !== "upstream") return;
    if (value === null) this.#upstreams.delete(id);
    else this.#upstreams.add(id);
    if (this.#drains.size === 0 && this.#leaving.size === 0) return;
    const nodes = value === null ? [] : (JSON.parse(value) as PublishedUpstream).nodes;
    const listed = new Set(nodes.map(({ host, port }) => nameOf(id, host, port)));
    for (const [name, drain] of this.#drains) {
      if (drain.upstream === id && drain.isOwn && !listed.has(name)) this.#disown(name, drain, true);
    }
    for (const [name, { upstream }] of this.#leaving) {
      if (upstream === id && listed.has(name)) this.#left(name);
    }
  }

  /** The whole configuration was taken. */
  start(): void {
    for (const [name, drain] of this.#drains) {
      if (drain.isOwn && !this.#upstreams.has(drain.upstream)) this.#disown(name, drain, false);
    }
  }

  list(): (Drain & { shared: boolean })[] {
    return Array.from(this.#drains.values(), ({ upstream, host, port, since, shared }) => ({
      upstream,
      host,
      port,
      since,
      shared: shared !== null,
    }));
  }

  /** Those of all machines that share the store. */
  *listShared(): IterableIterator<SharedDrain> {
    for (const { upstream, host, port, since, shared } of this.#drains.values()) {
      if (shared !== null) yield { upstream, host, port, since, id: shared.id, mark: shared.mark };
    }
  }

  has(upstream: string, host: string, port: number): boolean {
    return this.#drains.has(nameOf(upstream, host, port));
  }

  /** False: there is no room for another one. Draining twice is draining once. */
  begin(upstream: string, host: string, port: number): boolean {
    const held = this.#drains.get(nameOf(upstream, host, port));
    if (held?.isOwn === true) return true;
    if (held !== undefined) held.isOwn = true;
    else if (this.#drains.size >= MAX_DRAINS) return false;
    else if (!this.#claim({ upstream, host, port, since: Date.now() }, null)) return false;
    this.#log.info("a node is drained", { upstream, host, port });
    this.#write();
    return true;
  }

  /** What was drained on this machine takes requests again, unless all machines drain it. False: it was not drained here. */
  undo(upstream: string, host: string, port: number): boolean {
    const name = nameOf(upstream, host, port);
    const drain = this.#drains.get(name);
    if (drain?.isOwn !== true) return false;
    this.#disown(name, drain, false);
    return true;
  }

  /** Whether it is drained on all machines. */
  isShared(upstream: string, host: string, port: number): boolean {
    return (this.#drains.get(nameOf(upstream, host, port))?.shared ?? null) !== null;
  }

  /** What runs there now; with a time, waits for at most so long until nothing does, or who asked has left. */
  async state(
    upstream: string,
    host: string,
    port: number,
    timeoutMs = 0,
    isAbandoned?: () => boolean,
  ): Promise<DrainState> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const state = await this.#ask(upstream, host, port);
      // Workers that do not know of it may begin something at any moment.
      if (this.#drains.get(nameOf(upstream, host, port))?.slot === -1) state.isDrained = false;
      if (state.isDrained || performance.now() >= endMs || isAbandoned?.() === true) return state;
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

  #takeShared(id: string, shared: PublishedDrain | null): void {
    const former = this.#shared.get(id);
    const name = shared === null ? null : nameOf(shared.upstream_id, shared.host, shared.port);
    if (former !== undefined && former !== name) {
      const drain = this.#drains.get(former);
      this.#shared.delete(id);
      // Another resource may stand for the same node, if somebody else wrote it.
      if (drain?.shared?.id === id) {
        drain.shared = null;
        if (!drain.isOwn) this.#release(former, drain);
      }
    }
    if (shared !== null && name !== null) {
      this.#shared.set(id, name);
      const held = this.#drains.get(name);
      const { upstream_id: upstream, host, port } = shared;
      if (held !== undefined) held.shared = shared;
      else if (this.#claim({ upstream, host, port, since: Date.now() }, shared))
        this.#log.info("a node is drained on all gateways", { upstream, host, port });
      else this.#log.error("there is no room to drain a node", { upstream, host, port });
    }
    this.onShared?.();
  }

  /** False: there is no room. What all machines drain is then known all the same. */
  #claim(drain: Drain, shared: PublishedDrain | null): boolean {
    const { upstream, host, port } = drain;
    const slot = this.#registry.claimDrain(drainKey(`/upstreams/${upstream}`, host, port));
    if (slot === -1 && shared === null) return false;
    const name = nameOf(upstream, host, port);
    this.#leaving.delete(name);
    this.#drains.set(name, { ...drain, slot, isOwn: shared === null, shared });
    return slot !== -1;
  }

  #disown(name: string, drain: HeldDrain, isLeaving: boolean): void {
    drain.isOwn = false;
    if (drain.shared === null) {
      if (isLeaving) void this.#leave(name, drain);
      else this.#release(name, drain);
    }
    this.#write();
  }

  #release(name: string, { upstream, host, port, slot }: HeldDrain): void {
    this.#drains.delete(name);
    if (slot !== -1) this.#registry.release(slot);
    this.#log.info("a drain of a node is over", { upstream, host, port });
  }

  /** Workers are told after this that the node is gone: the slot stays until they know. */
  async #leave(name: string, { upstream, host, port, slot }: HeldDrain): Promise<void> {
    this.#drains.delete(name);
    const left = { upstream, slot };
    this.#leaving.set(name, left);
    this.#log.info("a drain of a node is over", { upstream, host, port });
    await nextTurn();
    const line = this.#line;
    if (line !== null) await line.whenApplied(line.flush(), LEAVE_WITHIN_MS);
    if (this.#leaving.get(name) === left) this.#left(name);
  }

  #left(name: string): void {
    const { slot } = this.#leaving.get(name)!;
    this.#leaving.delete(name);
    this.#registry.release(slot);
  }

  #write(): void {
    try {
      writeFileSync(`${this.#file}.new`, JSON.stringify(this.#own()), { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch (error) {
      this.#log.error("drains cannot be kept over a restart", { file: this.#file, error: String(error) });
    }
  }

  #own(): Drain[] {
    const own = [...this.#drains.values()].filter(({ isOwn }) => isOwn);
    return own.map(({ upstream, host, port, since }) => ({ upstream, host, port, since }));
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
