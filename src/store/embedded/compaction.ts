/**
 * Keeps the history of the embedded store within its bounds, in the background and in small steps.
 *
 * A revision leaves the history when it is older than the newest `historyRevisions`, or than `historyDays`, or when
 * the past versions together have more than `historyBytes`: then the oldest go. The newest version of what still exists
 * always stays and is not counted, so that `history` shows at least how things are.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";

export interface HistoryBounds {
  historyRevisions: number;
  historyDays: number;
  /** Of the values of past versions; absent: any number. */
  historyBytes?: number;
}

/** Revisions that one step removes: below a millisecond of work. */
const STEP = 200;
const DAY_MS = 86_400_000;
/** What is in the history and not the newest version of something that exists. */
const IS_PAST = `NOT EXISTS
  (SELECT 1 FROM items WHERE items.key = history.key AND items.mod_revision = history.revision)`;
/** A step costs a flush to the disk: it waits until that many revisions can go, or until the next hour. */
const WORTHWHILE = 100;
const AGE_CHECK_MS = 3_600_000;
const PAUSE_MS = 5;

export class Compaction {
  readonly #bounds: HistoryBounds;
  readonly #now: () => number;
  readonly #database: DatabaseSync;
  readonly #compactedOf: StatementSync;
  readonly #newestBefore: StatementSync;
  readonly #removeUpTo: StatementSync;
  readonly #setCompacted: StatementSync;
  readonly #pastBytesOf: StatementSync;
  readonly #oldest: StatementSync;
  readonly #ageCheck: NodeJS.Timeout;
  #timer: NodeJS.Timeout | null = null;
  #revision = 0;
  #floorByAge = 0;
  #compacted = 0;
  /** Bytes of all values that are no longer those of their keys. */
  #pastBytes = 0;

  constructor(database: DatabaseSync, bounds: HistoryBounds, now: () => number) {
    this.#database = database;
    this.#bounds = bounds;
    this.#now = now;
    this.#compactedOf = database.prepare("SELECT value FROM meta WHERE name = 'compacted'");
    this.#newestBefore = database.prepare(
      "SELECT revision FROM history WHERE revision > ? AND time < ? ORDER BY revision DESC LIMIT 1",
    );
    this.#removeUpTo = database.prepare(
      `DELETE FROM history WHERE revision > ? AND revision <= ? AND ${IS_PAST} RETURNING octet_length(value) AS bytes`,
    );
    this.#oldest = database.prepare(
      `SELECT revision, octet_length(value) AS bytes FROM history WHERE revision > ? AND ${IS_PAST}
         ORDER BY revision LIMIT ${STEP}`,
    );
    this.#pastBytesOf = database.prepare(
      `SELECT coalesce((SELECT sum(octet_length(value)) FROM history), 0) -
         coalesce((SELECT sum(octet_length(value)) FROM items), 0) AS bytes`,
    );
    this.#setCompacted = database.prepare("UPDATE meta SET value = ? WHERE name = 'compacted'");
    this.reload();
    this.#checkAge();
    this.#ageCheck = setInterval(() => {
      this.#checkAge();
      this.#schedule(1);
    }, AGE_CHECK_MS).unref();
  }

  /** Revisions up to this one may be missing. */
  get compacted(): number {
    return this.#compacted;
  }

  /** Reads the mark again after another process may have moved it. */
  reload(): void {
    this.#compacted = Number(this.#compactedOf.get()!.value);
    this.#pastBytes = Number(this.#pastBytesOf.get()!.bytes);
  }

  /** There is a newer revision, which made values of `pastBytes` past ones; works later, if there is enough to do. */
  poke(revision: number, pastBytes = 0): void {
    this.#revision = revision;
    this.#pastBytes += pastBytes;
    this.#schedule(WORTHWHILE);
  }

  stop(): void {
    clearInterval(this.#ageCheck);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(worthwhile: number): void {
    if (this.#timer !== null) return;
    if (this.#excessBytes() <= 0 && this.#floor() - this.#compacted < worthwhile) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#step()) this.#schedule(1);
    }, PAUSE_MS).unref();
  }

  #floor(): number {
    return Math.max(this.#revision - this.#bounds.historyRevisions, this.#floorByAge);
  }

  #excessBytes(): number {
    return this.#pastBytes - (this.#bounds.historyBytes ?? Infinity);
  }

  /** Up to which revision a step goes. A few large ones may be all that is too much. */
  #target(): number {
    const target = Math.min(this.#floor(), this.#compacted + STEP);
    let excess = this.#excessBytes();
    if (excess <= 0) return target;
    let revision = this.#compacted;
    for (const row of this.#oldest.iterate(this.#compacted)) {
      if (excess <= 0 && Number(row.revision) !== revision) break;
      revision = Number(row.revision);
      excess -= Number(row.bytes ?? 0);
    }
    return Math.max(target, revision);
  }

  #checkAge(): void {
    const cutoff = this.#now() - this.#bounds.historyDays * DAY_MS;
    const row = this.#newestBefore.get(this.#compacted, cutoff);
    if (row !== undefined) this.#floorByAge = Number(row.revision);
  }

  /** A lock or a full disk stops it until the next write pokes: nothing depends on when the past is forgotten. */
  #step(): boolean {
    // A large write is under way.
    if (this.#database.isTransaction) return true;
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      const to = this.#target();
      let bytes = 0;
      for (const row of this.#removeUpTo.all(this.#compacted, to)) bytes += Number(row.bytes ?? 0);
      this.#setCompacted.run(to);
      this.#database.exec("COMMIT");
      this.#pastBytes -= bytes;
      this.#compacted = to;
      return true;
    } catch {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      return false;
    }
  }
}
