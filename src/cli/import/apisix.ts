/**
 * What APISIX keeps, in the forms in which people have it: its file (`apisix.yaml`), answers of its Admin API (lists of
 * version 3 and 2, one or several), and `etcdctl get --prefix /apisix -w json`.
 *
 * Resources stay as they are, times aside: Cardea reads them. Reported is what it would refuse or could not read.
 */

import { RESOURCE_NAMES } from "../../model/resource-names.ts";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { addToLists, type ResourceLists } from "../resource-file.ts";
import type { ImportReport } from "./report.ts";

const TYPES: ReadonlySet<string> = new Set(RESOURCE_NAMES);
/** APISIX writes it where a folder has no entry yet. */
const PLACEHOLDER = "init_dir";
const PEM = "-----BEGIN ";
/** AES in base64: whole blocks, nothing that people type. */
const ENCRYPTED = /^[A-Za-z0-9+/]{22,}={0,2}$/;
const LUA_FIELDS = ["filter_func", "script", "script_id"];

/** Null: it is none of these forms. */
export function importApisix(document: unknown, report: ImportReport): ResourceLists | null {
  if (isObject(document) && Array.isArray(document["kvs"])) return fromEtcd(document["kvs"], report);
  const listed = listedItems(document);
  if (listed !== null) return fromItems(listed, report);
  return isObject(document) ? fromFile(document, report) : null;
}

function fromFile(document: JsonObject, report: ImportReport): ResourceLists | null {
  const names = Object.keys(document).filter((name) => TYPES.has(name));
  if (names.length === 0) return null;
  const lists: ResourceLists = {};
  for (const name of names) {
    for (const [i, item] of (Array.isArray(document[name]) ? (document[name] as unknown[]) : []).entries()) {
      const place = `${name}[${i}]`;
      if (!isObject(item)) {
        report.lost(place, "expected a map, the resource");
        continue;
      }
      const id = item["id"] ?? item["username"];
      const isKnown = typeof id === "string" || typeof id === "number";
      if (!isKnown) report.differs(place, `has no id; it gets the one of its place, arr_${i + 1}`);
      take(`/${name}/${isKnown ? id : `arr_${i + 1}`}`, item, lists, report);
    }
  }
  for (const name of Object.keys(document)) {
    if (!TYPES.has(name)) report.lost(name, "is no type of resource");
  }
  return lists;
}

function fromEtcd(entries: readonly unknown[], report: ImportReport): ResourceLists {
  const items = entries.filter(isObject).map(({ key, value }) => {
    const text = Buffer.from(typeof value === "string" ? value : "", "base64").toString();
    return { key: Buffer.from(typeof key === "string" ? key : "", "base64").toString(), value: parsed(text) };
  });
  return fromItems(items, report);
}

function fromItems(items: readonly { key: string; value: unknown }[], report: ImportReport): ResourceLists {
  const lists: ResourceLists = {};
  for (const { key, value } of items) {
    if (value === PLACEHOLDER) continue;
    const name = resourceKey(key);
    if (name === null) report.lost(key, "is the key of no resource");
    else if (!isObject(value)) report.lost(key, "holds no resource");
    else take(name, value, lists, report);
  }
  return lists;
}

function take(key: string, value: JsonObject, lists: ResourceLists, report: ImportReport): void {
  for (const field of LUA_FIELDS) {
    if (value[field] === undefined) continue;
    report.lost(
      key,
      `${field} is Lua, which does not run here; the resource is refused as long as it is there`,
    );
  }
  for (const [plugin, config] of Object.entries(isObject(value["plugins"]) ? value["plugins"] : {})) {
    if (!isObject(config)) continue;
    if (isObject(config["_meta"]) && config["_meta"]["pre_function"] !== undefined) {
      report.lost(key, `plugins.${plugin}._meta.pre_function is Lua, which does not run here`);
    }
    for (const [field, text] of Object.entries(config)) {
      if (/key$|password|secret|token/.test(field) && looksEncrypted(text)) {
        report.differs(key, `plugins.${plugin}.${field} may be encrypted: it is taken as it stands`);
      }
    }
  }
  if (key.startsWith("/ssls/") && typeof value["key"] === "string" && !isReadableKey(value["key"])) {
    report.differs(
      key,
      "its private key is encrypted; give the node the keyring of APISIX, or the plain key",
    );
  }
  addToLists(lists, key, value);
}

function isReadableKey(key: string): boolean {
  return key.startsWith(PEM) || key.startsWith("$");
}

function looksEncrypted(text: unknown): boolean {
  return typeof text === "string" && ENCRYPTED.test(text) && Buffer.from(text, "base64").length % 16 === 0;
}

/** "/apisix/routes/1" → "/routes/1", whatever the prefix is. */
function resourceKey(key: string): string | null {
  const steps = key.split("/").filter((step) => step !== "");
  const at = steps.findIndex((step) => TYPES.has(step));
  return at === -1 || at === steps.length - 1 ? null : `/${steps.slice(at).join("/")}`;
}

/** Items of one or several answers of the Admin API; null: it is none. */
function listedItems(document: unknown): { key: string; value: unknown }[] | null {
  if (Array.isArray(document)) {
    const parts = document.map(listedItems);
    return parts.length > 0 && parts.every((part) => part !== null) ? parts.flat() : null;
  }
  if (!isObject(document)) return null;
  if (typeof document["key"] === "string" && "value" in document) {
    return [{ key: document["key"], value: document["value"] }];
  }
  if (Array.isArray(document["list"])) return document["list"].flatMap((item) => listedItems(item) ?? []);
  // Version 2: {"node": {"nodes": [...]}}, or {"node": {"key", "value"}}.
  if (!isObject(document["node"])) return null;
  const { nodes } = document["node"];
  return Array.isArray(nodes)
    ? nodes.flatMap((item) => listedItems(item) ?? [])
    : listedItems(document["node"]);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
