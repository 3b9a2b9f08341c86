/**
 * The thread that holds the connection to the store for a node with tenants: started with the node, again with
 * back-off when it dies, and ended when it says nothing any more. While there is none, control threads find the store
 * out of reach, and traffic goes on.
 */

import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { StaticConfig } from "../config/static-config.ts";
import type { Log } from "../lib/log.ts";
import type { FromStoreLink, ToStoreLink } from "../shared/messages.ts";
import { monotonicMs } from "../shared/threads.ts";
import { BackOff } from "./back-off.ts";
import { Watchdog } from "./watchdog.ts";

/** Until the first heartbeat. */
const START_GRACE_MS = 60_000;
/** It holds pages of answers on their way, and what slow readers have not read yet. */
const LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 6 };
/** The only one that its watchdog knows. */
const SLOT = 0;

export interface StoreLinkOptions {
  entry: URL;
  config: StaticConfig;
  log: Log;
  /** It takes ports; what had one needs another. */
  onStarted(): void;
}

export class StoreLink {
  readonly #options: StoreLinkOptions;
  readonly #backOff = new BackOff();
  readonly #watchdog: Watchdog;
  #worker: Worker | null = null;
  #watching: NodeJS.Timeout | null = null;
  #restart: NodeJS.Timeout | null = null;
  #startedAtMs = 0;
  #lastBeatMs = 0;
  #cause: string | null = null;
  #isEnded = false;

  constructor(options: StoreLinkOptions) {
    this.#options = options;
    const { heartbeatMs, staleAfterMs } = options.config.supervision;
    const limits = { heartbeatMs, staleAfterMs, startGraceMs: START_GRACE_MS };
    this.#watchdog = new Watchdog(limits, monotonicMs());
  }

  start(): void {
    this.#watching = setInterval(() => this.#watch(), this.#options.config.supervision.heartbeatMs);
    this.#start();
  }

  /** Whoever has it reaches the store with it; null: the thread is being started. */
  port(): MessagePort | null {
    if (this.#worker === null) return null;
    const { port1, port2 } = new MessageChannel();
    const message: ToStoreLink = { type: "serve", port: port1 };
    this.#worker.postMessage(message, [port1]);
    return port2;
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    if (this.#watching !== null) clearInterval(this.#watching);
    if (this.#restart !== null) clearTimeout(this.#restart);
    await this.#worker?.terminate();
  }

  #start(): void {
    const { entry, config, onStarted } = this.#options;
    const { store, supervision } = config;
    const workerData = { config: store, heartbeatMs: supervision.heartbeatMs };
    const worker = new Worker(entry, { name: "store link", workerData, resourceLimits: LIMITS });
    this.#worker = worker;
    this.#cause = null;
    this.#startedAtMs = monotonicMs();
    this.#lastBeatMs = 0;
    worker.on("message", (_beat: FromStoreLink) => {
      if (this.#lastBeatMs === 0) this.#watchdog.recovered(SLOT);
      this.#lastBeatMs = monotonicMs();
    });
    worker.on("error", (error) => {
      this.#cause = error instanceof Error ? (error.stack ?? error.message) : `threw ${String(error)}`;
    });
    worker.once("exit", (code) => this.#onExit(code));
    onStarted();
  }

  #onExit(code: number): void {
    this.#worker = null;
    if (this.#isEnded) return;
    const cause = this.#cause ?? `exit code ${code}`;
    this.#options.log.error("a thread died and is started again", { thread: "store link", cause });
    const pauseMs = this.#backOff.afterDeath(monotonicMs() - this.#startedAtMs);
    this.#restart = setTimeout(() => this.#start(), pauseMs);
  }

  #watch(): void {
    const [startedAtMs, lastBeatMs] = [this.#startedAtMs, this.#lastBeatMs];
    const hasBeaten = lastBeatMs > 0;
    const watched = this.#worker === null ? [] : [{ slot: SLOT, startedAtMs, lastBeatMs, hasBeaten }];
    if (this.#watchdog.look(monotonicMs(), watched) === null) return;
    this.#cause = `no heartbeat for ${Math.round(monotonicMs() - lastBeatMs)} ms`;
    void this.#worker?.terminate();
  }
}
