/**
 * The plugins that a request meets, in the order in which they run within each phase, and the resource that each
 * comes from. They are merged by the functions that requests are served with; none of them is run.
 */

import { compileExpression, type Expression } from "../../lib/expression.ts";
import type { ExplainedPlugin } from "../../shared/explanation.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import type { Catalog, MergedPlugin } from "../pipeline/compiler.ts";
import { mergeConsumer, mergePlugins, type PluginSource } from "../pipeline/merge.ts";

type Sources = readonly (PluginSource | null)[];

interface Meta {
  disable?: boolean;
  priority?: number;
  filter?: Expression;
}

/** `consumer`: what it brings; empty for none. */
export function explainPlugins(
  route: Sources,
  consumer: Sources,
  catalog: Catalog,
  x: HttpExchange,
): ExplainedPlugin[] {
  const merged = mergeConsumer(mergePlugins(route), consumer);
  const all = [...route, ...consumer];
  return ordered(
    [...merged].map(([name, plugin]) => {
      const owners = ownersOf(name, all).filter((owner) => owner !== plugin.owner);
      return explained(name, plugin, owners, catalog, x);
    }),
  );
}

/** `replaced`: names of plugins whose global instance steps back for the route's. */
export function explainGlobalPlugins(
  rules: readonly PluginSource[],
  replaced: ReadonlySet<string>,
  catalog: Catalog,
  x: HttpExchange,
): ExplainedPlugin[] {
  const found: ExplainedPlugin[] = [];
  for (const rule of rules) {
    for (const [name, plugin] of mergePlugins([rule])) {
      const others = ownersOf(name, rules).filter((owner) => owner !== plugin.owner);
      const entry = explained(name, plugin, [], catalog, x);
      // In two rules it would run twice: neither counts.
      if (replaced.has(name) || others.length > 0) entry.state = "replaced";
      found.push(entry);
    }
  }
  return ordered(found);
}

/** Names of the route's plugins that replace a global instance of themselves. */
export function replacingGlobal(route: Sources, catalog: Catalog): Set<string> {
  const names = [...mergePlugins(route).keys()];
  return new Set(names.filter((name) => catalog.get(name)?.runPolicy === "prefer_route"));
}

function explained(
  name: string,
  { config, owner, fromConsumer }: MergedPlugin,
  owners: string[],
  catalog: Catalog,
  x: HttpExchange,
): ExplainedPlugin {
  const definition = catalog.get(name);
  const meta = (config._meta ?? {}) as Meta;
  const plugin: ExplainedPlugin = {
    name,
    priority: meta.priority ?? definition?.priority ?? Number.MAX_SAFE_INTEGER,
    from: owner,
    instead_of: owners,
    state: "runs",
  };
  if (meta.disable === true) plugin.state = "disabled";
  else if (definition === undefined) plugin.state = "unknown";
  else if (meta.filter !== undefined && !compileExpression(meta.filter).evaluate(x))
    plugin.state = "filtered";
  if (fromConsumer) plugin.after_authentication = true;
  return plugin;
}

function ownersOf(name: string, sources: Sources): string[] {
  const owners: string[] = [];
  for (const source of sources) {
    if (source?.plugins !== undefined && Object.hasOwn(source.plugins, name)) owners.push(source.owner);
  }
  return owners;
}

/** As a chain orders its links. */
function ordered(plugins: ExplainedPlugin[]): ExplainedPlugin[] {
  return plugins.sort((a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1));
}
