/**
 * Keeps the snapshot of a node up to date, at a bounded rate: some time after a change, never twice within the
 * interval, and with at most a twentieth of a core, however large the configuration is: a write takes its time (traffic
 * shares the core), and as long a rest. While nothing changes, the time of the file says until when its content is
 * known to be the newest.
 *
 * A disk that takes nothing is told once and tried again; nothing waits for it.
 */

import type { Log } from "../../lib/log.ts";
import { Pace } from "../../lib/pace.ts";
import type { SealedFile } from "./sealed-file.ts";
import { readSnapshot, type Snapshot, writeSnapshot } from "./snapshot.ts";

export interface KeeperOptions {
  file: SealedFile;
  /** What the configuration comes from: "etcd /apisix". */
  source: string;
  /** Between two writes. */
  intervalMs: number;
  /** What to write; null: nothing is complete at present. */
  take(): Snapshot | null;
  /** Until when what was taken last is known to be the newest; null: not at all. */
  confirmedAt(): number | null;
  log: Pick<Log, "info" | "warn" | "error">;
  /** Milliseconds since 1970. */
  now?: () => number;
}

/** Changes that come one after the other share one write. */
const COLLECT_MS = 1000;
/** A write works for a tenth of the time that it takes. */
const REST_SHARE = 9;

export class SnapshotKeeper {
  readonly #options: KeeperOptions;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #pace: Pace | null = null;
  #isChanged = false;
  #isFailing = false;
  #isClosed = false;
  /** Of the clock of `#now`; no write begins before. */
  #earliestMs = 0;
  /** Whether the file holds what is in service. */
  #isWritten = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** The configuration is another one. */
  changed(): void {
    this.#isChanged = true;
    this.#arm(Math.max(Math.min(COLLECT_MS, this.#options.intervalMs), this.#earliestMs - this.#now()));
  }

  /** What the node may start from; null, with the reason in the log, when there is nothing that can be used. */
  async read(): Promise<Snapshot | null> {
    const { file, source, log } = this.#options;
    try {
      const snapshot = await readSnapshot(file, source);
      if (snapshot === null)
        log.warn("there is no snapshot of an earlier configuration", { file: file.path });
      return snapshot;
    } catch (error) {
      log.error("there is a snapshot of an earlier configuration, but it is of no use", {
        error: messageOf(error),
      });
      return null;
    }
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#pace?.hurry();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#writing;
    if (this.#isChanged) await this.#write();
  }

  #arm(delayMs: number): void {
    if (this.#timer !== null || this.#writing !== null || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#writing = this.#work().finally(() => {
        this.#writing = null;
        this.#arm(Math.max(0, this.#earliestMs - this.#now()));
      });
    }, delayMs).unref();
  }

  async #work(): Promise<void> {
    if (this.#isChanged) await this.#write();
    else if (this.#isWritten) await this.#confirm();
    this.#earliestMs = Math.max(this.#earliestMs, this.#now() + this.#options.intervalMs);
  }

  async #write(): Promise<void> {
    const { file, source, take, intervalMs, log } = this.#options;
    const snapshot = take();
    if (snapshot === null) return;
    this.#isChanged = false;
    const begin = this.#now();
    try {
      await writeSnapshot(file, source, snapshot, this.#newPace());
      this.#isWritten = true;
      if (this.#isFailing) log.info("the snapshot is written again", { file: file.path });
      this.#isFailing = false;
    } catch (error) {
      this.#isChanged = true;
      if (!this.#isFailing) log.error("the snapshot cannot be written", { error: messageOf(error) });
      this.#isFailing = true;
    }
    const end = this.#now();
    this.#earliestMs = end + Math.max(intervalMs, end - begin);
  }

  #newPace(): Pace {
    this.#pace = new Pace(REST_SHARE);
    if (this.#isClosed) this.#pace.hurry();
    return this.#pace;
  }

  /** The file is as old as the last moment at which it was the newest. */
  async #confirm(): Promise<void> {
    const confirmedAt = this.#options.confirmedAt();
    if (confirmedAt === null) return;
    try {
      await this.#options.file.touch(confirmedAt);
    } catch {
      // Somebody took it away: what is in service is written anew.
      this.#isChanged = true;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
