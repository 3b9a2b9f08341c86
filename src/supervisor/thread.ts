/**
 * One place for a thread (control, or a worker slot) and the thread that fills it now: start, death, restart with
 * back-off, drain. It knows nothing of the other threads; what concerns several is the supervisor's.
 */

import { Worker, type ResourceLimits, type Transferable } from "node:worker_threads";
import type { StaticConfig } from "../config/static-config.ts";
import type { Log } from "../lib/log.ts";
import type { FromThread, ThreadStart, ToThread } from "../shared/messages.ts";
import { repairAfterDeath, type SharedBuffers } from "../shared/shared-memory.ts";
import { monotonicMs, type Threads } from "../shared/threads.ts";
import { BackOff } from "./back-off.ts";
import type { Sockets, TakenSockets } from "./sockets.ts";

/** Beyond its own timeout, what a draining thread gets to say that it is done. */
const DRAIN_GRACE_MS = 1_000;

export interface ThreadPlace {
  role: ThreadStart["role"];
  slot: number;
  group: string;
  entry: URL;
  resourceLimits: ResourceLimits;
}

/** What all threads of a node share. */
export interface ThreadSurroundings {
  config: StaticConfig;
  dataFolder: string;
  shared: SharedBuffers;
  ticketKeys: Uint8Array | null;
  threads: Threads;
  sockets: Sockets;
  log: Log;
}

export interface ThreadObserver {
  /** The thread exists and takes messages. */
  onStarted(thread: SupervisedThread): void;
  onReady(thread: SupervisedThread): void;
  /** It ended without being asked to; a restart follows. */
  onDied(thread: SupervisedThread, cause: string): void;
  onFatal(thread: SupervisedThread, message: string): void;
}

export class SupervisedThread {
  readonly place: ThreadPlace;
  generation = 0;
  /** Monotonic milliseconds; 0: not yet. */
  readyAtMs = 0;
  startedAtMs = 0;
  readonly #around: ThreadSurroundings;
  readonly #observer: ThreadObserver;
  readonly #backOff = new BackOff();
  #worker: Worker | null = null;
  #restart: NodeJS.Timeout | null = null;
  /** No restart: it drains or has drained. */
  #isHalted = true;
  #cause: string | null = null;
  #onDrained: (() => void) | null = null;
  #onReady: (() => void)[] = [];

  constructor(place: ThreadPlace, around: ThreadSurroundings, observer: ThreadObserver) {
    this.place = place;
    this.#around = around;
    this.#observer = observer;
  }

  get isRunning(): boolean {
    return this.#worker !== null;
  }

  start(): void {
    this.#isHalted = false;
    void this.#start();
  }

  /** Ends when the thread serves; at once if it does. */
  whenReady(): Promise<void> {
    if (this.readyAtMs > 0) return Promise.resolve();
    return new Promise((resolve) => this.#onReady.push(resolve));
  }

  post(message: ToThread, transfer: Transferable[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  /** Ends a thread that hangs; it is restarted. */
  kill(cause: string): void {
    this.#cause = cause;
    void this.#worker?.terminate();
  }

  /**
   * Ends when the thread has ended: by itself, or by force after `timeoutMs` and a grace; at once if it does not
   * serve yet. Not restarted.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.#isHalted = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    const worker = this.#worker;
    if (worker === null) return;
    if (this.readyAtMs === 0) {
      await worker.terminate();
      return;
    }
    const { slot } = this.place;
    this.#around.threads.setState(slot, "draining");
    const done = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs + DRAIN_GRACE_MS, false);
      this.#onDrained = () => {
        clearTimeout(timer);
        resolve(true);
      };
      this.post({ type: "drain", timeoutMs });
    });
    this.#onDrained = null;
    if (!done) this.#around.log.warn("a thread did not drain in time and is ended", this.#fields());
    if (this.#worker === worker) await worker.terminate();
  }

  async #start(): Promise<void> {
    const { place } = this;
    const generation = ++this.generation;
    this.#restart = null;
    let taken: TakenSockets;
    try {
      taken = await this.#around.sockets.takeFor(place.slot);
    } catch (error) {
      this.#around.log.error("a thread could not get its sockets", {
        ...this.#fields(),
        error: String(error),
      });
      if (!this.#isHalted && generation === this.generation) this.#restartLater(0);
      return;
    }
    if (this.#isHalted || generation !== this.generation) {
      taken.closeLeftOvers();
      return;
    }
    this.#around.threads.begin(place.slot, this.generation);
    this.startedAtMs = this.#around.threads.lastBeat(place.slot);
    this.#launch(taken);
    this.#observer.onStarted(this);
  }

  #launch(taken: TakenSockets): void {
    const { role, slot, group, entry, resourceLimits } = this.place;
    const { shared, config, dataFolder, ticketKeys } = this.#around;
    const { listeners } = taken;
    const { generation } = this;
    const workerData: ThreadStart = {
      role,
      slot,
      generation,
      group,
      shared,
      config,
      dataFolder,
      listeners,
      ticketKeys,
    };
    const name = role === "worker" ? `worker ${slot}` : role;
    const worker = new Worker(entry, { name, workerData, resourceLimits });
    this.#worker = worker;
    this.#cause = null;
    worker.on("message", (message: FromThread) => this.#onMessage(message));
    worker.on("error", (error) => {
      this.#cause = describe(error);
    });
    worker.once("exit", (code) => this.#onExit(code, taken));
  }

  #onMessage(message: FromThread): void {
    switch (message.type) {
      case "ready":
        this.readyAtMs = monotonicMs();
        if (!this.#isHalted) this.#around.threads.setState(this.place.slot, "ready");
        for (const tell of this.#onReady.splice(0)) tell();
        this.#observer.onReady(this);
        break;
      case "drained":
        this.#onDrained?.();
        break;
      case "fatal":
        this.#observer.onFatal(this, message.message);
        break;
    }
  }

  #onExit(code: number, taken: TakenSockets): void {
    this.#worker = null;
    this.readyAtMs = 0;
    taken.closeLeftOvers();
    repairAfterDeath(this.#around.shared, this.place.slot, this.generation);
    if (this.#isHalted) {
      this.#onDrained?.();
      return;
    }
    const cause = this.#cause ?? `exit code ${code}`;
    this.#around.log.error("a thread died and is started again", { ...this.#fields(), cause });
    this.#observer.onDied(this, cause);
    this.#restartLater(monotonicMs() - this.startedAtMs);
  }

  #restartLater(ranMs: number): void {
    this.#restart = setTimeout(() => void this.#start(), this.#backOff.afterDeath(ranMs));
  }

  #fields(): object {
    return { thread: this.place.role, slot: this.place.slot, generation: this.generation };
  }
}

/** Of what a thread threw, which need not be an Error. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  return error.stack ?? error.message;
}
