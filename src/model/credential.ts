/** A credential of a consumer: one authentication plugin's configuration. Published inside its consumer. */

import { Type } from "../lib/schema.ts";
import { checkConsumerKeys } from "./consumer.ts";
import { pluginsWithDefaults } from "./plugin-check.ts";
import type { PublishedConsumer } from "./published.ts";
import { isObject, pointerStep, refused } from "./resource-type.ts";
import type { JsonObject, ModelContext, ResourceType, ValidationError } from "./resource-type.ts";
import { labelsOf } from "./route.ts";
import { described, Id, raw, strictObject } from "./schema-parts.ts";

export type PublishedCredential = NonNullable<PublishedConsumer["credentials"]>[number];

export const credentialType: ResourceType<PublishedCredential> = {
  plural: "credentials",
  singular: "credential",
  title: "credential",
  parent: "consumers",
  schema: strictObject({
    ...described,
    // In a declarative configuration the id names the consumer too.
    id: Type.Optional(
      raw({
        anyOf: [
          Id,
          {
            type: "string",
            minLength: 15,
            maxLength: 128,
            pattern: "^[a-zA-Z0-9-_]+/credentials/[a-zA-Z0-9-_.]+$",
          },
        ],
      }),
    ),
    plugins: Type.Optional(raw({ type: "object", maxProperties: 1 })),
  }),
  id: { field: "id", generated: false },
  methods: ["GET", "PUT", "DELETE"],
  plugins: "consumer",
  pluginErrorPrefix: "invalid plugins configuration: ",
  references: [],
  inUse: null,
  check: checkCredential,
  normalize: (id, value, plugins) => ({
    id,
    plugins: pluginsWithDefaults(value["plugins"], "consumer", plugins) ?? {},
    ...(value["labels"] === undefined ? {} : { labels: labelsOf(value) }),
  }),
};

function checkCredential(value: JsonObject, context: ModelContext): ValidationError | null {
  for (const name of Object.keys(isObject(value["plugins"]) ? value["plugins"] : {})) {
    const plugin = context.plugins.get(name);
    if (plugin !== undefined && plugin.type !== "auth") {
      return refused(
        "only supports auth type plugins in consumer credential",
        `/plugins${pointerStep(name)}`,
      );
    }
  }
  return context.parentId === undefined ? null : checkConsumerKeys(value, context, context.parentId);
}
