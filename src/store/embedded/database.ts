/**
 * The file of the embedded store: opened, checked and brought into being here; nothing is ever destroyed.
 *
 * A file that is damaged, empty, of another program or of a newer version is refused with a
 * `StoreFileError`, which names the file and the remedy; it is not touched. A new file is made aside and
 * renamed, so that an empty file under the store's name is always damage and never a beginning.
 *
 * Every commit is on disk before it returns: write-ahead log with `synchronous = FULL`.
 */

import { randomUUID } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { flushFolder } from "../../lib/owner-file.ts";

/** "CDEA": tells our file from any other SQLite database. */
const APPLICATION_ID = 0x43_44_45_41;
const SCHEMA_VERSION = 1;
/** How long one statement may block the thread while another process holds the lock; callers retry. */
const BUSY_TIMEOUT_MS = 50;

const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE items (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, create_revision INTEGER NOT NULL,
    mod_revision INTEGER NOT NULL, expires INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX items_by_expiry ON items (expires) WHERE expires IS NOT NULL;
  CREATE TABLE history (
    revision INTEGER NOT NULL, key TEXT NOT NULL, time INTEGER NOT NULL, author TEXT, value TEXT,
    create_revision INTEGER NOT NULL, ttl REAL, PRIMARY KEY (revision, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX history_by_key ON history (key, revision);
`;

/** The file cannot be used as it is; a restart does not mend it. The message says what to do. */
export class StoreFileError extends Error {
  readonly file: string;

  constructor(file: string, problem: string, remedy: string, options?: ErrorOptions) {
    super(`configuration store ${file}: ${problem}. Nothing was changed. ${remedy}`, options);
    this.name = "StoreFileError";
    this.file = file;
  }
}

const RESTORE = "Restore the file from a backup, or move it away to start with an empty configuration";

/** Opens the store's database for writing, after making or checking it. Throws `StoreFileError`. */
export function openDatabase(file: string): DatabaseSync {
  if (!existsSync(file)) {
    if (existsSync(`${file}-wal`)) {
      throw new StoreFileError(file, "the file is missing, but its write-ahead log is there", RESTORE);
    }
    createFile(file);
  } else if (statSync(file).size === 0) {
    throw new StoreFileError(file, "the file is empty", RESTORE);
  }
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    check(file, database);
    addMissing(database);
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof StoreFileError || isBusy(error)) throw error;
    throw new StoreFileError(file, `cannot be read as a store (${messageOf(error)})`, RESTORE, {
      cause: error,
    });
  }
}

/** A second connection, for reads that must see one revision while writes go on. */
export function openReader(file: string): DatabaseSync {
  return new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
}

/** Another connection holds the lock: worth another try. */
export function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === "number" && ((code & 0xff) === 5 || (code & 0xff) === 6);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function createFile(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const aside = `${file}.new-${process.pid}`;
  rmSync(aside, { force: true });
  const database = new DatabaseSync(aside);
  try {
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION};`);
    database.exec(SCHEMA);
    const insert = database.prepare("INSERT INTO meta (name, value) VALUES (?, ?)");
    insert.run("identity", randomUUID());
    insert.run("revision", 0);
    insert.run("compacted", 0);
  } finally {
    database.close();
  }
  // The log beside it gets the same permissions. Configurations hold secrets.
  chmodSync(aside, 0o600);
  renameSync(aside, file);
  flushFolder(dirname(file));
}

function check(file: string, database: DatabaseSync): void {
  const application = pragma(database, "application_id");
  if (application !== APPLICATION_ID) {
    throw new StoreFileError(file, "is a database of another program", "Name another data folder");
  }
  const version = pragma(database, "user_version");
  if (version !== SCHEMA_VERSION) {
    throw new StoreFileError(
      file,
      `has schema version ${String(version)}, this program knows ${SCHEMA_VERSION}`,
      "Run the version that wrote it, or a newer one",
    );
  }
  const result = pragma(database, "quick_check(1)", "quick_check");
  if (result !== "ok") {
    throw new StoreFileError(file, `is damaged (${String(result)})`, RESTORE);
  }
}

/** Columns that came later. Earlier versions of the program write without them and do not mind. */
function addMissing(database: DatabaseSync): void {
  const columns = database.prepare("SELECT name FROM pragma_table_info('history')").all();
  if (columns.some(({ name }) => name === "ttl")) return;
  database.exec("ALTER TABLE history ADD COLUMN ttl REAL");
}

function pragma(database: DatabaseSync, text: string, column = text): unknown {
  return database.prepare(`PRAGMA ${text}`).get()?.[column];
}
