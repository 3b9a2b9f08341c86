/**
 * Checks the `plugins` of a resource: each must be known, and its configuration must fit the plugin's schema
 * and its own further checks. `_meta` is allowed in every one. A disabled plugin may have any configuration.
 */

import { Type } from "../lib/schema.ts";
import type { TSchema } from "@sinclair/typebox";
import type { InnerConfig } from "../plugin/definition.ts";
import { checkExpression } from "../lib/expression.ts";
import { withDefaults, withoutDefaulted } from "./defaults.ts";
import { normalizeHeldUpstream } from "./normalize-upstream.ts";
import { isObject, pointerStep, refused } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, PluginRules, PluginUse, ValidationError } from "./resource-type.ts";
import { checkSchema } from "./schema-check.ts";
import { Meta } from "./schema-parts.ts";
import { checkUpstream } from "./upstream.ts";

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
    if (plugin?.innerConfigs !== undefined) completeInner(plugin, filled[name], catalog);
  }
  return Object.keys(filled).length === 0 ? undefined : filled;
}

/** Parts of another kind get the form of that kind; what is broken (and disabled) stays as it is. */
function completeInner(plugin: PluginRules, config: JsonObject, catalog: PluginCatalog): void {
  let parts: readonly InnerConfig[];
  try {
    parts = plugin.innerConfigs!(config);
  } catch {
    return; // Only a disabled configuration was not checked.
  }
  for (const { kind, holder, key } of parts) {
    const value = holder[key];
    if (!isObject(value)) continue;
    if (kind === "upstream") holder[key] = normalizeHeldUpstream(value);
    else {
      const inner = catalog.get(kind.plugin);
      if (inner !== undefined) holder[key] = withDefaults(pluginSchema(inner, "config"), value);
    }
  }
}

/** Names (not addresses) of hosts that published plugins send to. */
export function hostNamesOfPlugins(plugins: unknown, catalog: PluginCatalog): string[] {
  if (!isObject(plugins)) return [];
  const hosts: string[] = [];
  for (const name of Object.keys(plugins)) {
    const plugin = catalog.get(name);
    if (plugin?.hostNames === undefined) continue;
    try {
      hosts.push(...plugin.hostNames(plugins[name]));
    } catch {
      continue; // As above.
    }
  }
  return hosts;
}

/** Whether the plugin runs for connections (stream routes), or else for requests. */
export function runsFor({ subsystems }: PluginRules, use: PluginUse): boolean {
  const wanted = use === "stream" ? "stream" : "http";
  return subsystems === undefined ? wanted === "http" : subsystems.includes(wanted);
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
  if (plugin === undefined || !runsFor(plugin, use)) return refused(`unknown plugin [${name}]`, "");
  if (plugin.isMadeByControl === true)
    return refused(`the plugin ${name} is set by the gateway alone, and cannot be written`, "");
  const meta = isObject(config) && isObject(config["_meta"]) ? config["_meta"] : undefined;
  const error = checkConfigurationSafely(plugin, config, use, catalog);
  if (error !== null && meta?.["disable"] !== true) {
    // In APISIX's words: tools look for them.
    const which = use === "stream" ? `stream plugin [${name}]:` : `plugin ${name} err:`;
    return refused(`failed to check the configuration of ${which} ${error.message}`, error.pointer);
  }
  return meta === undefined ? null : checkMeta(name, meta);
}

/** A plugin whose check fails refuses the configuration, and nothing else. */
function checkConfigurationSafely(
  plugin: PluginRules,
  config: object,
  use: PluginUse,
  catalog: PluginCatalog,
): ValidationError | null {
  try {
    return checkConfiguration(plugin, config, use, catalog);
  } catch (error) {
    return refused(
      `the plugin's own check failed: ${error instanceof Error ? error.message : String(error)}`,
      "",
    );
  }
}

function checkConfiguration(
  plugin: PluginRules,
  config: object,
  use: PluginUse,
  catalog: PluginCatalog,
): ValidationError | null {
  const schema = pluginSchema(plugin, use);
  const error = checkSchema(schema, config, true);
  if (error !== null) return error;
  if (use === "consumer" && plugin.consumer !== undefined) return null;
  if (plugin.check === undefined && plugin.innerConfigs === undefined) return null;
  const complete = withDefaults(schema, config);
  const reason = plugin.check?.(complete) ?? null;
  if (reason !== null) return refused(reason, "");
  for (const part of plugin.innerConfigs?.(complete) ?? []) {
    const fault = checkInner(part, catalog);
    if (fault !== null) return refused(part.prefix + fault, "");
  }
  return null;
}

function checkInner({ kind, holder, key }: InnerConfig, catalog: PluginCatalog): string | null {
  const value = holder[key];
  if (kind === "upstream") return isObject(value) ? (checkUpstream(value, "")?.message ?? null) : null;
  const plugin = catalog.get(kind.plugin);
  if (plugin === undefined) return `unknown plugin [${kind.plugin}]`;
  if (typeof value !== "object" || value === null) return "expected an object";
  return checkConfiguration(plugin, value, "config", catalog)?.message ?? null;
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
