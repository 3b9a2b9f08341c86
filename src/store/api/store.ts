/**
 * The store of the API-driven mode: one document, which a client puts as a whole. It is durable before the client
 * hears so, as a sealed file in the data folder, so that neither a restart of the control thread nor one of the node
 * loses it; a file that is damaged is put aside, said so, and the node waits for the next document without any.
 *
 * A resource whose `modifiedIndex` is the same as before stays as it was in service, even when the document says
 * something else about it: such resources are kept beside the document.
 *
 * Single resources are neither written nor remembered here.
 */

import { randomUUID } from "node:crypto";
import { rename } from "node:fs/promises";
import { jsonPieces } from "../../lib/json-in-slices.ts";
import type { Log } from "../../lib/log.ts";
import { slices } from "../../lib/slices.ts";
import {
  type HistoryEntry,
  type Store,
  type StoreContact,
  type StoredItem,
  type StoreEvent,
  type StoreListener,
  type StoreState,
  StoreUnavailableError,
} from "../contract.ts";
import { PresentWatches } from "../present-watches.ts";
import { type SealedFile, SealedFileError } from "../snapshot/sealed-file.ts";
import { type ConfigsDocument, type DocumentItem, itemsOf } from "./document.ts";

export interface DocumentStoreOptions {
  file: SealedFile;
  log: Pick<Log, "info" | "warn" | "error">;
  /** Milliseconds since 1970. */
  now?: () => number;
}

/** An item in service, and the client's number for it. */
interface KeptItem {
  item: StoredItem;
  modifiedIndex: number | null;
}

/** What the file holds, as JSON. */
interface Kept {
  identity: string;
  revision: number;
  document: ConfigsDocument;
  /** Items that are not as the document has them. */
  held: StoredItem[];
}

export class DocumentStore implements Store {
  readonly #file: SealedFile;
  readonly #log: DocumentStoreOptions["log"];
  readonly #now: () => number;
  readonly #watches = new PresentWatches();
  #identity: string = randomUUID();
  #revision = 0;
  #document: ConfigsDocument | null = null;
  #items = new Map<string, KeptItem>();
  #writing: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /** Reads what was put before. */
  static async open(options: DocumentStoreOptions): Promise<DocumentStore> {
    const store = new DocumentStore(options);
    await store.#read();
    return store;
  }

  private constructor({ file, log, now }: DocumentStoreOptions) {
    this.#file = file;
    this.#log = log;
    this.#now = now ?? Date.now;
  }

  get identity(): string {
    return this.#identity;
  }

  /** Null: none was put yet. */
  get document(): ConfigsDocument | null {
    return this.#document;
  }

  /**
   * Takes the place of the document, one after the other: `make` decides, upon the document as it is then, or gives
   * null for no change. Gives the new revision, durable; null without a change. Rejects with
   * `StoreUnavailableError`, and changes nothing, when the disk takes nothing.
   */
  async replace(make: (before: ConfigsDocument | null) => ConfigsDocument | null): Promise<number | null> {
    const turn = this.#writing.then(() => this.#replace(make));
    this.#writing = turn.catch(() => {});
    return await turn;
  }

  contact(): StoreContact {
    return { isReachable: !this.#isClosed, lastAt: this.#now() };
  }

  async load(): Promise<StoreState> {
    this.#assertOpen();
    return { revision: this.#revision, items: [...this.#items.values()].map(({ item }) => item) };
  }

  watch(from: number, listener: StoreListener, signal: AbortSignal): void {
    this.#assertOpen();
    this.#watches.add(from, this.#revision, listener, signal);
  }

  async get(key: string): Promise<StoredItem | null> {
    this.#assertOpen();
    return this.#items.get(key)?.item ?? null;
  }

  async write(): Promise<number> {
    throw new StoreUnavailableError("the resources of this node are put as one document");
  }

  async history(): Promise<HistoryEntry[]> {
    return [];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watches.clear();
    await this.#writing;
  }

  async #replace(make: (before: ConfigsDocument | null) => ConfigsDocument | null): Promise<number | null> {
    this.#assertOpen();
    const document = make(this.#document);
    if (document === null) return null;
    const revision = this.#revision + 1;
    const { items, held, events } = await this.#compare(itemsOf(document), revision);
    const kept: Kept = { identity: this.#identity, revision, document, held };
    try {
      await this.#file.write(textOf(kept), this.#now());
    } catch (error) {
      this.#log.error("the document cannot be kept", { error: String(error) });
      throw new StoreUnavailableError(
        "the document cannot be written to the disk of this node; nothing was changed",
      );
    }
    this.#document = document;
    this.#revision = revision;
    this.#items = items;
    this.#watches.tell({ revision, events });
    return revision;
  }

  /** What would be in service after `found`, and what of it is not as the document has it. */
  async #compare(found: Iterable<DocumentItem>, revision: number) {
    const breathe = slices();
    const items = new Map<string, KeptItem>();
    const held: StoredItem[] = [];
    const events: StoreEvent[] = [];
    for (const each of found) {
      const { key, value, position, modifiedIndex } = each;
      const before = this.#items.get(key);
      const isEqual =
        before !== undefined && before.item.value === value && before.item.createRevision === position;
      const isHeld = before !== undefined && modifiedIndex !== null && before.modifiedIndex === modifiedIndex;
      const item = isEqual || isHeld ? before.item : storedItem(each);
      items.set(key, { item, modifiedIndex });
      if (isHeld && !isEqual) held.push(item);
      if (item !== before?.item) events.push({ type: "put", item });
      await breathe();
    }
    for (const key of this.#items.keys()) {
      if (!items.has(key)) events.push({ type: "delete", key, modRevision: revision });
    }
    return { items, held, events };
  }

  async #read(): Promise<void> {
    let kept: Kept;
    try {
      let text = "";
      if (!(await this.#file.read((piece) => (text += piece)))) return;
      kept = JSON.parse(text) as Kept;
    } catch (error) {
      if (!(error instanceof SealedFileError) && !(error instanceof SyntaxError)) throw error;
      const aside = `${this.#file.path}.damaged`;
      await rename(this.#file.path, aside);
      this.#log.error("the document that was put before is lost; waiting for the next one", {
        error: error.message,
        aside,
      });
      return;
    }
    this.#identity = kept.identity;
    this.#revision = kept.revision;
    this.#document = kept.document;
    const held = new Map(kept.held.map((item) => [item.key, item]));
    for (const each of itemsOf(kept.document)) {
      const item = held.get(each.key) ?? storedItem(each);
      this.#items.set(each.key, { item, modifiedIndex: each.modifiedIndex });
    }
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new StoreUnavailableError("the store is closed");
  }
}

/** As `JSON.stringify` has it, in pieces. */
function* textOf({ document, ...rest }: Kept): Generator<string, void, void> {
  const { lists, ...facts } = document;
  yield `${JSON.stringify(rest).slice(0, -1)},"document":${JSON.stringify(facts).slice(0, -1)},"lists":`;
  yield* jsonPieces(lists);
  yield "}}";
}

/** The client's numbers, at the time of the last difference, stand for revisions; the place in the list orders routes that are otherwise equal. */
function storedItem({ key, value, position, modifiedIndex, version }: DocumentItem): StoredItem {
  return {
    key,
    value,
    createRevision: position,
    modRevision: Math.max(1, Math.floor(modifiedIndex ?? version)),
  };
}
