/**
 * The supervisor: starts control and the workers, keeps them running, and lets them finish.
 *
 * It does little, so that it cannot fail: no store, no parsing, no HTTP. Any thread that dies is started again
 * (`thread.ts`), one that hangs is ended (`watchdog.ts`). Control and every worker get a message port to each other
 * whenever either of the two starts. Traffic needs no control: it may die, or be yielded during an upgrade, while
 * the workers serve.
 */

import { randomBytes } from "node:crypto";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { StaticConfig } from "../config/static-config.ts";
import type { Log } from "../lib/log.ts";
import { SUPERVISOR_SLOT } from "../shared/lanes.ts";
import { createSharedMemory, openSharedMemory } from "../shared/shared-memory.ts";
import { monotonicMs, type Threads } from "../shared/threads.ts";
import { DataFolderLock } from "./data-folder-lock.ts";
import { CONTROL_SLOT } from "./protocol.ts";
import { groupsBySlot } from "./socket-plan.ts";
import type { Sockets } from "./sockets.ts";
import type { ThreadEntries } from "./test-parts.ts";
import { SupervisedThread, type ThreadObserver, type ThreadSurroundings } from "./thread.ts";
import { Watchdog, type WatchedThread } from "./watchdog.ts";

/** Until the first heartbeat of a thread: it reads its modules, possibly with all others on a busy machine. */
const START_GRACE_MS = 60_000;

/** What control gets to finish its writes and answers, whatever the workers may have. */
const CONTROL_DRAIN_MS = 5_000;

/** As `tls.createSecureContext` wants them. */
const TICKET_KEY_BYTES = 48;

/** Control allocates in bursts and is not measured by throughput: a small young generation keeps about 14 MB. */
const CONTROL_LIMITS = { maxYoungGenerationSizeMb: 6 };

/** Three half-spaces of 16 MB. V8's own choice is 192 MB, of which a busy worker comes to fill most. */
const WORKER_YOUNG_MB = 48;

const CONTROL_GROUP = "control";

export interface SupervisorOptions {
  config: StaticConfig;
  dataFolder: string;
  sockets: Sockets;
  entries: ThreadEntries;
  log: Log;
  /** Gives control a port to the thread that holds the connection to the store; null: control has its own. */
  storeLink: StoreLinkSource | null;
  /** During an upgrade: a thread that dies before the node serves is fatal, since the old node can go on. */
  mustStartCleanly: boolean;
  /** Once: control and all workers serve. */
  onReady(): void;
  /** A mistake that no restart mends. */
  onFatal(message: string): void;
}

export interface StoreLinkSource {
  /** Null: it is being started, and will be introduced by `introduceStoreLink`. */
  port(): MessagePort | null;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #control: SupervisedThread;
  readonly #workers: SupervisedThread[];
  readonly #threads: Threads;
  readonly #watchdog: Watchdog;
  #lock: DataFolderLock;
  #watching: NodeJS.Timeout | null = null;
  #wasReady = false;
  #isYielded = false;
  #drained: Promise<void> | null = null;

  /** Takes the lock on the data folder: throws `DataFolderInUseError` when another node has it. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { config, dataFolder, sockets, entries, log } = options;
    this.#lock = DataFolderLock.take(dataFolder);
    const groups = groupsBySlot(config);
    const shared = createSharedMemory(config.memory, groups.length, config.metrics.maxSeriesPerWorker);
    this.#threads = openSharedMemory(shared, SUPERVISOR_SLOT, 0).threads;
    const around: ThreadSurroundings = {
      config,
      dataFolder,
      shared,
      // New with every node: tickets of the one before are not resumed, and none can be read later.
      ticketKeys: config.tls.sessionTickets ? randomBytes(TICKET_KEY_BYTES) : null,
      threads: this.#threads,
      sockets,
      log,
    };
    const observer: ThreadObserver = {
      onStarted: (thread) => this.#introduce(thread),
      onReady: (thread) => this.#onThreadReady(thread),
      onDied: (thread, cause) => {
        if (this.#wasReady || !options.mustStartCleanly) return;
        options.onFatal(`${thread.place.role} ${thread.place.slot} died before the node served: ${cause}`);
      },
      onFatal: (_thread, message) => options.onFatal(message),
    };
    this.#control = new SupervisedThread(
      {
        role: "control",
        slot: CONTROL_SLOT,
        group: CONTROL_GROUP,
        entry: entries.control,
        resourceLimits: CONTROL_LIMITS,
      },
      around,
      observer,
    );
    const resourceLimits = {
      maxOldGenerationSizeMb: config.supervision.workerHeapMb,
      maxYoungGenerationSizeMb: WORKER_YOUNG_MB,
    };
    this.#workers = groups.map(
      (group, slot) =>
        new SupervisedThread(
          { role: "worker", slot, group, entry: entries.worker, resourceLimits },
          around,
          observer,
        ),
    );
    const { heartbeatMs, staleAfterMs } = config.supervision;
    this.#watchdog = new Watchdog({ heartbeatMs, staleAfterMs, startGraceMs: START_GRACE_MS }, monotonicMs());
  }

  start(): void {
    for (const thread of this.#all()) thread.start();
    this.#watching = setInterval(() => this.#watch(), this.#options.config.supervision.heartbeatMs);
  }

  /** The thread that holds the connection to the store was started. */
  introduceStoreLink(): void {
    if (!this.#control.isRunning) return;
    const port = this.#options.storeLink?.port() ?? null;
    if (port !== null) this.#control.post({ type: "store-link", port }, [port]);
  }

  reopenLogs(): void {
    for (const thread of this.#all()) thread.post({ type: "reopen" });
  }

  /** Ends when everything that ran is finished, or its time is over. Idempotent. */
  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  /** Ends control and lets go of the data folder, for the process that takes over. Workers serve on. */
  async yieldControl(): Promise<void> {
    this.#isYielded = true;
    await this.#control.drain(CONTROL_DRAIN_MS);
    this.#lock.release();
  }

  /** The other way round; nothing if control was not yielded. Throws when the data folder is taken. */
  resumeControl(): void {
    if (!this.#isYielded) return;
    this.#isYielded = false;
    this.#lock = DataFolderLock.take(this.#options.dataFolder);
    this.#control.start();
  }

  /** Drains a worker and starts another in its slot; its sockets queue connections in between. Ends when that serves. */
  async replace(slot: number): Promise<void> {
    const worker = this.#workers[slot];
    if (worker === undefined || this.#drained !== null) return;
    await worker.drain(this.#options.config.supervision.drainTimeoutMs);
    if (this.#drained !== null) return;
    worker.start();
    await worker.whenReady();
  }

  async #drain(): Promise<void> {
    if (this.#watching !== null) clearInterval(this.#watching);
    const { drainTimeoutMs } = this.#options.config.supervision;
    await Promise.all(this.#workers.map((worker) => worker.drain(drainTimeoutMs)));
    await this.#control.drain(CONTROL_DRAIN_MS);
    this.#lock.release();
  }

  #all(): SupervisedThread[] {
    return [this.#control, ...this.#workers];
  }

  /** Gives the thread its ports to the other side, as far as that runs; the other introduces itself later. */
  #introduce(thread: SupervisedThread): void {
    if (thread === this.#control) {
      this.introduceStoreLink();
      for (const worker of this.#workers) if (worker.isRunning) connect(this.#control, worker);
    } else if (this.#control.isRunning) {
      connect(this.#control, thread);
    }
  }

  #onThreadReady(thread: SupervisedThread): void {
    this.#watchdog.recovered(thread.place.slot);
    const { role, slot } = thread.place;
    this.#options.log.info("a thread serves", { thread: role, slot, generation: thread.generation });
    if (this.#wasReady || !this.#all().every((each) => each.readyAtMs > 0)) return;
    this.#wasReady = true;
    this.#options.onReady();
  }

  #watch(): void {
    const found = this.#watchdog.look(monotonicMs(), this.#watched());
    if (found === null) return;
    const thread = this.#all().find((each) => each.place.slot === found.slot);
    thread?.kill(`no heartbeat for ${Math.round(monotonicMs() - found.lastBeatMs)} ms`);
  }

  *#watched(): Generator<WatchedThread> {
    for (const thread of this.#all()) {
      if (!thread.isRunning) continue;
      const { startedAtMs, readyAtMs } = thread;
      const { slot } = thread.place;
      const lastBeatMs = Math.max(this.#threads.lastBeat(slot), readyAtMs);
      yield { slot, startedAtMs, lastBeatMs, hasBeaten: lastBeatMs > startedAtMs };
    }
  }
}

function connect(control: SupervisedThread, worker: SupervisedThread): void {
  const { port1, port2 } = new MessageChannel();
  const { slot, group } = worker.place;
  control.post({ type: "peer", slot, generation: worker.generation, group, port: port1 }, [port1]);
  worker.post({ type: "peer", slot: CONTROL_SLOT, generation: control.generation, group, port: port2 }, [
    port2,
  ]);
}
