/** The route: which requests, which plugins, which upstream. */

import { Type } from "../lib/schema.ts";
import { checkExpression } from "../lib/expression.ts";
import type { Expression } from "../lib/expression.ts";
import { normalizeInlineUpstream } from "./normalize-upstream.ts";
import { pluginsWithDefaults } from "./plugin-check.ts";
import type { PublishedRoute } from "./published.ts";
import { idText, isObject, refused } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, ResourceType, ValidationError } from "./resource-type.ts";
import {
  AddressOrCidr,
  described,
  Host,
  Hosts,
  Id,
  oneOf,
  Plugins,
  raw,
  Status,
  Timeout,
} from "./schema-parts.ts";
import { HTTP_METHODS } from "../lib/http-methods.ts";
import {
  checkInlineUpstream,
  inlineUpstreamPrivateKeys,
  inlineUpstreamReferences,
  UpstreamSchema,
} from "./upstream.ts";
import { WebSocketSettings, webSocketOf } from "./websocket.ts";

/** Neither of two fields, or one of them. */
function atMostOneOf(one: string, many: string): object {
  const neither = { not: { anyOf: [{ required: [one] }, { required: [many] }] } };
  return { oneOf: [neither, { required: [one] }, { required: [many] }] };
}

const TARGETS = ["plugins", "upstream", "upstream_id", "service_id"];

const RouteSchema = raw({
  type: "object",
  properties: {
    ...described,
    uri: Type.String({ minLength: 1, maxLength: 4096 }),
    uris: Type.Array(Type.String(), { minItems: 1, uniqueItems: true }),
    priority: Type.Integer({ default: 0 }),
    methods: Type.Array(oneOf(HTTP_METHODS), { uniqueItems: true }),
    host: Host,
    hosts: Hosts,
    remote_addr: AddressOrCidr,
    remote_addrs: Type.Array(AddressOrCidr, { minItems: 1, uniqueItems: true }),
    timeout: Timeout,
    vars: raw({ type: "array" }),
    filter_func: Type.String({ minLength: 10, pattern: "^function" }),
    script: Type.String({ minLength: 10, maxLength: 102_400 }),
    script_id: Id,
    plugins: Plugins,
    plugin_config_id: Id,
    upstream: UpstreamSchema,
    service_id: Id,
    upstream_id: Id,
    enable_websocket: Type.Boolean(),
    websocket: WebSocketSettings,
    status: Status,
  },
  allOf: [
    { oneOf: [{ required: ["uri"] }, { required: ["uris"] }] },
    atMostOneOf("host", "hosts"),
    atMostOneOf("remote_addr", "remote_addrs"),
  ],
  anyOf: [
    ...TARGETS.map((target) => ({ required: [target, "uri"] })),
    ...TARGETS.map((target) => ({ required: [target, "uris"] })),
    { required: ["script", "uri"] },
    { required: ["script", "uris"] },
  ],
  not: { anyOf: [{ required: ["script", "plugins"] }, { required: ["script", "plugin_config_id"] }] },
  additionalProperties: false,
});

export const routeType: ResourceType<PublishedRoute> = {
  plural: "routes",
  singular: "route",
  title: "route",
  schema: RouteSchema,
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  plugins: "config",
  privateKeys: inlineUpstreamPrivateKeys,
  references: [
    { path: ["upstream_id"], to: "upstreams", title: "upstream" },
    { path: ["service_id"], to: "services", title: "service" },
    { path: ["plugin_config_id"], to: "plugin_configs", title: "plugin config" },
    ...inlineUpstreamReferences,
  ],
  inUse: null,
  checkFirst: (value) =>
    refuseBoth(value, "host", "hosts") ?? refuseBoth(value, "remote_addr", "remote_addrs"),
  check: (value) => checkInlineUpstream(value) ?? checkVars(value) ?? refuseLua(value),
  normalize: normalizeRoute,
};

function refuseBoth(value: JsonObject, one: string, many: string): ValidationError | null {
  if (!Object.hasOwn(value, one) || !Object.hasOwn(value, many)) return null;
  return refused(`only one of ${one} or ${many} is allowed`, `/${many}`);
}

/** Lua in a resource would silently do nothing; it is refused with what replaces it. */
export function refuseLua(value: JsonObject): ValidationError | null {
  if (value["filter_func"] !== undefined) {
    const reason = "Lua functions are not supported; write the condition as vars";
    return refused(`failed to load 'filter_func' string: ${reason}`, "/filter_func");
  }
  if (value["script"] !== undefined) {
    return refused("failed to load 'script' string: Lua is not supported; use plugins", "/script");
  }
  return null;
}

function checkVars(value: JsonObject): ValidationError | null {
  if (value["vars"] === undefined) return null;
  const reason = checkExpression(varsOf(value));
  return reason === null ? null : refused(`failed to validate the 'vars' expression: ${reason}`, "/vars");
}

/** An empty table of Lua may have become `{}`. */
function varsOf(value: JsonObject): Expression {
  return Array.isArray(value["vars"]) ? (value["vars"] as Expression) : [];
}

function normalizeRoute(
  id: string,
  value: JsonObject,
  plugins: PluginCatalog,
  created: number,
): PublishedRoute {
  const route: PublishedRoute = {
    id,
    uris: (value["uris"] as string[] | undefined) ?? [value["uri"] as string],
    priority: (value["priority"] as number | undefined) ?? 0,
    created,
    enabled: value["status"] !== 0,
  };
  const hosts = (value["hosts"] as string[] | undefined) ?? single(value["host"]);
  const addresses = (value["remote_addrs"] as string[] | undefined) ?? single(value["remote_addr"]);
  const filled = pluginsWithDefaults(value["plugins"], "config", plugins);
  if (value["name"] !== undefined) route.name = value["name"] as string;
  if (value["labels"] !== undefined) route.labels = labelsOf(value);
  if (hosts !== undefined) route.hosts = lowerCase(hosts);
  if (isFilled(value["methods"])) route.methods = value["methods"] as string[];
  if (addresses !== undefined) route.remote_addrs = addresses;
  if (varsOf(value).length > 0) route.vars = varsOf(value);
  if (filled !== undefined) route.plugins = filled;
  if (value["plugin_config_id"] !== undefined) route.plugin_config_id = idText(value["plugin_config_id"]);
  if (isObject(value["upstream"]))
    route.upstream = normalizeInlineUpstream(value["upstream"], `/routes/${id}`);
  if (value["upstream_id"] !== undefined) route.upstream_id = idText(value["upstream_id"]);
  if (value["service_id"] !== undefined) route.service_id = idText(value["service_id"]);
  if (value["timeout"] !== undefined) route.timeout = value["timeout"] as PublishedRoute["timeout"];
  if (value["enable_websocket"] !== undefined) route.enable_websocket = value["enable_websocket"] as boolean;
  const websocket = webSocketOf(value["websocket"]);
  if (websocket !== undefined) route.websocket = websocket;
  return route;
}

/** Labels as an object; an empty Lua table may have become an array. */
export function labelsOf(value: JsonObject): Record<string, string> {
  return isObject(value["labels"]) ? (value["labels"] as Record<string, string>) : {};
}

export function lowerCase(hosts: readonly string[]): string[] {
  return hosts.map((host) => host.toLowerCase());
}

function single(value: unknown): string[] | undefined {
  return value === undefined ? undefined : [value as string];
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}
