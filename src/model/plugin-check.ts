/**
 * Checks the `plugins` of a resource: each must be known, and its configuration must fit the plugin's schema
 * and its own further checks. `_meta` is allowed in every one. A disabled plugin may have any configuration.
 */

import { Type } from "../lib/schema.ts";
import type { TSchema } from "@sinclair/typebox";
import { checkExpression } from "../lib/expression.ts";
import { withDefaults, withoutDefaulted } from "./defaults.ts";
import { isObject, pointerStep, refused } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, PluginRules, PluginUse, ValidationError } from "./resource-type.ts";
import { checkSchema } from "./schema-check.ts";
import { Meta } from "./schema-parts.ts";

/** A plugin's schema with `_meta` in it; kept as long as the schema lives. */
const withMeta = new WeakMap<TSchema, TSchema>();

/** `plugins` is an object; pointers begin with its own place, "/plugins". */
export function checkPlugins(
  plugins: JsonObject,
  use: PluginUse,
  catalog: PluginCatalog,
): ValidationError | null {
  for (const [name, config] of Object.entries(plugins)) {
    const error = checkPlugin(name, config, use, catalog);
    if (error !== null)
      return { message: error.message, pointer: `/plugins${pointerStep(name)}${error.pointer}` };
  }
  return null;
}

/** The schema that a configuration of `plugin` must fit, with `_meta`. */
export function pluginSchema(plugin: PluginRules, use: PluginUse): TSchema {
  const schema = use === "consumer" ? (plugin.consumer ?? plugin.config) : plugin.config;
  let extended = withMeta.get(schema);
  if (extended === undefined) {
    const written = withoutDefaulted(schema);
    const properties = (written as { properties?: Record<string, TSchema> }).properties ?? {};
    extended = Type.Unsafe<unknown>({
      type: "object",
      ...written,
      properties: { ...properties, _meta: Meta },
    });
    withMeta.set(schema, extended);
  }
  return extended;
}

/** Configurations with their defaults; unknown plugins and broken configurations stay as they are. */
export function pluginsWithDefaults(
  plugins: unknown,
  use: PluginUse,
  catalog: PluginCatalog,
): Record<string, Record<string, unknown>> | undefined {
  if (!isObject(plugins)) return undefined;
  const filled: Record<string, Record<string, unknown>> = {};
  for (const [name, config] of Object.entries(plugins)) {
    const plugin = catalog.get(name);
    const complete = plugin === undefined ? config : withDefaults(pluginSchema(plugin, use), config);
    filled[name] = isObject(complete) ? complete : {};
  }
  return Object.keys(filled).length === 0 ? undefined : filled;
}

function checkPlugin(
  name: string,
  config: unknown,
  use: PluginUse,
  catalog: PluginCatalog,
): ValidationError | null {
  if (typeof config !== "object" || config === null) {
    return refused(`invalid plugin conf ${JSON.stringify(config)} for plugin [${name}]`, "");
  }
  const plugin = catalog.get(name);
  if (plugin === undefined) return refused(`unknown plugin [${name}]`, "");
  const meta = isObject(config) && isObject(config["_meta"]) ? config["_meta"] : undefined;
  const error = checkConfigurationSafely(plugin, config, use);
  if (error !== null && meta?.["disable"] !== true) {
    return refused(
      `failed to check the configuration of plugin ${name} err: ${error.message}`,
      error.pointer,
    );
  }
  return meta === undefined ? null : checkMeta(name, meta);
}

/** A plugin whose check fails refuses the configuration, and nothing else. */
function checkConfigurationSafely(
  plugin: PluginRules,
  config: object,
  use: PluginUse,
): ValidationError | null {
  try {
    return checkConfiguration(plugin, config, use);
  } catch (error) {
    return refused(
      `the plugin's own check failed: ${error instanceof Error ? error.message : String(error)}`,
      "",
    );
  }
}

function checkConfiguration(plugin: PluginRules, config: object, use: PluginUse): ValidationError | null {
  const schema = pluginSchema(plugin, use);
  const error = checkSchema(schema, config, true);
  if (error !== null) return error;
  if (plugin.check === undefined || (use === "consumer" && plugin.consumer !== undefined)) return null;
  const reason = plugin.check(withDefaults(schema, config));
  return reason === null ? null : refused(reason, "");
}

function checkMeta(name: string, meta: JsonObject): ValidationError | null {
  if (meta["filter"] !== undefined) {
    const reason = checkExpression(emptyArray(meta["filter"]));
    if (reason !== null)
      return refused(`failed to validate the 'vars' expression: ${reason}`, "/_meta/filter");
  }
  if (meta["pre_function"] !== undefined) {
    const reason = "Lua functions are not supported";
    return refused(`failed to load _meta.pre_function in plugin ${name}: ${reason}`, "/_meta/pre_function");
  }
  return null;
}

function emptyArray(value: unknown): unknown {
  return isObject(value) && Object.keys(value).length === 0 ? [] : value;
}
