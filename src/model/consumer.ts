/** The consumer: who uses the gateway, and by which keys (its own, or those of its credentials) it is known. */

import { Type } from "../lib/schema.ts";
import { pluginsWithDefaults } from "./plugin-check.ts";
import type { PublishedConsumer } from "./published.ts";
import { idText, isObject, pointerStep, refused } from "./resource-type.ts";
import type {
  JsonObject,
  ModelContext,
  PluginCatalog,
  ResourceType,
  ValidationError,
} from "./resource-type.ts";
import { labelsOf } from "./route.ts";
import { described, Description, Id, Labels, Plugins, strictObject } from "./schema-parts.ts";

/** The field by which an authentication plugin finds its consumer; two consumers must not share a value. */
const CONSUMER_KEYS: Readonly<Record<string, string>> = {
  "key-auth": "key",
  "basic-auth": "username",
  "jwt-auth": "key",
  "hmac-auth": "key_id",
  "ldap-auth": "user_dn",
  "ldap-auth-advanced": "user_dn",
};

const { id, create_time, update_time } = described;

export const consumerType: ResourceType<PublishedConsumer> = {
  plural: "consumers",
  singular: "consumer",
  title: "consumer",
  schema: strictObject({
    id,
    username: Type.String({ minLength: 1, maxLength: 256, pattern: "^[a-zA-Z0-9_\\-]+$" }),
    desc: Type.Optional(Description),
    labels: Type.Optional(Labels),
    create_time,
    update_time,
    group_id: Type.Optional(Id),
    plugins: Type.Optional(Plugins),
  }),
  id: { field: "username", generated: false },
  methods: ["GET", "PUT", "DELETE"],
  plugins: "consumer",
  pluginErrorPrefix: "invalid plugins configuration: ",
  references: [{ path: ["group_id"], to: "consumer_groups", title: "consumer group" }],
  inUse: null,
  check: (value, context, name) => checkConsumerKeys(value, context, name ?? (value["username"] as string)),
  normalize: normalizeConsumer,
};

/** Refuses a key that another consumer has; `owner` may have it. */
export function checkConsumerKeys(
  value: JsonObject,
  context: ModelContext,
  owner: string,
): ValidationError | null {
  if (context.consumerWithKey === undefined || !isObject(value["plugins"])) return null;
  for (const [name, config] of Object.entries(value["plugins"])) {
    const field = Object.hasOwn(CONSUMER_KEYS, name) ? CONSUMER_KEYS[name] : undefined;
    const key = field !== undefined && isObject(config) ? config[field] : undefined;
    if (field === undefined || typeof key !== "string") continue;
    const other = context.consumerWithKey(name, field, key);
    if (other === undefined || other === owner) continue;
    const message = `duplicate key of plugin ${name} found with consumer: ${other}`;
    return refused(message, `/plugins${pointerStep(name)}${pointerStep(field)}`);
  }
  return null;
}

function normalizeConsumer(_id: string, value: JsonObject, plugins: PluginCatalog): PublishedConsumer {
  const consumer: PublishedConsumer = { username: value["username"] as string };
  const filled = pluginsWithDefaults(value["plugins"], "consumer", plugins);
  if (value["group_id"] !== undefined) consumer.group_id = idText(value["group_id"]);
  if (value["labels"] !== undefined) consumer.labels = labelsOf(value);
  if (filled !== undefined) consumer.plugins = filled;
  return consumer;
}
