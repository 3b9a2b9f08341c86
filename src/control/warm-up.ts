/**
 * Compiles the validators of resources and plugins after the start, one at a time with pauses, so that the
 * first write of each kind does not wait for its own. Whoever comes first compiles; the rest find it done.
 */

import type { TSchema } from "@sinclair/typebox";
import { pluginSchema } from "../model/plugin-check.ts";
import type { PluginRules, ResourceType } from "../model/resource-type.ts";
import { validatorOf } from "../model/schema-check.ts";

const PAUSE_MS = 10;

/** Starts at once; the returned function ends it. Does not keep a thread alive. */
export function warmUp(types: Iterable<ResourceType>, plugins: Iterable<PluginRules>): () => void {
  const schemas = schemasOf(types, plugins);
  let timer: NodeJS.Timeout | null = null;
  const next = () => {
    const { value, done } = schemas.next();
    if (done === true) return;
    try {
      validatorOf(value);
    } catch {
      // A schema that cannot be compiled is told to whoever writes such a resource.
    }
    timer = setTimeout(next, PAUSE_MS).unref();
  };
  timer = setTimeout(next, PAUSE_MS).unref();
  return () => {
    if (timer !== null) clearTimeout(timer);
    schemas.return();
  };
}

function* schemasOf(
  types: Iterable<ResourceType>,
  plugins: Iterable<PluginRules>,
): Generator<TSchema, void, void> {
  for (const type of types) yield type.schema;
  for (const plugin of plugins) {
    yield pluginSchema(plugin, "config");
    if (plugin.consumer !== undefined) yield pluginSchema(plugin, "consumer");
  }
}
