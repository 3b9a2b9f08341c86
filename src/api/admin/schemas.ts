/**
 * What the Admin API says about resources and plugins themselves: their schemas and the list of plugins,
 * which dashboards build their forms from.
 */

import { metadataSchemaOf, pluginFacts, type PluginList } from "./plugin-facts.ts";
import { resourceTypeBySingular } from "../../model/resources.ts";
import { runsFor } from "../../model/plugin-check.ts";
import { checkSchema } from "../../model/schema-check.ts";
import type { ResourceTypes } from "../../control/keys.ts";
import { type Answer, plainText, refuse, refuseField } from "./answer.ts";
import { lastOf, type Query } from "./query.ts";

/** What a subsystem of APISIX is in the model. */
const USES = { http: "config", stream: "stream" } as const;

/** `GET /schema/{route | service | ...}`. */
export function schemaOf(name: string | undefined): Answer {
  if (name === "plugins") return { status: 200, body: { type: "object" } };
  const type = name === undefined ? undefined : resourceTypeBySingular(name);
  return type === undefined
    ? refuse(400, `not found schema: ${name ?? ""}`)
    : { status: 200, body: type.schema };
}

/** `GET /plugins?all=true`, `GET /plugins/{name}` and `GET /schema/plugins/{name}`. */
export function pluginsAnswer(name: string | undefined, plugins: PluginList, query: Query): Answer {
  const subsystem = lastOf(query["subsystem"]) ?? "http";
  if (subsystem !== "http" && subsystem !== "stream")
    return refuse(400, `unsupported subsystem: ${subsystem}`);
  if (lastOf(query["all"]) === "true") {
    const all = plugins.list().filter((plugin) => runsFor(plugin, USES[subsystem]));
    return { status: 200, body: Object.fromEntries(all.map((plugin) => [plugin.name, pluginFacts(plugin)])) };
  }
  const plugin = name === undefined ? undefined : plugins.get(name);
  if (plugin === undefined || !runsFor(plugin, USES[subsystem]))
    return refuse(404, `plugin not found in subsystem ${subsystem}`);
  const wanted = lastOf(query["schema_type"]);
  const facts = pluginFacts(plugin);
  const schema =
    wanted === "consumer"
      ? facts.consumer_schema
      : wanted === "metadata"
        ? metadataSchemaOf(plugin)
        : facts.schema;
  return schema === undefined ? refuse(400, "not found schema") : { status: 200, body: schema };
}

/** `GET /plugins/list`: names, highest priority first. */
export function pluginNames(plugins: PluginList, query: Query): Answer {
  const subsystem = lastOf(query["subsystem"]) ?? "http";
  if (subsystem !== "http" && subsystem !== "stream") return plainText(400, "invalid subsystem passed");
  const all = plugins.list().filter((plugin) => runsFor(plugin, USES[subsystem]));
  return { status: 200, body: all.map((plugin) => plugin.name) };
}

/** `POST /schema/validate/{routes | services | ...}`: the schema alone. */
export function validateAgainstSchema(
  plural: string | undefined,
  types: ResourceTypes,
  body: unknown,
): Answer {
  const type = plural === undefined ? undefined : types.get(plural);
  if (type === undefined) return refuse(404, `Unsupported resource type: ${plural ?? ""}`);
  const error = checkSchema(type.schema, body, type.secretReferences ?? false);
  if (error === null) return { status: 200 };
  return refuseField(error);
}
