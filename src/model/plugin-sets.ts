/** Resources that are little more than plugins: global rules, plugin configs, consumer groups. */

import { Type } from "../lib/schema.ts";
import { pluginsWithDefaults } from "./plugin-check.ts";
import type { PublishedGlobalRule, PublishedPluginSet } from "./published.ts";
import { isObject, pointerStep, refused } from "./resource-type.ts";
import type {
  JsonObject,
  ModelContext,
  PluginCatalog,
  ResourceType,
  ValidationError,
} from "./resource-type.ts";
import { labelsOf } from "./route.ts";
import { common, described, Id, Plugins, strictObject } from "./schema-parts.ts";

const base = {
  id: { field: "id", generated: false },
  methods: ["GET", "PUT", "PATCH", "DELETE"],
  plugins: "config",
  references: [],
} as const;

/** Plugins for every request; each plugin may stand in one global rule only. */
export const globalRuleType: ResourceType<PublishedGlobalRule> = {
  ...base,
  plural: "global_rules",
  singular: "global_rule",
  title: "global rule",
  schema: strictObject({ ...common, id: Id, plugins: Plugins }),
  inUse: null,
  check: checkGlobalRule,
  normalize: (id, value, plugins) => ({
    id,
    plugins: pluginsWithDefaults(value["plugins"], "config", plugins) ?? {},
  }),
};

const SetSchema = strictObject({
  ...described,
  id: Id,
  name: Type.Optional(Type.String()),
  plugins: Plugins,
});

export const pluginConfigType: ResourceType<PublishedPluginSet> = {
  ...base,
  plural: "plugin_configs",
  singular: "plugin_config",
  title: "plugin config",
  schema: SetSchema,
  inUse: (title, id) => `can not delete this plugin config, ${title} [${id}] is still using it now`,
  normalize: normalizeSet,
};

export const consumerGroupType: ResourceType<PublishedPluginSet> = {
  ...base,
  plural: "consumer_groups",
  singular: "consumer_group",
  title: "consumer group",
  schema: SetSchema,
  inUse: (title, id) => `can not delete this consumer group, ${title} [${id}] is still using it now`,
  normalize: normalizeSet,
};

function checkGlobalRule(
  value: JsonObject,
  context: ModelContext,
  id: string | undefined,
): ValidationError | null {
  if (context.list === undefined || !isObject(value["plugins"])) return null;
  const names = Object.keys(value["plugins"]);
  for (const [otherId, other] of context.list("global_rules")) {
    if (otherId === id || !isObject(other["plugins"])) continue;
    for (const name of names) {
      if (!Object.hasOwn(other["plugins"], name)) continue;
      const message = `plugin '${name}' already exists in global rule with id '${otherId}'`;
      return refused(message, `/plugins${pointerStep(name)}`);
    }
  }
  return null;
}

function normalizeSet(id: string, value: JsonObject, plugins: PluginCatalog): PublishedPluginSet {
  const set: PublishedPluginSet = {
    id,
    plugins: pluginsWithDefaults(value["plugins"], "config", plugins) ?? {},
  };
  if (value["name"] !== undefined) set.name = value["name"] as string;
  if (value["labels"] !== undefined) set.labels = labelsOf(value);
  return set;
}
