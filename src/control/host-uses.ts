/**
 * Which host names the configuration uses: those of the nodes of all upstreams, also inside routes, services and plugins, and
 * what somebody else keeps. Each is resolved as long as it is used at all.
 */

import type { PluginCatalog } from "../model/resource-type.ts";
import { isObject } from "../model/resource-type.ts";
import { hostNamesOfPlugins } from "../model/plugin-check.ts";
import type { PublishedUpstream } from "../model/published.ts";

/** As upstreams spell them: a name has a letter and no colon. */
const ADDRESS = /^[\d.]+$|:/;

export class HostUses {
  readonly #namesOf = new Map<string, string[]>();
  readonly #uses = new Map<string, number>();
  /** Set when a name came or went; whoever looks at it clears it. */
  hasChanged = false;

  /** Names that are in use now. */
  names(): Set<string> {
    return new Set(this.#uses.keys());
  }

  /** A name that is in use whatever resources say. */
  keep(host: string): void {
    if (ADDRESS.test(host)) return;
    this.#uses.set(host, (this.#uses.get(host) ?? 0) + 1);
    this.hasChanged = true;
  }

  /** The names of one resource, in the place of those that it had. */
  set(key: string, names: string[]): void {
    const before = this.#namesOf.get(key);
    if (before === undefined && names.length === 0) return;
    for (const name of names) {
      const uses = this.#uses.get(name) ?? 0;
      this.#uses.set(name, uses + 1);
      if (uses === 0) this.hasChanged = true;
    }
    for (const name of before ?? []) {
      const uses = this.#uses.get(name)! - 1;
      if (uses > 0) this.#uses.set(name, uses);
      else {
        this.#uses.delete(name);
        this.hasChanged = true;
      }
    }
    if (names.length === 0) this.#namesOf.delete(key);
    else this.#namesOf.set(key, names);
  }
}

/** Names (not addresses) of the nodes of an upstream, or of those inside a route or service and its plugins. */
export function hostNamesOf(normal: unknown, plugins: PluginCatalog): string[] {
  if (!isObject(normal)) return [];
  const upstream = (isObject(normal["upstream"]) ? normal["upstream"] : normal) as Partial<PublishedUpstream>;
  const names = new Set<string>();
  for (const { host } of upstream.nodes ?? []) if (!ADDRESS.test(host)) names.add(host);
  for (const host of hostNamesOfPlugins(normal["plugins"], plugins)) {
    if (!ADDRESS.test(host)) names.add(host);
  }
  return [...names];
}
