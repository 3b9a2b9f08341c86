/**
 * From the decoded file to the `StaticConfig` that the node runs on: which of two keys with one meaning counts,
 * what `auto` means on this machine, which combinations cannot be. Cardea's own key wins over APISIX's.
 */

import { availableParallelism, totalmem } from "node:os";
import type { ConfigProblem } from "./config-error.ts";
import { discovery } from "./discovery.ts";
import { fallback } from "./fallback.ts";
import { hasAdmin, hasTraffic, store, survival } from "./roles.ts";
import type { ConfigFile } from "./schema.ts";
import { DEFAULT_ACCESS_LOG_FORMAT } from "./schema-cardea.ts";
import { keyFault, PUBLIC_KEYS, WELL_KNOWN_KEYS } from "./well-known-keys.ts";
import type {
  AccessLogConfig,
  AdminConfig,
  AdminKey,
  EncryptionConfig,
  HttpConfig,
  ListenerConfig,
  StaticConfig,
  SupervisionConfig,
  UpstreamDefaults,
  WorkerGroup,
} from "./static-config.ts";
import { stream, streamListeners } from "./stream.ts";
import { type PlacedListener, tenantListeners, tenants, tenantWorkers } from "./tenants.ts";
import { pluginAttributes, tlsConfig } from "./tls.ts";

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

const DEFAULT_GROUP = "default";
const DEFAULT_METRICS_PORT = 9091;
const DEFAULT_BUCKETS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
const MEBIBYTE = 1024 ** 2;
const LEAST_KEY_LENGTH = 16;
const LOOPBACK = /^(?:127\.|::1$)/;
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
    metrics: {
      enabled: filled.plugin_attr.prometheus?.enable_export_server ?? true,
      uri: filled.plugin_attr.prometheus?.export_uri ?? "/apisix/prometheus/metrics",
      prefix: filled.plugin_attr.prometheus?.metric_prefix ?? "apisix_",
      bucketsMs: buckets(input),
      maxSeriesPerWorker: cardea.metrics.max_series_per_worker,
    },
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

function workerGroups({ filled, addProblem }: ResolveInput): WorkerGroup[] {
  // It carries no traffic, but compiles what is written as the data planes do, and says what cannot be used.
  if (!hasTraffic(filled)) return [{ name: DEFAULT_GROUP, workers: 1 }];
  const wish = filled.cardea.workers ?? filled.nginx_config?.worker_processes ?? "auto";
  const cores = availableParallelism();
  const count = filled.apisix.enable_dev_mode ? 1 : wish === "auto" ? cores : wish;
  const groups: WorkerGroup[] = [{ name: DEFAULT_GROUP, workers: count }];
  filled.cardea.groups.forEach((group, i) => {
    if (groups.some((other) => other.name === group.name)) {
      addProblem(
        ["cardea", "groups", i, "name"],
        `given ${JSON.stringify(group.name)} twice, expected one group of a name`,
      );
    }
    groups.push({ name: group.name, workers: group.workers });
  });
  return groups;
}

function listeners(input: ResolveInput): PlacedListener[] {
  const { filled } = input;
  const { apisix, deployment, plugin_attr: attributes } = filled;
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
  if (attributes.prometheus?.enable_export_server ?? true) {
    const ip = attributes.prometheus?.export_addr?.ip ?? "127.0.0.1";
    const port = attributes.prometheus?.export_addr?.port ?? DEFAULT_METRICS_PORT;
    add("metrics", ip, port, ["plugin_attr", "prometheus", "export_addr", "port"]);
  }
  add("status", apisix.status.ip, apisix.status.port, ["apisix", "status", "port"]);
  return all;
}

function refuseClashes(all: readonly PlacedListener[], { addProblem }: ResolveInput): void {
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

/** Listeners had the switch before all of them together did. */
function enablesHttp2({ apisix }: ResolveInput["given"]): boolean {
  if (apisix?.enable_http2 !== undefined) return apisix.enable_http2;
  const listeners = [
    ...(Array.isArray(apisix?.node_listen) ? apisix.node_listen : []),
    ...(apisix?.ssl?.listen ?? []),
  ];
  for (const listener of listeners) {
    if (typeof listener === "object" && listener.enable_http2 !== undefined) return listener.enable_http2;
  }
  return true;
}

function http({ filled, given }: ResolveInput): HttpConfig {
  const own = given.cardea?.http ?? {};
  const nginx = given.nginx_config?.http ?? {};
  const defaults = filled.cardea.http;
  return {
    http2: enablesHttp2(given) ? { maxConcurrentStreams: defaults.http2_max_concurrent_streams } : null,
    maxHeaderBytes: defaults.max_header_size,
    maxHeaders: defaults.max_headers,
    maxTargetBytes: defaults.max_target_size,
    maxBodyBytes: own.max_body_size ?? nginx.client_max_body_size ?? defaults.max_body_size,
    headerTimeoutMs: own.header_timeout ?? nginx.client_header_timeout ?? defaults.header_timeout,
    bodyTimeoutMs: own.body_timeout ?? nginx.client_body_timeout ?? defaults.body_timeout,
    minBodyBytesPerSecond: defaults.min_body_rate,
    idleTimeoutMs: own.idle_timeout ?? nginx.keepalive_timeout ?? defaults.idle_timeout,
    sendTimeoutMs: own.send_timeout ?? nginx.send_timeout ?? defaults.send_timeout,
    maxRequestsPerConnection: defaults.max_requests_per_connection,
    maxConnectionsPerWorker:
      own.max_connections_per_worker ??
      given.nginx_config?.event?.worker_connections ??
      defaults.max_connections_per_worker,
    tunnelIdleTimeoutMs: defaults.tunnel_idle_timeout,
    underscoresInHeaders:
      own.underscores_in_headers ??
      underscores(nginx.underscores_in_headers) ??
      defaults.underscores_in_headers,
    relaxedTarget: defaults.relaxed_target,
    refuseUnusualBodies: defaults.refuse_unusual_bodies,
    serverTokens: filled.apisix.enable_server_tokens,
    showUpstreamStatus: filled.apisix.show_upstream_status_in_response_header,
    maxBufferedBodyBytes: defaults.max_buffered_body_size,
    maxBodyVariableBytes: Math.min(
      defaults.max_buffered_body_size,
      filled.apisix.max_post_args_readable_size * MEBIBYTE || Number.POSITIVE_INFINITY,
    ),
    maxGraphqlBytes: filled.graphql.max_size,
    shedEventLoopDelayMs: defaults.shed_event_loop_delay,
    shedHeapShare: defaults.shed_heap_share,
  };
}

function underscores(nginx: boolean | "on" | "off" | undefined): "keep" | "drop" | undefined {
  if (nginx === undefined) return undefined;
  return nginx === true || nginx === "on" ? "keep" : "drop";
}

function upstreamDefaults({ filled, given }: ResolveInput): UpstreamDefaults {
  const own = given.cardea?.upstream ?? {};
  const nginx = given.nginx_config?.http?.upstream ?? {};
  const defaults = filled.cardea.upstream;
  return {
    connectTimeoutMs: defaults.connect_timeout,
    sendTimeoutMs: defaults.send_timeout,
    readTimeoutMs: defaults.read_timeout,
    keepalive: {
      size: own.keepalive ?? nginx.keepalive ?? defaults.keepalive,
      idleTimeoutMs: own.keepalive_timeout ?? nginx.keepalive_timeout ?? defaults.keepalive_timeout,
      requests: own.keepalive_requests ?? nginx.keepalive_requests ?? defaults.keepalive_requests,
    },
    maxHeaderBytes: defaults.max_header_size,
    maxConnectionsPerNode: defaults.max_connections_per_node,
  };
}

function admin(input: ResolveInput): AdminConfig {
  const { filled, addWarning } = input;
  const section = filled.deployment.admin;
  if (hasAdmin(filled) && !section.admin_key_required) {
    addWarning(
      "deployment.admin.admin_key_required is false: whoever reaches the Admin API may change everything",
    );
  }
  return {
    enabled: hasAdmin(filled),
    keyRequired: section.admin_key_required,
    keys: adminKeys(input),
    allow: section.allow_admin,
    cors: section.enable_admin_cors,
    serverHeader: serverHeader(filled.cardea.admin.server_header, filled.apisix.enable_server_tokens),
    maxBodyBytes: filled.cardea.admin.max_body_size,
    streamRoutes: filled.apisix.proxy_mode !== "http",
  };
}

/** Without server tokens the name stays and the version goes. */
function serverHeader(text: string, hasTokens: boolean): string | null {
  if (text === "") return null;
  return hasTokens ? text : text.split("/", 1)[0];
}

function encryption({ filled, addWarning }: ResolveInput): EncryptionConfig {
  const { enable_encrypt_fields: enabled, keyring } = filled.apisix.data_encryption;
  const keys = typeof keyring === "string" ? [keyring] : keyring;
  if (keys.some((key) => PUBLIC_KEYS.has(key))) {
    addWarning(
      "apisix.data_encryption.keyring has a key that APISIX's documentation prints: it decrypts, and does not encrypt",
    );
  }
  return { enabled, keyring: keys };
}

function adminKeys({ filled, env, addProblem, addProblemOutside, addWarning }: ResolveInput): AdminKey[] {
  const fromEnvironment = env["CARDEA_ADMIN_KEY"] ?? "";
  const keys: AdminKey[] = [];
  const isLocal = LOOPBACK.test(filled.deployment.admin.admin_listen.ip);
  if (fromEnvironment !== "") {
    const fault = keyFault(fromEnvironment, isLocal);
    if (fault !== null) addProblemOutside({ key: "CARDEA_ADMIN_KEY", message: fault });
    keys.push({ name: "admin", key: fromEnvironment, role: "admin", scope: null });
  }
  filled.deployment.admin.admin_key.forEach((entry, i) => {
    if (entry.key === "" || (fromEnvironment !== "" && entry.role === "admin" && entry.scope === undefined))
      return;
    const path = ["deployment", "admin", "admin_key", i, "key"];
    const fault = keyFault(entry.key, isLocal);
    if (fault !== null) addProblem(path, fault);
    if (keys.some((other) => other.key === entry.key)) {
      addProblem(path, "given the same key as another entry, expected a key of its own");
    }
    if (entry.scope !== undefined && Object.keys(entry.scope).length === 0) {
      addProblem(
        ["deployment", "admin", "admin_key", i, "scope"],
        "given no limit, expected one (or no scope)",
      );
    }
    const { resources, labels, hosts, uri_prefixes } = entry.scope ?? {};
    const scope = {
      resources: resources ?? null,
      labels: labels ?? null,
      hosts: hosts ?? null,
      uriPrefixes: uri_prefixes ?? null,
    };
    const { name, key, role } = entry;
    keys.push({ name, key, role, scope: entry.scope === undefined ? null : scope });
  });
  if (keys.some(({ key }) => WELL_KNOWN_KEYS.has(key))) {
    addWarning(
      "an admin key is the one that APISIX's documentation prints: everybody on this machine knows it",
    );
  }
  if (keys.some((entry) => entry.key.length < LEAST_KEY_LENGTH)) {
    addWarning(`an admin key has fewer than ${LEAST_KEY_LENGTH} characters and can be guessed`);
  }
  return keys;
}

function buckets({ filled, addProblem }: ResolveInput): number[] {
  const given = filled.plugin_attr.prometheus?.default_buckets;
  if (given === undefined) return DEFAULT_BUCKETS_MS;
  if (given.some((bound, i) => i > 0 && bound <= given[i - 1])) {
    addProblem(
      ["plugin_attr", "prometheus", "default_buckets"],
      "expected each bound to be greater than the one before",
    );
  }
  return given;
}

function accessLog({ given }: ResolveInput): AccessLogConfig {
  const own = given.cardea?.access_log ?? {};
  const nginx = given.nginx_config?.http ?? {};
  const path = own.access_log ?? nginx.access_log ?? "logs/access.log";
  const enabled = own.enable_access_log ?? nginx.enable_access_log ?? true;
  return {
    path: enabled && path !== "off" ? path : null,
    format: (own.access_log_format ?? nginx.access_log_format ?? DEFAULT_ACCESS_LOG_FORMAT).replace(
      /\n+$/,
      "",
    ),
    escape: own.access_log_format_escape ?? nginx.access_log_format_escape ?? "default",
    bufferBytes: own.access_log_buffer ?? nginx.access_log_buffer ?? 16_384,
  };
}

function supervision({ filled, given, addProblem }: ResolveInput, workers: number): SupervisionConfig {
  const section = filled.cardea.supervision;
  if (section.stale_after < 2 * section.heartbeat) {
    addProblem(
      ["cardea", "supervision", "stale_after"],
      `given ${section.stale_after} ms, expected at least twice the heartbeat (${section.heartbeat} ms)`,
    );
  }
  return {
    heartbeatMs: section.heartbeat,
    staleAfterMs: section.stale_after,
    drainTimeoutMs:
      given.cardea?.supervision?.drain_timeout ??
      given.nginx_config?.worker_shutdown_timeout ??
      section.drain_timeout,
    workerHeapMb:
      section.worker_heap === 0 ? automaticHeapMb(workers) : Math.ceil(section.worker_heap / MEBIBYTE),
  };
}

/** Half of the memory (of the container, if it is bounded) shared by the workers. */
function automaticHeapMb(workers: number): number {
  const constrained = process.constrainedMemory();
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.min(2048, Math.max(256, Math.floor(memory / 2 / workers / MEBIBYTE)));
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
