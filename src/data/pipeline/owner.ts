/**
 * Which resource a plugin's configuration came from, told per request: handlers are shared by all routes with
 * the same configuration, so the owner cannot be part of them.
 */

import type { Exchange } from "../../plugin/exchange.ts";

type OwnerReader = (ctx: Exchange) => string;

const BY_KIND: Readonly<Record<string, OwnerReader>> = {
  route: (ctx) => `route#${ctx.route?.id ?? ""}`,
  stream_route: (ctx) => `stream_route#${ctx.route?.id ?? ""}`,
  service: (ctx) => `service#${ctx.route?.serviceId ?? ""}`,
  plugin_config: (ctx) => `plugin_config#${ctx.route?.pluginConfigId ?? ""}`,
  consumer: (ctx) => `consumer#${ctx.consumer?.username ?? ""}`,
  consumer_group: (ctx) => `consumer_group#${ctx.consumer?.groupId ?? ""}`,
};

/** Configurations of owners with the same kind can share handlers; where a request does not tell the owner, none can. */
export function ownerKind(owner: string): string {
  const kind = owner.slice(0, owner.indexOf("#"));
  return kind in BY_KIND ? kind : owner;
}

export function ownerReader(owner: string): OwnerReader {
  return BY_KIND[ownerKind(owner)] ?? (() => owner);
}
