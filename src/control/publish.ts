/**
 * Brings configuration to the workers: collects changes for a few milliseconds, encodes them once into
 * shared bytes, numbers them, and sends them in order to every worker.
 *
 * The revision is the node's own and only grows, whatever the store does: it goes on from the one in shared
 * memory when control restarts, and from a reserved range in a file when the node does. A worker that says
 * hello gets everything as one snapshot, encoded once whoever asks, and diffs it; from then on it gets the
 * changes.
 *
 * A large snapshot is made in slices while changes go on. It may then hold some items newer than its own
 * revision; since the changes that came meanwhile follow it, each whole, a worker ends where the others are.
 */

import type { MessagePort } from "node:worker_threads";
import { setImmediate as nextTurn } from "node:timers/promises";
import { giveWay } from "../lib/give-way.ts";
import type { Log } from "../lib/log.ts";
import { type ConfigurationItem, encodeConfiguration, encodeInSteps } from "../shared/configuration-bytes.ts";
import type {
  ConfigurationMessage,
  ControlToWorker,
  ExplainMessage,
  InFlightQuestion,
  PageMessage,
  WorkerToControl,
} from "../shared/messages.ts";
import type { Threads } from "../shared/threads.ts";

/** Changes that arrive within it share one delta. */
const COLLECT_MS = 3;
/** Items of a snapshot that are encoded before the event loop is looked after again. */
const SLICE_ITEMS = 500;
/** Refusals of workers that are remembered. */
const REFUSAL_LIMIT = 1000;

/** Everything that a worker needs, at the time of the call. */
export type SnapshotSource = () => Iterable<ConfigurationItem>;

interface Peer {
  slot: number;
  generation: number;
  port: MessagePort;
  /** It said hello and has been sent everything up to the published revision. */
  isFed: boolean;
  hasSaidHello: boolean;
}

interface Snapshot {
  revision: number;
  bytes: SharedArrayBuffer;
}

/** An item that a worker could not use, although control accepted it. */
export interface Refusal {
  kind: string;
  id: string;
  reason: string;
  slot: number;
  /** Milliseconds since 1970. */
  since: number;
}

export class Publisher {
  /** Makes the metrics page for clients of workers; null: there is none. */
  renderMetrics: ((accept: string | undefined) => Promise<Omit<PageMessage, "type" | "request">>) | null =
    null;
  /** Hears what workers answer to `ask`. */
  onInFlight: ((slot: number, message: Extract<WorkerToControl, { type: "in-flight" }>) => void) | null =
    null;
  onExplained: ((message: Extract<WorkerToControl, { type: "explained" }>) => void) | null = null;
  readonly #threads: Threads;
  readonly #source: SnapshotSource;
  readonly #log: Log;
  readonly #peers = new Map<number, Peer>();
  readonly #refusals = new Map<string, Refusal>();
  #pending = new Map<string, ConfigurationItem>();
  /** Of what belongs together and is not whole yet; null: nothing such is under way. */
  #held: Map<string, ConfigurationItem> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #revision: number;
  #snapshot: Snapshot | null = null;
  /** The snapshot that is being made: the changes since it was begun, and who waits for it. */
  #making: { deltas: ConfigurationMessage[]; peers: Set<Peer> } | null = null;
  #isClosed = false;
  #isOpen = false;

  /** `startRevision`: the first revision that is published is greater. */
  constructor(threads: Threads, source: SnapshotSource, startRevision: number, log: Log) {
    this.#threads = threads;
    this.#source = source;
    this.#log = log;
    this.#revision = Math.max(startRevision, threads.publishedRevision);
  }

  get revision(): number {
    return this.#revision;
  }

  /** From now on the source is complete: workers that wait get their snapshot. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#pending.clear();
    this.#advance();
    for (const peer of this.#peers.values()) this.#feed(peer);
  }

  change(item: ConfigurationItem): void {
    if (!this.#isOpen) return;
    if (this.#held !== null) {
      this.#held.set(`${item.kind}/${item.id}`, item);
      return;
    }
    this.#pending.set(`${item.kind}/${item.id}`, item);
    this.#timer ??= setTimeout(() => this.flush(), COLLECT_MS);
  }

  /** The changes from now on until `end` belong together: workers get them as one. */
  begin(): void {
    this.#held = new Map();
  }

  /** Ends when they are published. */
  async end(): Promise<void> {
    const batch = this.#held;
    if (batch === null) return;
    // What comes while it is encoded is newer.
    const newer = new Map<string, ConfigurationItem>();
    this.#held = newer;
    const bytes = await this.#encoded([...batch.values()]);
    this.#held = null;
    if (this.#isClosed) return;
    this.flush();
    if (batch.size > 0) this.#publish(batch.keys(), bytes);
    for (const item of newer.values()) this.change(item);
    for (const peer of this.#peers.values()) if (!peer.isFed) this.#feed(peer);
  }

  /** Publishes what is collected; gives the revision that contains every change so far. */
  flush(): number {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#pending.size === 0) return this.#revision;
    giveWay();
    const pending = this.#pending;
    this.#pending = new Map();
    return this.#publish(pending.keys(), encodeConfiguration([...pending.values()]));
  }

  /** `keys`: of the items that the bytes hold. */
  #publish(keys: Iterable<string>, bytes: SharedArrayBuffer): number {
    for (const key of keys) this.#refusals.delete(key);
    const revision = this.#advance();
    const delta: ConfigurationMessage = { type: "delta", revision, bytes };
    for (const peer of this.#peers.values()) if (peer.isFed) this.#send(peer, delta);
    this.#making?.deltas.push(delta);
    return revision;
  }

  /** A worker, or its port, is new. */
  attach(slot: number, generation: number, port: MessagePort): void {
    const former = this.#peers.get(slot);
    if (former !== undefined) former.port.close();
    const peer: Peer = { slot, generation, port, isFed: false, hasSaidHello: false };
    this.#peers.set(slot, peer);
    port.on("message", (message: WorkerToControl) => this.#onMessage(peer, message));
    port.on("close", () => {
      if (this.#peers.get(slot) === peer) this.#peers.delete(slot);
    });
  }

  /**
   * Waits until every worker that serves has acknowledged `revision`; gives the slots that have not when the
   * time is over (empty: it is live everywhere). A worker that dies is not waited for, one that starts is.
   */
  async whenApplied(revision: number, timeoutMs: number): Promise<number[]> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const seen = this.#threads.changes;
      const missing = this.missing(revision);
      const leftMs = end - performance.now();
      if (missing.length === 0 || leftMs <= 0) return missing;
      await this.#threads.whenChanged(seen, leftMs);
    }
  }

  /** Slots of workers that have not acknowledged `revision`. */
  missing(revision: number): number[] {
    const missing: number[] = [];
    for (let slot = 0; slot < this.#threads.workers; slot++) {
      const state = this.#threads.state(slot);
      const serves = state === "ready" || state === "starting";
      if (serves && this.#threads.applied(slot) < revision) missing.push(slot);
    }
    return missing;
  }

  /** Asks a worker that serves; false when there is none. */
  ask(question: ExplainMessage): boolean {
    for (const peer of this.#peers.values()) {
      if (!peer.isFed || this.#threads.state(peer.slot) !== "ready") continue;
      this.#send(peer, question);
      return true;
    }
    return false;
  }

  /**
   * Puts a question to every worker; gives the slots of all that may serve, heard or not. A worker serves on with what
   * it has while a new control has nothing to feed it, and before its port is there.
   */
  askAll(question: InFlightQuestion): number[] {
    const asked = new Set<number>();
    for (const peer of this.#peers.values()) {
      peer.port.postMessage(question);
      asked.add(peer.slot);
    }
    for (let slot = 0; slot < this.#threads.workers; slot++) {
      if (this.#threads.state(slot) === "ready") asked.add(slot);
    }
    return [...asked];
  }

  refusals(): Iterable<Refusal> {
    return this.#refusals.values();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const peer of this.#peers.values()) peer.port.close();
  }

  #onMessage(peer: Peer, message: WorkerToControl): void {
    switch (message.type) {
      case "hello":
        peer.hasSaidHello = true;
        peer.isFed = false;
        this.#feed(peer);
        break;
      case "refused":
        this.#remember(peer.slot, message.kind, message.id, message.reason);
        break;
      case "metrics":
        void this.#answerMetrics(peer, message.request, message.accept);
        break;
      case "in-flight":
        this.onInFlight?.(peer.slot, message);
        break;
      case "explained":
        this.onExplained?.(message);
        break;
    }
  }

  async #answerMetrics(peer: Peer, request: number, accept: string | undefined): Promise<void> {
    const page = await this.renderMetrics?.(accept);
    if (page !== undefined) this.#send(peer, { type: "page", request, ...page });
  }

  #remember(slot: number, kind: string, id: string, reason: string): void {
    this.#log.error("a worker could not use a configuration item", { slot, kind, id, reason });
    if (this.#refusals.size >= REFUSAL_LIMIT) return;
    this.#refusals.set(`${kind}/${id}`, { kind, id, reason, slot, since: Date.now() });
  }

  #feed(peer: Peer): void {
    if (!this.#isOpen || !peer.hasSaidHello || this.#held !== null) return;
    const revision = this.flush();
    if (peer.isFed) return;
    if (this.#snapshot?.revision === revision) {
      peer.isFed = true;
      this.#send(peer, { type: "snapshot", ...this.#snapshot });
    } else if (this.#making === null) {
      this.#making = { deltas: [], peers: new Set([peer]) };
      void this.#makeSnapshot(revision);
    } else {
      this.#making.peers.add(peer);
    }
  }

  async #makeSnapshot(revision: number): Promise<void> {
    const items: ConfigurationItem[] = [];
    for (const item of this.#source()) {
      items.push(item);
      if (items.length % (4 * SLICE_ITEMS) === 0) await nextTurn();
    }
    const bytes = await this.#encoded(items);
    // It may have a part of what belongs together: the rest follows it at once.
    while (this.#held !== null && !this.#isClosed) await nextTurn();
    const { deltas, peers } = this.#making!;
    this.#making = null;
    if (this.#isClosed) return;
    const snapshot = { revision, bytes };
    if (deltas.length === 0) this.#snapshot = snapshot;
    for (const peer of peers) {
      if (this.#peers.get(peer.slot) !== peer) continue;
      peer.isFed = true;
      this.#send(peer, { type: "snapshot", ...snapshot });
      for (const delta of deltas) this.#send(peer, delta);
    }
  }

  async #encoded(items: readonly ConfigurationItem[]): Promise<SharedArrayBuffer> {
    const steps = encodeInSteps(items, SLICE_ITEMS);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) await nextTurn();
    return step.value;
  }

  #advance(): number {
    this.#revision++;
    this.#snapshot = null;
    this.#threads.publishedRevision = this.#revision;
    return this.#revision;
  }

  #send(peer: Peer, message: ControlToWorker): void {
    peer.port.postMessage(message);
  }
}
