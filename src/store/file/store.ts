/**
 * The store of a data plane: one declarative file, read only, looked at once a second.
 *
 * A version of the file is taken whole, as one change, or not at all: when the file as a whole cannot be
 * used, or when it breaks a resource that is not broken already in the version in service. A refused version
 * is told in the log with file, line and resource, and the one before stays. The first version has none
 * before it: its broken resources are left to the quarantine, and the others are served.
 *
 * Until there is a usable file, `load` waits; so a node may start before its file is written, and a control
 * thread that is started anew while the file is broken takes nothing from the workers.
 *
 * Keeps no past: who watches from elsewhere than the present loads anew.
 */

import { randomUUID } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { ConfigError, problemText } from "../../config/config-error.ts";
import type { Log } from "../../lib/log.ts";
import {
  type HistoryEntry,
  type Store,
  type StoreContact,
  type StoreEvent,
  type StoredItem,
  type StoreListener,
  type StoreState,
  StoreUnavailableError,
} from "../contract.ts";
import { PresentWatches } from "../present-watches.ts";
import { type FileDocument, type FileFormat, type ItemCheck, readDocumentAside } from "./document.ts";

export interface FileStoreOptions {
  file: string;
  format: FileFormat;
  env: NodeJS.ProcessEnv;
  check: ItemCheck;
  log: Pick<Log, "info" | "warn" | "error">;
}

const LOOK_EVERY_MS = 1000;
/** Faults of one version that are told. */
const FAULTS_TOLD = 100;

export class FileStore implements Store {
  readonly identity = randomUUID();
  readonly #options: FileStoreOptions;
  readonly #loaded = Promise.withResolvers<void>();
  readonly #timer: NodeJS.Timeout;
  #items = new Map<string, StoredItem>();
  /** Keys of resources that are broken in the version in service. */
  #broken: ReadonlySet<string> = new Set();
  #revision = 0;
  /** Of the file as it was read last; "": never. */
  #stamp = "";
  #looking: Promise<void> | null = null;
  readonly #watches = new PresentWatches();
  #isRefusing = false;
  #isReadable = false;
  #lastAt: number | null = null;
  readonly #end = new AbortController();

  constructor(options: FileStoreOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
    void this.look();
  }

  /** Whether the file as it is now was refused. */
  get isRefusing(): boolean {
    return this.#isRefusing;
  }

  /** Reachable: the file can be read. The configuration grows old while the file is one that is refused. */
  contact(): StoreContact {
    return { isReachable: this.#isReadable && !this.#end.signal.aborted, lastAt: this.#lastAt };
  }

  /** Takes the file over if it has changed. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  /** Waits for the first usable version; for ever when the store is closed before. */
  async load(): Promise<StoreState> {
    this.#assertOpen();
    await this.#loaded.promise;
    return { revision: this.#revision, items: [...this.#items.values()] };
  }

  watch(from: number, listener: StoreListener, signal: AbortSignal): void {
    this.#assertOpen();
    this.#watches.add(from, this.#revision, listener, signal);
  }

  async get(key: string): Promise<StoredItem | null> {
    this.#assertOpen();
    return this.#items.get(key) ?? null;
  }

  async write(): Promise<number> {
    throw new StoreUnavailableError(`the configuration stands in ${this.#options.file} and is changed there`);
  }

  async history(): Promise<HistoryEntry[]> {
    return [];
  }

  async close(): Promise<void> {
    this.#end.abort();
    clearInterval(this.#timer);
    this.#watches.clear();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { file, log } = this.#options;
    let text: string;
    try {
      const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
      const stamp = `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
      this.#isReadable = true;
      if (stamp === this.#stamp) {
        if (!this.#isRefusing) this.#lastAt = Date.now();
        return;
      }
      text = await readFile(file, "utf8");
      this.#stamp = stamp;
    } catch (error) {
      this.#isReadable = false;
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#stamp !== reason) this.#refuse([`${file} cannot be read: ${reason}`]);
      this.#stamp = reason;
      return;
    }
    if (!this.#end.signal.aborted) await this.#consider(text, log);
  }

  async #consider(text: string, log: FileStoreOptions["log"]): Promise<void> {
    const { file, format, env, check } = this.#options;
    const { signal } = this.#end;
    let document: FileDocument;
    try {
      const input = { name: file, text: text.replace(/^\uFEFF/, ""), format, env, check };
      document = await readDocumentAside(input, signal);
    } catch (error) {
      if (signal.aborted) return;
      const lines =
        error instanceof ConfigError ? error.message.split("\n") : [`internal error: ${String(error)}`];
      this.#refuse(lines);
      return;
    }
    if (signal.aborted) return;
    const { faults, warnings } = document;
    const lines = [...faults.values()].map((fault) => problemText(file, fault));
    for (const warning of warnings) log.warn(`${file}: ${warning}`);
    if (this.#revision > 0 && [...faults.keys()].some((key) => !this.#broken.has(key))) {
      this.#refuse(lines);
      return;
    }
    for (const line of lines.slice(0, FAULTS_TOLD)) log.error(`a fault in the configuration file: ${line}`);
    this.#isRefusing = false;
    this.#lastAt = Date.now();
    this.#broken = new Set(faults.keys());
    this.#take(document);
  }

  #refuse(lines: readonly string[]): void {
    this.#isRefusing = true;
    const { log } = this.#options;
    for (const line of lines.slice(0, FAULTS_TOLD)) log.error(line);
    const effect = this.#revision > 0 ? "the version before stays in service" : "waiting for a usable one";
    log.error(`the configuration file is refused: ${effect}`, { problems: lines.length });
  }

  #take(document: FileDocument): void {
    const revision = this.#revision + 1;
    const items = new Map<string, StoredItem>();
    const events: StoreEvent[] = [];
    for (const { key, value, position } of document.items) {
      const before = this.#items.get(key);
      const isSame = before !== undefined && before.value === value && before.createRevision === position;
      // The place in the file stands for the time of making: it orders routes that are otherwise equal.
      const item = isSame ? before : { key, value, createRevision: position, modRevision: revision };
      items.set(key, item);
      if (!isSame) events.push({ type: "put", item });
    }
    for (const key of this.#items.keys()) {
      if (!items.has(key)) events.push({ type: "delete", key, modRevision: revision });
    }
    const isFirst = this.#revision === 0;
    if (!isFirst && events.length === 0) return;
    this.#items = items;
    this.#revision = revision;
    this.#options.log.info("the configuration file is taken over", { resources: items.size, revision });
    this.#loaded.resolve();
    this.#watches.tell({ revision, events });
  }

  #assertOpen(): void {
    if (this.#end.signal.aborted) throw new StoreUnavailableError("the store is closed");
  }
}
