/**
 * The plugins of all global rules as one chain, compiled when a request first asks for it.
 *
 * Routes may have plugins whose global instance steps back there: for each such set there is a chain of its own.
 */

import type { PublishedGlobalRule } from "../../model/published.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import type { HeldChain, MergedPlugin, PluginCompiler } from "../pipeline/compiler.ts";
import { mergePlugins, type PluginSource } from "../pipeline/merge.ts";
import { Lazy } from "./lazy.ts";

export class GlobalRules {
  readonly #compiler: PluginCompiler;
  readonly #rules = new Map<string, Lazy<PublishedGlobalRule>>();
  /** By the plugins that are left out; emptied by every change. */
  readonly #chains = new Map<string, HeldChain | null>();

  constructor(compiler: PluginCompiler) {
    this.#compiler = compiler;
  }

  put(id: string, bytes: ItemBytes): void {
    this.#rules.set(id, new Lazy(bytes));
    this.#dropChains();
  }

  delete(id: string): void {
    this.#rules.delete(id);
    this.#dropChains();
  }

  /**
   * Null when there are none. `replaced`: names (joined by ",") of plugins that the
   * route has itself and whose global instance therefore steps back; "" for none.
   */
  chain(replaced: string): PluginChain | null {
    if (this.#rules.size === 0) return null;
    const known = this.#chains.get(replaced);
    const held = known === undefined ? this.#compile(replaced) : known;
    return held === null ? null : held.chain;
  }

  /** Where the plugins come from. */
  sources(): PluginSource[] {
    const rules = [...this.#rules];
    return rules.map(([id, rule]) => ({ owner: `global_rule#${id}`, plugins: rule.value.plugins }));
  }

  /** A plugin in two global rules would run twice: neither instance counts, as a write of that is refused. */
  #compile(replaced: string): HeldChain | null {
    const merged = new Map<string, MergedPlugin>();
    const leftOut = new Set(replaced.split(","));
    for (const [id, rule] of this.#rules) {
      for (const [name, plugin] of mergePlugins([
        { owner: `global_rule#${id}`, plugins: rule.value.plugins },
      ])) {
        if (merged.has(name)) leftOut.add(name);
        merged.set(name, plugin);
      }
    }
    for (const name of leftOut) merged.delete(name);
    const chain = merged.size === 0 ? null : this.#compiler.compile(merged);
    this.#chains.set(replaced, chain);
    return chain;
  }

  #dropChains(): void {
    for (const held of this.#chains.values()) if (held !== null) this.#compiler.release(held);
    this.#chains.clear();
  }
}
