/**
 * From the decoded file to the `StaticConfig` that the node runs on: which of two keys with one meaning counts,
 * what `auto` means on this machine, which combinations cannot be. Cardea's own key wins over APISIX's.
 */

import { accessLog } from "./access-log.ts";
import { admin } from "./admin.ts";
import type { ConfigProblem } from "./config-error.ts";
import { discovery } from "./discovery.ts";
import { encryption } from "./encryption.ts";
import { fallback } from "./fallback.ts";
import { http } from "./http.ts";
import { listeners, refuseClashes } from "./listeners.ts";
import { metrics } from "./metrics.ts";
import { store, survival } from "./roles.ts";
import type { ConfigFile } from "./schema.ts";
import type { StaticConfig } from "./static-config.ts";
import { stream } from "./stream.ts";
import { supervision } from "./supervision.ts";
import { tenantListeners, tenants, tenantWorkers } from "./tenants.ts";
import { pluginAttributes, tlsConfig } from "./tls.ts";
import { upstreamDefaults } from "./upstream-defaults.ts";
import { workerGroups } from "./worker-groups.ts";

type Partly<T> = T extends object
  ? T extends readonly unknown[]
    ? T
    : { [K in keyof T]?: Partly<T[K]> }
  : T;

export interface ResolveInput {
  /** With defaults. */
  filled: ConfigFile;
  /** Without: only what the file says. */
  given: Partly<ConfigFile>;
  env: NodeJS.ProcessEnv;
  /** Of the file. */
  folder: string;
  addProblem(path: readonly (string | number)[], message: string): void;
  addProblemOutside(problem: Omit<ConfigProblem, "line" | "column">): void;
  addWarning(text: string): void;
}

export function resolveConfig(input: ResolveInput): StaticConfig {
  const { filled, given } = input;
  const apisix = filled.apisix;
  const cardea = filled.cardea;
  const groups = workerGroups(input);
  const workers = groups.reduce((sum, group) => sum + group.workers, 0);
  const storeConfig = store(input);
  const placed = listeners(input);
  const placedOfTenants = tenantListeners(input);
  refuseClashes([...placed, ...placedOfTenants.flat()], input);
  const node = {
    tenant: null,
    workers,
    groups,
    listeners: placed.map(({ listener }) => listener),
    http: http(input),
    stream: stream(input),
    tls: tlsConfig(apisix.ssl, input.addWarning),
    upstream: upstreamDefaults(input),
    healthChecks: !apisix.disable_upstream_healthcheck,
    fallback: fallback(input),
    router: {
      http: apisix.router.http,
      deleteTailSlash: apisix.delete_uri_tail_slash,
      normalizeLikeServlet: apisix.normalize_uri_like_servlet,
      matchEncodedSlash: apisix.match_uri_encoded_slash,
    },
    resolver: {
      servers: apisix.dns_resolver,
      validMs: apisix.dns_resolver_valid === undefined ? null : apisix.dns_resolver_valid * 1000,
      timeoutMs: Math.round(apisix.resolver_timeout * 1000),
      ipv6: apisix.enable_ipv6,
    },
    discovery: discovery(input),
    admin: admin(input),
    store: storeConfig,
    survival: survival(input, storeConfig),
    encryption: encryption(input),
    plugins: {
      enabled: filled.plugins ?? null,
      attributes: pluginAttributes(filled.plugin_attr, apisix.ssl),
    },
    accessLog: accessLog(input),
    metrics: metrics(input),
    memory: {
      limitCounters: cardea.memory.limit_counters,
      dictionaryBytes: cardea.memory.dictionary_size,
      metricBytesPerWorker: cardea.memory.metrics_size_per_worker,
    },
    supervision: supervision(input, workers + tenantWorkers(input)),
    log: { level: given.cardea?.log?.level ?? logLevel(filled.nginx_config?.error_log_level) },
    trustedAddresses: apisix.trusted_addresses,
    privateHosts: cardea.private_hosts,
    zone: cardea.zone ?? null,
  };
  return { ...node, tenants: tenants(input, node, placedOfTenants) };
}

function logLevel(nginx: string | undefined): StaticConfig["log"]["level"] {
  switch (nginx) {
    case undefined:
    case "info":
    case "notice":
      return "info";
    case "debug":
    case "warn":
      return nginx;
    default:
      return "error";
  }
}
