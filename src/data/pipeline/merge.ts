/**
 * Which configuration of each plugin counts for a request: consumer over consumer group over route over
 * plugin config over service. A configuration is replaced as a whole, never mixed. Global rules are apart.
 */

import type { PluginConfigs } from "../../model/published.ts";
import type { MergedPlugin } from "./compiler.ts";

export interface PluginSource {
  /** "route#1", "service#a", ... */
  owner: string;
  plugins: PluginConfigs | undefined;
}

/** `sources` from the weakest to the strongest. */
export function mergePlugins(sources: readonly (PluginSource | null)[]): Map<string, MergedPlugin> {
  const merged = new Map<string, MergedPlugin>();
  for (const source of sources) {
    if (source?.plugins === undefined) continue;
    for (const [name, config] of Object.entries(source.plugins)) {
      merged.set(name, { config, owner: source.owner, fromConsumer: false });
    }
  }
  return merged;
}

/** The route's merged plugins with those of the consumer (and its group) laid over them. */
export function mergeConsumer(
  route: ReadonlyMap<string, MergedPlugin>,
  sources: readonly (PluginSource | null)[],
): Map<string, MergedPlugin> {
  const merged = new Map(route);
  for (const source of sources) {
    if (source?.plugins === undefined) continue;
    for (const [name, config] of Object.entries(source.plugins)) {
      merged.set(name, { config, owner: source.owner, fromConsumer: !route.has(name) });
    }
  }
  return merged;
}
