/**
 * The stream route: which connections (TCP and UDP), which plugins, which upstream.
 *
 * A route with `protocol` is stored and checked; there is no code for such protocols, and workers close its connections.
 */

import { isAddressOrCidr } from "../lib/address.ts";
import { Type } from "../lib/schema.ts";
import { normalizeInlineUpstream } from "./normalize-upstream.ts";
import { pluginsWithDefaults } from "./plugin-check.ts";
import type { PublishedStreamRoute } from "./published.ts";
import { idText, isObject, refused } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, ResourceType, ValidationError } from "./resource-type.ts";
import { labelsOf } from "./route.ts";
import { AddressOrCidr, described, Host, Id, Plugins, Port, raw, strictObject } from "./schema-parts.ts";
import {
  checkInlineUpstream,
  inlineUpstreamPrivateKeys,
  inlineUpstreamReferences,
  UpstreamSchema,
} from "./upstream.ts";

function protocolMismatch(superior: JsonObject, value: JsonObject): string | null {
  const name = (holder: JsonObject) =>
    isObject(holder["protocol"]) ? String(holder["protocol"]["name"]) : null;
  if (name(superior) === null || name(superior) === name(value)) return null;
  return (
    `protocol mismatch: subordinate protocol [${name(value)}] does not match ` +
    `superior protocol [${name(superior)}]`
  );
}

/** What APISIX's patterns let pass as a CIDR. What is none all the same has its own words there. */
const LOOSE_CIDR = /^[0-9a-fA-F.:]{1,45}\/[0-9]{1,3}$/;

function refuseBadCidr(value: JsonObject, field: "remote_addr" | "server_addr"): ValidationError | null {
  const given = value[field];
  if (typeof given !== "string" || !LOOSE_CIDR.test(given) || isAddressOrCidr(given)) return null;
  return refused(`invalid ${field}: ${given}`, `/${field}`);
}

const Logger = raw({
  properties: { name: Type.String(), filter: { type: "array" }, conf: { type: "object" } },
  dependencies: { name: ["conf"] },
  additionalProperties: false,
});

export const streamRouteType: ResourceType<PublishedStreamRoute> = {
  plural: "stream_routes",
  singular: "stream_route",
  title: "stream_route",
  schema: strictObject({
    ...described,
    remote_addr: Type.Optional(AddressOrCidr),
    server_addr: Type.Optional(AddressOrCidr),
    server_port: Type.Optional(Port),
    sni: Type.Optional(Host),
    upstream: Type.Optional(UpstreamSchema),
    upstream_id: Type.Optional(Id),
    service_id: Type.Optional(Id),
    plugins: Type.Optional(Plugins),
    protocol: Type.Optional(
      Type.Object({
        name: Type.String(),
        superior_id: Type.Optional(Id),
        conf: Type.Optional(raw({ type: "object" })),
        logger: Type.Optional(Type.Array(Logger)),
      }),
    ),
  }),
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "DELETE"],
  plugins: "stream",
  privateKeys: inlineUpstreamPrivateKeys,
  references: [
    { path: ["upstream_id"], to: "upstreams", title: "upstream" },
    { path: ["service_id"], to: "services", title: "service" },
    {
      path: ["protocol", "superior_id"],
      to: "stream_routes",
      title: "stream route",
      missing: (id) => `failed to fetch stream routes[${id}], response code: 404`,
      unfit: protocolMismatch,
    },
    ...inlineUpstreamReferences,
  ],
  inUse: (_title, id) =>
    `can not delete this stream route directly, stream route [${id}] is still using it as superior_id`,
  checkFirst: (value) => refuseBadCidr(value, "remote_addr") ?? refuseBadCidr(value, "server_addr"),
  check(value, _context, id) {
    const protocol = isObject(value["protocol"]) ? value["protocol"] : {};
    if (id !== undefined && idText(protocol["superior_id"]) === id) {
      return refused("stream route can not set itself as superior_id", "/protocol/superior_id");
    }
    return checkInlineUpstream(value);
  },
  normalize: normalizeStreamRoute,
};

function normalizeStreamRoute(
  id: string,
  value: JsonObject,
  plugins: PluginCatalog,
  created: number,
): PublishedStreamRoute {
  const route: PublishedStreamRoute = { id, created };
  const filled = pluginsWithDefaults(value["plugins"], "stream", plugins);
  if (value["name"] !== undefined) route.name = value["name"] as string;
  if (value["labels"] !== undefined) route.labels = labelsOf(value);
  if (value["remote_addr"] !== undefined) route.remote_addr = value["remote_addr"] as string;
  if (value["server_addr"] !== undefined) route.server_addr = value["server_addr"] as string;
  if (value["server_port"] !== undefined) route.server_port = value["server_port"] as number;
  if (value["sni"] !== undefined) route.sni = (value["sni"] as string).toLowerCase();
  if (filled !== undefined) route.plugins = filled;
  if (isObject(value["upstream"]))
    route.upstream = normalizeInlineUpstream(value["upstream"], `/stream_routes/${id}`);
  if (value["upstream_id"] !== undefined) route.upstream_id = idText(value["upstream_id"]);
  if (value["service_id"] !== undefined) route.service_id = idText(value["service_id"]);
  const { protocol } = value;
  if (isObject(protocol)) {
    route.protocol = String(protocol["name"]);
    if (protocol["superior_id"] !== undefined) route.superior_id = idText(protocol["superior_id"]);
  }
  return route;
}
