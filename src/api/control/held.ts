/**
 * A resource as it is held in memory, for the Control API: defaults filled in, ids as text, the nodes of an
 * upstream as a list. Fields that a store encrypts are encrypted, whatever the store. What is in quarantine is shown as
 * stored, and as a text where it is no resource at all.
 */

import type { ConfigurationState, StateEntry } from "../../control/state.ts";
import { withDefaults } from "../../model/defaults.ts";
import { normalizeUpstream } from "../../model/normalize-upstream.ts";
import { pluginsWithDefaults } from "../../model/plugin-check.ts";
import { isObject, type JsonObject, type PluginCatalog } from "../../model/resource-type.ts";
import { withoutHidden } from "../admin/reading.ts";

/** `{"key", "value", "createdIndex", "modifiedIndex"}` as JSON text. */
export function heldText(
  entry: StateEntry,
  plugins: PluginCatalog,
  state: Pick<ConfigurationState, "sealed">,
): string {
  const { type, fault, createRevision: createdIndex, modRevision: modifiedIndex } = entry;
  const key = `/apisix${entry.key}`;
  const sealed = state.sealed(entry);
  if (fault !== null || sealed === undefined) {
    const value = sealed === undefined ? entry.text : withoutHidden(type.plural, sealed);
    return JSON.stringify({ key, value, createdIndex, modifiedIndex });
  }
  const value = withDefaults(type.schema, sealed) as JsonObject;
  if (typeof value["id"] === "number") value["id"] = String(value["id"]);
  listNodes(type.plural === "upstreams" ? value : value["upstream"]);
  const filled = pluginsWithDefaults(value["plugins"], type.plugins ?? "config", plugins);
  if (filled !== undefined) value["plugins"] = filled;
  // As APISIX has it.
  for (const config of Object.values(filled ?? {})) config["_meta"] ??= {};
  return JSON.stringify({ key, value, createdIndex, modifiedIndex });
}

function listNodes(upstream: unknown): void {
  if (!isObject(upstream) || !isObject(upstream["nodes"])) return;
  upstream["nodes"] = normalizeUpstream(upstream).nodes.map(({ host, port, weight }) => ({
    host,
    port,
    weight,
  }));
}
