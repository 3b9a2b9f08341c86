/**
 * The node and its tenants: one supervisor for each, driven as one.
 *
 * A tenant is a node within the node. It has threads, shared memory, sockets and a folder of its own, so what floods
 * or breaks one reaches no other; the process, its signals and upgrades are common. Until all serve, a mistake in one
 * ends all, as it does without tenants; afterwards the others go on.
 */

import { join } from "node:path";
import { sharesStore, type StaticConfig } from "../config/static-config.ts";
import type { Log } from "../lib/log.ts";
import type { SocketPlan } from "./protocol.ts";
import { Sockets, type TakeSocket } from "./sockets.ts";
import { StoreLink } from "./store-link.ts";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";

/** Below the data folder. */
const TENANTS_FOLDER = "tenants";

export interface TenancyOptions extends Omit<SupervisorOptions, "sockets" | "storeLink"> {
  plans: readonly SocketPlan[];
  take: TakeSocket;
}

export class Tenancy {
  /** The node's own comes first. */
  readonly #supervisors: Supervisor[] = [];
  readonly #options: TenancyOptions;
  /** Over it all of them reach the store; null: there is nothing to share. */
  readonly #storeLink: StoreLink | null;
  #missing: number;

  /** Takes the locks on all folders: throws `DataFolderInUseError` when another process has one. */
  constructor(options: TenancyOptions) {
    this.#options = options;
    const { config, entries, log } = options;
    const configs = [config, ...config.tenants];
    this.#storeLink = sharesStore(config)
      ? new StoreLink({
          entry: entries.storeLink,
          config,
          log,
          onStarted: () => {
            for (const supervisor of this.#supervisors) supervisor.introduceStoreLink();
          },
        })
      : null;
    this.#missing = configs.length;
    try {
      for (const each of configs) this.#supervisors.push(this.#supervisorOf(each));
    } catch (error) {
      for (const supervisor of this.#supervisors) void supervisor.drain();
      throw error;
    }
  }

  start(): void {
    this.#storeLink?.start();
    for (const supervisor of this.#supervisors) supervisor.start();
  }

  reopenLogs(): void {
    for (const supervisor of this.#supervisors) supervisor.reopenLogs();
  }

  /** Ends when all are drained. Idempotent. */
  async drain(): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.drain()));
    await this.#storeLink?.end();
  }

  async yieldControl(): Promise<void> {
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.yieldControl()));
  }

  /** Throws when a folder is taken. */
  resumeControl(): void {
    for (const supervisor of this.#supervisors) supervisor.resumeControl();
  }

  /** A worker of the node itself. */
  async replace(slot: number): Promise<void> {
    await this.#supervisors[0].replace(slot);
  }

  #supervisorOf(config: StaticConfig): Supervisor {
    const { plans, take, dataFolder, log, ...rest } = this.#options;
    const { tenant } = config;
    const own = plans.filter((plan) => (plan.tenant ?? null) === tenant);
    return new Supervisor({
      ...rest,
      config,
      dataFolder: tenant === null ? dataFolder : join(dataFolder, TENANTS_FOLDER, tenant),
      sockets: new Sockets(take, own),
      storeLink: this.#storeLink,
      log: tenant === null ? log : log.with({ tenant }),
      onReady: () => this.#onReady(),
      onFatal: (message) => this.#onFatal(tenant, message, log),
    });
  }

  #onReady(): void {
    this.#missing--;
    if (this.#missing === 0) this.#options.onReady();
  }

  #onFatal(tenant: string | null, message: string, log: Log): void {
    if (tenant === null) this.#options.onFatal(message);
    else if (this.#missing > 0) this.#options.onFatal(`tenant ${tenant}: ${message}`);
    else log.error("a tenant serves on without what went wrong", { tenant, error: message });
  }
}
