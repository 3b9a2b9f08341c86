/**
 * The document of the API-driven mode, and what a new version of it makes of the one before. The rules are those
 * of APISIX's `PUT /apisix/admin/configs`: every type of resource has a version that never goes back; a type whose
 * version is the same is kept as it is, whatever the new document says; one without a version gets the next.
 *
 * Pure: neither validates resources nor keeps anything.
 */

import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { keyOf } from "../file/document.ts";

export interface ConfigsDocument {
  /** What the client calls this content (`X-Digest`). */
  digest: string;
  /** Seconds since 1970. */
  lastModified: number;
  /** By type. */
  versions: Record<string, number>;
  /** By type, as they were put; types without resources are absent. */
  lists: Record<string, JsonObject[]>;
}

/** One entry of a list. */
export interface DocumentItem {
  key: string;
  /** JSON text, without `modifiedIndex`. */
  value: string;
  /** From 1, in its list. */
  position: number;
  /** Given by the client: while it is the same, so is the resource. */
  modifiedIndex: number | null;
  /** Of the type. */
  version: number;
}

export const VERSION_SUFFIX = "_conf_version";

/** In the order in which they are shown. */
const TYPES = [
  "routes",
  "stream_routes",
  "services",
  "upstreams",
  "consumers",
  "consumer_groups",
  "ssls",
  "protos",
  "secrets",
  "global_rules",
  "plugin_configs",
  "plugin_metadata",
  "plugins",
] as const;
/** Unknown to APISIX, and to its clients unless they name them. */
const OWN_TYPES = ["graphql_cost_decorations", "blocks"] as const;
/** Without effect: the plugins of a node stand in its static file. */
const EMPTY_TYPES: ReadonlySet<string> = new Set(["plugins"]);
const ALL_TYPES: readonly string[] = [...TYPES, ...OWN_TYPES];
/** What a client that writes back what it read may send beside. */
const METADATA = ["X-Last-Modified", "X-Digest"];

/** A document in which nothing is. */
const NO_DOCUMENT: Pick<ConfigsDocument, "versions" | "lists"> = {
  versions: Object.fromEntries(TYPES.map((type) => [type, 0])),
  lists: {},
};

/** Keys of a body that mean nothing here. */
export function unknownKeys(body: JsonObject): string[] {
  const known = new Set([...ALL_TYPES.flatMap((type) => [type, type + VERSION_SUFFIX]), ...METADATA]);
  return Object.keys(body).filter((key) => !known.has(key));
}

/** What is wrong with the shape of a body or its versions, as text; else the document that it makes. */
export function nextDocument(
  before: ConfigsDocument | null,
  body: JsonObject,
  digest: string,
  nowMs: number,
): ConfigsDocument | string {
  const lastModified = Math.floor(nowMs / 1000);
  const next: ConfigsDocument = { digest, lastModified, versions: {}, lists: {} };
  for (const type of ALL_TYPES) {
    const former = before?.versions[type] ?? 0;
    const list = body[type];
    const given = body[type + VERSION_SUFFIX];
    const isNamed = list !== undefined || given !== undefined || former > 0;
    if (!isNamed && !(TYPES as readonly string[]).includes(type)) continue;
    if (list !== undefined && !Array.isArray(list)) return `${type} must be an array`;
    if (given !== undefined && (typeof given !== "number" || !Number.isFinite(given))) {
      return `${type}${VERSION_SUFFIX} must be a number`;
    }
    if (given !== undefined && given < former) {
      return `${type}${VERSION_SUFFIX} must be greater than or equal to (${former})`;
    }
    const version = given ?? former + 1;
    next.versions[type] = version;
    const kept = version === former ? before?.lists[type] : (list as JsonObject[] | undefined);
    if (kept !== undefined && kept.length > 0) next.lists[type] = kept;
  }
  return next;
}

/** As clients see it; `null`: before the first one was put. */
export function shownDocument(document: ConfigsDocument | null): JsonObject {
  const { versions, lists } = document ?? NO_DOCUMENT;
  const shown: JsonObject = {};
  for (const [type, version] of Object.entries(versions)) {
    if (lists[type] !== undefined) shown[type] = lists[type];
    shown[type + VERSION_SUFFIX] = version;
  }
  if (document !== null) {
    shown["X-Last-Modified"] = document.lastModified;
    shown["X-Digest"] = document.digest;
  }
  return shown;
}

export function* itemsOf({ versions, lists }: ConfigsDocument): Generator<DocumentItem, void, void> {
  for (const [type, list] of Object.entries(lists)) {
    if (EMPTY_TYPES.has(type)) continue;
    for (const [index, entry] of list.entries()) {
      if (!isObject(entry)) continue;
      const { modifiedIndex } = entry;
      yield {
        key: keyOf(type, index, entry),
        value: JSON.stringify(modifiedIndex === undefined ? entry : withoutIndex(entry)),
        position: index + 1,
        modifiedIndex: typeof modifiedIndex === "number" ? modifiedIndex : null,
        version: versions[type],
      };
    }
  }
}

function withoutIndex(entry: JsonObject): JsonObject {
  const { modifiedIndex: _ofTheClient, ...value } = entry;
  return value;
}
