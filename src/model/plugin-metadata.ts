/** What all configurations of one plugin share; the plugin says its schema. The id is the plugin's name. */

import { Type } from "../lib/schema.ts";
import type { TSchema } from "@sinclair/typebox";
import { withDefaults, withoutDefaulted } from "./defaults.ts";
import { isObject, refused } from "./resource-type.ts";
import type { JsonObject, ResourceType } from "./resource-type.ts";
import { raw } from "./schema-parts.ts";

const AnyObject = raw({ type: "object" });
/** The plugin's schema with the id that the store adds. */
const withId = new WeakMap<TSchema, TSchema>();

export const pluginMetadataType: ResourceType<JsonObject> = {
  plural: "plugin_metadata",
  singular: "plugin_metadata",
  title: "plugin_metadata",
  schema: AnyObject,
  schemaFor: (name, context) => metadataSchema(context.plugins.get(name ?? "")?.metadata),
  secretReferences: true,
  id: { field: null, generated: false },
  methods: ["GET", "PUT", "DELETE"],
  references: [],
  inUse: null,
  checkFirst: (_, context, name) => {
    if (name === undefined) return refused("missing plugin name", "");
    return context.plugins.get(name) === undefined ? refused("invalid plugin name", "") : null;
  },
  normalize(name, value, plugins) {
    const schema = metadataSchema(plugins.get(name)?.metadata);
    const filled = schema === undefined ? value : withDefaults(schema, value);
    return isObject(filled) ? filled : {};
  },
};

function metadataSchema(schema: TSchema | undefined): TSchema | undefined {
  if (schema === undefined) return undefined;
  let extended = withId.get(schema);
  if (extended === undefined) {
    const written = withoutDefaulted(schema);
    const properties = (written as { properties?: Record<string, TSchema> }).properties ?? {};
    extended = Type.Unsafe<unknown>({ type: "object", ...written, properties: { id: {}, ...properties } });
    withId.set(schema, extended);
  }
  return extended;
}
