/** What the Admin and Control API tell about a plugin, with the field names of APISIX. */

import type { TSchema } from "@sinclair/typebox";
import { pluginSchema } from "../../model/plugin-check.ts";
import type { PluginRules } from "../../model/resource-type.ts";

/** What this API asks of a plugin; every `PluginDefinition` is one. */
export interface DescribedPlugin extends PluginRules {
  version: string;
  priority: number;
  scope?: "global" | "route";
}

export interface PluginList {
  get(name: string): DescribedPlugin | undefined;
  /** Higher priority first. */
  list(): DescribedPlugin[];
}

export interface PluginFacts {
  version: string;
  priority: number;
  schema: TSchema;
  metadata_schema?: TSchema;
  consumer_schema?: TSchema;
  type?: string;
  scope?: string;
}

export function pluginFacts(plugin: DescribedPlugin): PluginFacts {
  const { version, priority, type, scope } = plugin;
  const facts: PluginFacts = { version, priority, schema: pluginSchema(plugin, "config") };
  const metadata = metadataSchemaOf(plugin);
  if (metadata !== undefined) facts.metadata_schema = metadata;
  if (plugin.consumer !== undefined) facts.consumer_schema = pluginSchema(plugin, "consumer");
  if (type !== undefined) facts.type = type;
  if (scope !== undefined) facts.scope = scope;
  return facts;
}

export function metadataSchemaOf(plugin: DescribedPlugin): TSchema | undefined {
  return plugin.metadata;
}
