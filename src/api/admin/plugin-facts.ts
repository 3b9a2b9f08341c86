/** What the Admin and Control API tell about a plugin, with the field names of APISIX. */

import type { TSchema } from "@sinclair/typebox";
import { withoutDefaulted } from "../../model/defaults.ts";
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
  /** Major and minor as a number, as clients of APISIX expect it. */
  version: number;
  priority: number;
  schema: TSchema;
  metadata_schema?: TSchema;
  consumer_schema?: TSchema;
  type?: string;
  scope?: string;
}

export function pluginFacts(plugin: DescribedPlugin): PluginFacts {
  const { priority, type, scope } = plugin;
  const version = Number.parseFloat(plugin.version);
  const schema = withEncryptedFields(pluginSchema(plugin, "config"), plugin);
  const facts: PluginFacts = { version, priority, schema };
  const metadata = metadataSchemaOf(plugin);
  if (metadata !== undefined) facts.metadata_schema = metadata;
  if (plugin.consumer !== undefined) {
    facts.consumer_schema = withEncryptedFields(withoutDefaulted(plugin.consumer), plugin);
  }
  if (type !== undefined) facts.type = type;
  if (scope !== undefined) facts.scope = scope;
  return facts;
}

export function metadataSchemaOf(plugin: DescribedPlugin): TSchema | undefined {
  return plugin.metadata;
}

/** Where forms must hide what is typed: the encrypted fields that this schema has. */
function withEncryptedFields(schema: TSchema, { encrypted }: DescribedPlugin): TSchema {
  const properties = (schema as { properties?: object }).properties ?? {};
  const fields = encrypted?.filter((path) => Object.hasOwn(properties, path.split(".", 1)[0])) ?? [];
  return fields.length === 0 ? schema : { ...schema, encrypt_fields: fields };
}
