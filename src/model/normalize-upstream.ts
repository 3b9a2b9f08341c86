/**
 * An upstream in the form for workers: nodes as a list whatever form they were written in, ports by scheme,
 * host names in lower case, IPv6 without brackets, defaults filled in.
 */

import { isIP } from "node:net";
import { contentHash } from "../lib/content-hash.ts";
import { withDefaults } from "./defaults.ts";
import type { PublishedNode, PublishedUpstream } from "./published.ts";
import { isObject } from "./resource-type.ts";
import type { JsonObject } from "./resource-type.ts";
import { defaultPortOf } from "./schemes.ts";
import { Checks } from "./upstream-checks.ts";
import { protectionOf } from "./upstream-protection.ts";
import { zonesOf } from "./upstream-zones.ts";

const KEEPALIVE = { size: 320, idle_timeout: 60, requests: 1000 };

/** The upstream inside the resource with that store key. */
export function normalizeInlineUpstream(value: JsonObject, key: string): PublishedUpstream {
  const upstream = normalizeUpstream(value);
  if (upstream.checks !== undefined || upstream.outlier !== undefined) upstream.health_key = key;
  return upstream;
}

/** Begins the health keys of upstreams inside plugins. */
export const HELD_PREFIX = "/held/";

/** The upstream inside the configuration of a plugin, which has no place in the store: its content is its key. */
export function normalizeHeldUpstream(value: JsonObject): PublishedUpstream {
  const upstream = normalizeUpstream(value);
  if (upstream.checks !== undefined || upstream.outlier !== undefined)
    upstream.health_key = HELD_PREFIX + contentHash(upstream);
  return upstream;
}

/** `value` was accepted by the upstream's schema and checks. */
export function normalizeUpstream(value: JsonObject): PublishedUpstream {
  const scheme = (value["scheme"] ?? "http") as PublishedUpstream["scheme"];
  const upstream: PublishedUpstream = {
    nodes: normalizeNodes(value["nodes"], defaultPortOf(scheme) ?? 0),
    type: (value["type"] ?? "roundrobin") as PublishedUpstream["type"],
    hash_on: (value["hash_on"] ?? "vars") as PublishedUpstream["hash_on"],
    scheme,
    pass_host: (value["pass_host"] ?? "pass") as PublishedUpstream["pass_host"],
    ...protectionOf(value),
  };
  if (value["name"] !== undefined) upstream.name = value["name"] as string;
  if (value["service_name"] !== undefined) upstream.service_name = value["service_name"] as string;
  if (value["discovery_type"] !== undefined) upstream.discovery_type = value["discovery_type"] as string;
  if (isObject(value["discovery_args"])) upstream.discovery_args = { ...value["discovery_args"] };
  if (value["key"] !== undefined) upstream.key = value["key"] as string;
  if (value["retries"] !== undefined) upstream.retries = value["retries"] as number;
  if (value["retry_timeout"] !== undefined) upstream.retry_timeout = value["retry_timeout"] as number;
  if (value["timeout"] !== undefined) upstream.timeout = value["timeout"] as PublishedUpstream["timeout"];
  if (value["upstream_host"] !== undefined) upstream.upstream_host = value["upstream_host"] as string;
  if (isObject(value["keepalive_pool"]))
    upstream.keepalive_pool = { ...KEEPALIVE, ...value["keepalive_pool"] };
  const zones = zonesOf(value);
  if (zones !== undefined) upstream.zones = zones;
  if (isObject(value["tls"])) upstream.tls = { ...value["tls"] };
  if (isObject(value["checks"])) {
    upstream.checks = withDefaults(Checks, value["checks"]) as Record<string, unknown>;
  }
  return upstream;
}

function normalizeNodes(nodes: unknown, defaultPort: number): PublishedNode[] {
  if (Array.isArray(nodes)) return nodes.filter(isObject).map((node) => normalizeNode(node, defaultPort));
  if (!isObject(nodes)) return [];
  return Object.entries(nodes).map(([address, weight]) => {
    const { host, port } = splitAddress(address);
    return { host: plainHost(host), port: port ?? defaultPort, weight: weight as number, priority: 0 };
  });
}

function normalizeNode(node: JsonObject, defaultPort: number): PublishedNode {
  // The host of a listed node may carry a port too; the field wins.
  const { host, port } = splitAddress(node["host"] as string);
  const normalized: PublishedNode = {
    host: plainHost(host),
    port: (node["port"] as number | undefined) ?? port ?? defaultPort,
    weight: node["weight"] as number,
    priority: (node["priority"] as number | undefined) ?? 0,
  };
  if (isObject(node["metadata"])) normalized.metadata = node["metadata"];
  return normalized;
}

/** "host", "host:port", "[ipv6]", "[ipv6]:port" or a bare IPv6 address. */
function splitAddress(address: string): { host: string; port: number | undefined } {
  if (isIP(address) === 6) return { host: address, port: undefined };
  const parts = /^(.*?)(?::(\d{1,5}))?$/.exec(address);
  const port = parts?.[2];
  return { host: parts?.[1] ?? address, port: port === undefined ? undefined : Number(port) };
}

function plainHost(host: string): string {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  return bare.toLowerCase();
}
