/**
 * Where the node listens: ports for traffic of the default group and of groups, of the Admin and Control API, of metrics
 * and status. No two of them, tenants' included, may be the same.
 */

import { Type } from "../lib/schema.ts";
import { address, port } from "./kinds.ts";
import { metricsListener } from "./metrics.ts";
import type { ResolveInput } from "./resolve.ts";
import { hasAdmin, hasTraffic } from "./roles.ts";
import type { ListenerConfig } from "./static-config.ts";
import { streamListeners } from "./stream.ts";

/** Of those that no group has of its own. */
export const DEFAULT_GROUP = "default";

export const Http2OfListener = Type.Boolean({
  description:
    "Older form of `apisix.enable_http2`, which goes before it: the first listener that has it decides for all.",
});

/** An entry of `apisix.node_listen`. */
export const ListenEntry = Type.Object(
  {
    ip: Type.Optional(address({ description: "Default: 0.0.0.0" })),
    port: port(),
    enable_http2: Type.Optional(Http2OfListener),
  },
  { additionalProperties: false, expects: "{ ip, port }" },
);

/** For traffic of a group of workers, or of a tenant. */
export const GroupListen = Type.Object(
  {
    ip: Type.Optional(address({ description: "Default: 0.0.0.0" })),
    port: port(),
    proxy_protocol: Type.Boolean({
      default: false,
      description: "Whether every connection must speak the PROXY protocol.",
    }),
    tls: Type.Boolean({ default: false, description: "Whether it takes HTTPS traffic." }),
  },
  { additionalProperties: false, expects: "{ ip, port, proxy_protocol, tls }" },
);

export interface PlacedListener {
  listener: ListenerConfig;
  /** Of the key that says so. */
  path: readonly (string | number)[];
}

export function listeners(input: ResolveInput): PlacedListener[] {
  const { filled } = input;
  const { apisix, deployment } = filled;
  const all: PlacedListener[] = [];
  const add = (
    purpose: ListenerConfig["purpose"],
    ip: string | undefined,
    port: number,
    path: PlacedListener["path"],
    group = DEFAULT_GROUP,
    proxyProtocol = false,
  ): void => {
    const isHttp = purpose === "http" || purpose === "https";
    if (isHttp && (!hasTraffic(filled) || apisix.proxy_mode === "stream")) return;
    all.push({ listener: { purpose, address: ip ?? "0.0.0.0", port, proxyProtocol, group }, path });
  };

  const listen = apisix.node_listen ?? 9080;
  if (typeof listen === "number") add("http", undefined, listen, ["apisix", "node_listen"]);
  else {
    listen.forEach((entry, i) => {
      const path = ["apisix", "node_listen", i];
      if (typeof entry === "number") add("http", undefined, entry, path);
      else add("http", entry.ip, entry.port, path);
    });
  }
  const proxyPort = apisix.proxy_protocol?.listen_http_port;
  if (proxyPort !== undefined) {
    add("http", undefined, proxyPort, ["apisix", "proxy_protocol", "listen_http_port"], DEFAULT_GROUP, true);
  }
  if (apisix.ssl.enable) {
    apisix.ssl.listen.forEach((entry, i) => {
      add("https", entry.ip, entry.port, ["apisix", "ssl", "listen", i]);
    });
  }
  const proxyTlsPort = apisix.proxy_protocol?.listen_https_port;
  if (proxyTlsPort !== undefined && apisix.ssl.enable) {
    const path = ["apisix", "proxy_protocol", "listen_https_port"];
    add("https", undefined, proxyTlsPort, path, DEFAULT_GROUP, true);
  }
  filled.cardea.groups.forEach((group, i) => {
    group.listen.forEach((entry, j) => {
      const path = ["cardea", "groups", i, "listen", j];
      add(entry.tls ? "https" : "http", entry.ip, entry.port, path, group.name, entry.proxy_protocol);
    });
  });
  if (hasTraffic(filled)) all.push(...streamListeners(input, DEFAULT_GROUP));
  if (hasAdmin(filled)) {
    const { ip, port } = deployment.admin.admin_listen;
    add("admin", ip, port, ["deployment", "admin", "admin_listen", "port"]);
  }
  if (apisix.enable_control) {
    add("control", apisix.control.ip, apisix.control.port, ["apisix", "control", "port"]);
  }
  const page = metricsListener(input);
  if (page !== null) add("metrics", page.ip, page.port, ["plugin_attr", "prometheus", "export_addr", "port"]);
  add("status", apisix.status.ip, apisix.status.port, ["apisix", "status", "port"]);
  return all;
}

export function refuseClashes(all: readonly PlacedListener[], { addProblem }: ResolveInput): void {
  for (let i = 0; i < all.length; i++) {
    const { address, port, purpose } = all[i].listener;
    const clash = all.slice(0, i).find((other) => overlap(other.listener, all[i].listener))?.listener;
    if (clash === undefined) continue;
    const taken = `${clash.address}:${clash.port} for ${clash.purpose}`;
    addProblem(
      all[i].path,
      `given ${address}:${port} for ${purpose}, expected a port that is free; ${taken} takes it`,
    );
  }
}

function overlap(a: ListenerConfig, b: ListenerConfig): boolean {
  if (a.port !== b.port || (a.purpose === "stream-udp") !== (b.purpose === "stream-udp")) return false;
  const v6 = a.address.includes(":");
  if (v6 !== b.address.includes(":")) return false;
  const any = v6 ? "::" : "0.0.0.0";
  return a.address === b.address || a.address === any || b.address === any;
}
