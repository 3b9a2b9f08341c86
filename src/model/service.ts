/** The service: what several routes have in common. */

import { Type } from "../lib/schema.ts";
import { normalizeInlineUpstream } from "./normalize-upstream.ts";
import { pluginsWithDefaults } from "./plugin-check.ts";
import type { PublishedService } from "./published.ts";
import { idText, isObject } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, ResourceType } from "./resource-type.ts";
import { labelsOf, lowerCase, refuseLua } from "./route.ts";
import { described, Hosts, Id, Plugins, strictObject } from "./schema-parts.ts";
import {
  checkInlineUpstream,
  inlineUpstreamPrivateKeys,
  inlineUpstreamReferences,
  UpstreamSchema,
} from "./upstream.ts";
import { WebSocketSettings, webSocketOf } from "./websocket.ts";

export const serviceType: ResourceType<PublishedService> = {
  plural: "services",
  singular: "service",
  title: "service",
  schema: strictObject({
    ...described,
    plugins: Type.Optional(Plugins),
    upstream: Type.Optional(UpstreamSchema),
    upstream_id: Type.Optional(Id),
    script: Type.Optional(Type.String({ minLength: 10, maxLength: 102_400 })),
    enable_websocket: Type.Optional(Type.Boolean()),
    websocket: Type.Optional(WebSocketSettings),
    hosts: Type.Optional(Hosts),
  }),
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  plugins: "config",
  privateKeys: inlineUpstreamPrivateKeys,
  references: [{ path: ["upstream_id"], to: "upstreams", title: "upstream" }, ...inlineUpstreamReferences],
  inUse: (title, id) => `can not delete this service directly, ${title} [${id}] is still using it now`,
  check: (value) => checkInlineUpstream(value) ?? refuseLua(value),
  normalize: normalizeService,
};

function normalizeService(id: string, value: JsonObject, plugins: PluginCatalog): PublishedService {
  const service: PublishedService = { id };
  const filled = pluginsWithDefaults(value["plugins"], "config", plugins);
  if (value["name"] !== undefined) service.name = value["name"] as string;
  if (value["labels"] !== undefined) service.labels = labelsOf(value);
  if (value["hosts"] !== undefined) service.hosts = lowerCase(value["hosts"] as string[]);
  if (filled !== undefined) service.plugins = filled;
  if (isObject(value["upstream"]))
    service.upstream = normalizeInlineUpstream(value["upstream"], `/services/${id}`);
  if (value["upstream_id"] !== undefined) service.upstream_id = idText(value["upstream_id"]);
  if (value["enable_websocket"] !== undefined)
    service.enable_websocket = value["enable_websocket"] as boolean;
  const websocket = webSocketOf(value["websocket"]);
  if (websocket !== undefined) service.websocket = websocket;
  return service;
}
