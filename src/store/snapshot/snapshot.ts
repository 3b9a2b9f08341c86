/**
 * The last good configuration of a node as a sealed file: what the store held, at which revision, and until when
 * that is known to have been the newest. One line of JSON for the head, one for each item.
 *
 * It belongs to one source ("etcd /apisix"): a node that is pointed elsewhere does not start from what it had before.
 */

import type { Pace } from "../../lib/pace.ts";
import type { StoredItem, StoreState } from "../contract.ts";
import { type SealedFile, SealedFileError } from "./sealed-file.ts";

export interface Snapshot extends StoreState {
  /** Of the store. */
  identity: string;
  /** The node's published revision when it was taken. */
  published: number;
  /** Milliseconds since 1970: until then nothing newer is known. */
  confirmedAt: number;
}

interface Head extends Omit<Snapshot, "items"> {
  source: string;
  items: number;
}

type Line = [key: string, value: string, createRevision: number, modRevision: number];

export async function writeSnapshot(
  file: SealedFile,
  source: string,
  snapshot: Snapshot,
  pace?: Pace,
): Promise<void> {
  await file.write(linesOf(source, snapshot), snapshot.confirmedAt, pace);
}

/** Null: there is none. Throws `SealedFileError` when it cannot be used. */
export async function readSnapshot(file: SealedFile, source: string): Promise<Snapshot | null> {
  const lines = new LineReader();
  let isThere: boolean;
  try {
    isThere = await file.read((text) => lines.take(text));
  } catch (error) {
    // What fails to parse before the tag is reached was changed as well.
    if (error instanceof SyntaxError) throw unusable(file, "it is damaged");
    throw error;
  }
  if (!isThere) return null;
  const { head, items } = lines;
  if (head === null || head.items !== items.length) throw unusable(file, "it is not complete");
  if (head.source !== source)
    throw unusable(file, `it is of another store: ${head.source}, expected ${source}`);
  const { revision, identity, published } = head;
  const confirmedAt = Math.max(head.confirmedAt, (await file.changedAt()) ?? 0);
  return { revision, identity, published, confirmedAt, items };
}

function unusable(file: SealedFile, reason: string): SealedFileError {
  return new SealedFileError(`${file.path} cannot be used: ${reason}`);
}

function* linesOf(source: string, snapshot: Snapshot): Generator<string, void, void> {
  const { revision, identity, published, confirmedAt, items } = snapshot;
  const head: Head = { source, revision, identity, published, confirmedAt, items: items.length };
  yield `${JSON.stringify(head)}\n`;
  for (const { key, value, createRevision, modRevision } of items) {
    const line: Line = [key, value, createRevision, modRevision];
    yield `${JSON.stringify(line)}\n`;
  }
}

class LineReader {
  head: Head | null = null;
  readonly items: StoredItem[] = [];
  #rest = "";

  /** Throws `SyntaxError` for what is no JSON. */
  take(text: string): void {
    let from = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", from)) {
      this.#line(this.#rest + text.slice(from, end));
      this.#rest = "";
      from = end + 1;
    }
    this.#rest += text.slice(from);
  }

  #line(line: string): void {
    if (this.head === null) {
      this.head = JSON.parse(line) as Head;
      return;
    }
    const [key, value, createRevision, modRevision] = JSON.parse(line) as Line;
    this.items.push({ key, value, createRevision, modRevision });
  }
}
