/** What the embedded store says to SQLite, and the rows that it hears. */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { StoreEvent, StoredItem } from "../contract.ts";

export interface ItemRow {
  key: string;
  value: string;
  create_revision: number;
  mod_revision: number;
}

export interface HistoryRow extends Omit<ItemRow, "mod_revision" | "value"> {
  revision: number;
  time: number;
  author: string | null;
  value: string | null;
  ttl: number | null;
}

export type EventRow = Pick<HistoryRow, "key" | "value" | "create_revision" | "revision">;

export type Statements = Record<
  | "meta"
  | "setRevision"
  | "item"
  | "put"
  | "remove"
  | "record"
  | "forget"
  | "changes"
  | "historyOf"
  | "expired"
  | "nextExpiry"
  | "dataVersion",
  StatementSync
>;

export function prepare(database: DatabaseSync): Statements {
  const history = "revision, key, time, author, value, create_revision, ttl";
  return {
    meta: database.prepare("SELECT value FROM meta WHERE name = ?"),
    setRevision: database.prepare("UPDATE meta SET value = ? WHERE name = 'revision'"),
    item: database.prepare("SELECT key, value, create_revision, mod_revision FROM items WHERE key = ?"),
    put: database.prepare(
      "INSERT OR REPLACE INTO items (key, value, create_revision, mod_revision, expires) VALUES (?, ?, ?, ?, ?)",
    ),
    remove: database.prepare("DELETE FROM items WHERE key = ?"),
    record: database.prepare(`INSERT INTO history (${history}) VALUES (?, ?, ?, ?, ?, ?, ?)`),
    forget: database.prepare("DELETE FROM history WHERE revision = ? AND key = ?"),
    changes: database.prepare(
      `SELECT ${history} FROM history WHERE revision > ? AND revision <= ? ORDER BY revision, key`,
    ),
    historyOf: database.prepare(
      `SELECT ${history} FROM history WHERE key = ? ORDER BY revision DESC LIMIT ?`,
    ),
    expired: database.prepare(
      "SELECT key, mod_revision FROM items WHERE expires <= ? ORDER BY expires LIMIT 500",
    ),
    nextExpiry: database.prepare("SELECT min(expires) AS expires FROM items WHERE expires IS NOT NULL"),
    dataVersion: database.prepare("PRAGMA data_version"),
  };
}

export function storedItem(row: ItemRow): StoredItem {
  return {
    key: row.key,
    value: row.value,
    createRevision: row.create_revision,
    modRevision: row.mod_revision,
  };
}

export function eventOf(row: EventRow): StoreEvent {
  if (row.value === null) return { type: "delete", key: row.key, modRevision: row.revision };
  return {
    type: "put",
    item: { key: row.key, value: row.value, createRevision: row.create_revision, modRevision: row.revision },
  };
}
