/**
 * A resource as it is held in memory, for the Control API: defaults filled in, ids as text, the nodes of an
 * upstream as a list. Fields that are encrypted in the store stay so. What is in quarantine is shown as stored.
 */

import type { StateEntry } from "../../control/state.ts";
import { withDefaults } from "../../model/defaults.ts";
import { normalizeUpstream } from "../../model/normalize-upstream.ts";
import { pluginsWithDefaults } from "../../model/plugin-check.ts";
import { isObject, type JsonObject, type PluginCatalog } from "../../model/resource-type.ts";
import { entryText } from "../admin/reading.ts";

/** `{"key", "value", "createdIndex", "modifiedIndex"}` as JSON text. */
export function heldText(entry: StateEntry, plugins: PluginCatalog): string {
  const { type, fault, key, createRevision: createdIndex, modRevision: modifiedIndex } = entry;
  if (fault !== null) return entryText(entry, null);
  const value = withDefaults(type.schema, JSON.parse(entry.text)) as JsonObject;
  if (typeof value["id"] === "number") value["id"] = String(value["id"]);
  listNodes(type.plural === "upstreams" ? value : value["upstream"]);
  const filled = pluginsWithDefaults(value["plugins"], type.plugins ?? "config", plugins);
  if (filled !== undefined) value["plugins"] = filled;
  // As APISIX has it.
  for (const config of Object.values(filled ?? {})) config["_meta"] ??= {};
  return JSON.stringify({ key: `/apisix${key}`, value, createdIndex, modifiedIndex });
}

function listNodes(upstream: unknown): void {
  if (!isObject(upstream) || !isObject(upstream["nodes"])) return;
  upstream["nodes"] = normalizeUpstream(upstream).nodes.map(({ host, port, weight }) => ({
    host,
    port,
    weight,
  }));
}
