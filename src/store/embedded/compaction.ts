/**
 * Keeps the history of the embedded store within its bounds, in the background and in small steps.
 *
 * A revision leaves the history when it is older than the newest `historyRevisions`, or than `historyDays`.
 * The newest version of what still exists always stays, so that `history` shows at least how things are.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";

export interface HistoryBounds {
  historyRevisions: number;
  historyDays: number;
}

/** Revisions that one step removes: below a millisecond of work. */
const STEP = 200;
const DAY_MS = 86_400_000;
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
  readonly #ageCheck: NodeJS.Timeout;
  #timer: NodeJS.Timeout | null = null;
  #revision = 0;
  #floorByAge = 0;
  #compacted = 0;

  constructor(database: DatabaseSync, bounds: HistoryBounds, now: () => number) {
    this.#database = database;
    this.#bounds = bounds;
    this.#now = now;
    this.#compactedOf = database.prepare("SELECT value FROM meta WHERE name = 'compacted'");
    this.#newestBefore = database.prepare(
      "SELECT revision FROM history WHERE revision > ? AND time < ? ORDER BY revision DESC LIMIT 1",
    );
    this.#removeUpTo = database.prepare(
      `DELETE FROM history WHERE revision > ? AND revision <= ? AND NOT EXISTS
         (SELECT 1 FROM items WHERE items.key = history.key AND items.mod_revision = history.revision)`,
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
  }

  /** There is a newer revision; works later, if there is enough to do. */
  poke(revision: number): void {
    this.#revision = revision;
    this.#schedule(WORTHWHILE);
  }

  stop(): void {
    clearInterval(this.#ageCheck);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(worthwhile: number): void {
    if (this.#timer !== null || this.#floor() - this.#compacted < worthwhile) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#step()) this.#schedule(1);
    }, PAUSE_MS).unref();
  }

  #floor(): number {
    return Math.max(this.#revision - this.#bounds.historyRevisions, this.#floorByAge);
  }

  #checkAge(): void {
    const cutoff = this.#now() - this.#bounds.historyDays * DAY_MS;
    const row = this.#newestBefore.get(this.#compacted, cutoff);
    if (row !== undefined) this.#floorByAge = Number(row.revision);
  }

  /** A lock or a full disk stops it until the next write pokes: nothing depends on when the past is forgotten. */
  #step(): boolean {
    const to = Math.min(this.#floor(), this.#compacted + STEP);
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      this.#removeUpTo.run(this.#compacted, to);
      this.#setCompacted.run(to);
      this.#database.exec("COMMIT");
      this.#compacted = to;
      return true;
    } catch {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      return false;
    }
  }
}
