/**
 * The exclusive lock on the data folder: whoever holds it may run control, which writes there.
 *
 * It is an open exclusive transaction on a small SQLite database of its own. That is a lock of the kernel on the
 * file: it is gone with the process however that dies, so no stale pid file can keep a node from starting, and it
 * holds between containers that share the folder, where a socket name (per network namespace) would not. During an
 * upgrade the old process lets go of it together with control, before the new one starts.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { withoutExperimentalWarning } from "./experimental-warning.ts";

const LOCK_FILE = "node.lock";
/** Says who holds the lock; read by people and for the error message only. */
const PID_FILE = "node.pid";

export class DataFolderInUseError extends Error {
  override name = "DataFolderInUseError";
}

export class DataFolderLock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Takes the lock, making the folder when there is none. Throws `DataFolderInUseError`, or an error of the system. */
  static take(folder: string): DataFolderLock {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { DatabaseSync } = withoutExperimentalWarning(() => process.getBuiltinModule("node:sqlite"));
    const database = new DatabaseSync(join(folder, LOCK_FILE), { timeout: 0 });
    try {
      // No journal file beside it: nothing is ever written, the lock is all.
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    } catch (error) {
      database.close();
      if (isBusy(error)) throw new DataFolderInUseError(inUse(folder));
      throw error;
    }
    writeFileSync(join(folder, PID_FILE), `${process.pid}\n`, { mode: 0o600 });
    return new DataFolderLock(database);
  }

  /** Idempotent. */
  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }
}

function isBusy(error: unknown): boolean {
  const SQLITE_BUSY = 5;
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}

function inUse(folder: string): string {
  let holder = "";
  try {
    holder = ` (process ${readFileSync(join(folder, PID_FILE), "utf8").trim()})`;
  } catch {
    // Without the file the message names the folder alone.
  }
  return `the data folder ${folder} is in use by another Cardea${holder}; stop it or choose another folder`;
}
