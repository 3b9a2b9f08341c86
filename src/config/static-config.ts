/**
 * The static configuration of a node as code sees it: complete, checked, every default filled in.
 *
 * `load.ts` makes it from the file (APISIX's `config.yaml` keys, own options under `cardea:`); it is plain
 * data and is handed to every thread. Times are milliseconds here, whatever the file says.
 */

import type { PublishedUpstream } from "../model/published.ts";
import type { ResourceName } from "../model/resource-names.ts";
import type { DiscoveryConfig } from "./discovery.ts";

export interface StaticConfig {
  /** Name of the tenant that this is the configuration of; null: of the node itself. */
  tenant: string | null;
  /** Nodes within the node, each with all that is its own; empty within a tenant. */
  tenants: StaticConfig[];
  /** Workers over all groups; one per core unless the file says otherwise. */
  workers: number;
  groups: WorkerGroup[];
  listeners: ListenerConfig[];
  http: HttpConfig;
  stream: StreamConfig;
  tls: TlsConfig;
  upstream: UpstreamDefaults;
  /** Whether `checks` of upstreams have an effect. */
  healthChecks: boolean;
  /** Takes requests that no route knows; null: they get 404. */
  fallback: PublishedUpstream | null;
  router: RouterConfig;
  resolver: ResolverConfig;
  discovery: DiscoveryConfig;
  admin: AdminConfig;
  store: StoreConfig;
  survival: SurvivalConfig;
  encryption: EncryptionConfig;
  plugins: PluginsConfig;
  accessLog: AccessLogConfig;
  metrics: MetricsConfig;
  memory: SharedMemoryConfig;
  supervision: SupervisionConfig;
  log: { level: "debug" | "info" | "warn" | "error" };
  /** CIDRs whose X-Forwarded-* headers are believed. */
  trustedAddresses: string[];
  /** Names under which APIs without a key may be asked, beside addresses and localhost. */
  privateHosts: string[];
  /** In which this node is, as upstreams call it; null: it is in none. */
  zone: string | null;
}

/** Workers that share listeners; a tenant with its own listeners may have its own group. */
export interface WorkerGroup {
  name: string;
  workers: number;
}

export interface ListenerConfig {
  purpose: "http" | "https" | "stream-tcp" | "stream-udp" | "admin" | "control" | "metrics" | "status";
  address: string;
  port: number;
  /** PROXY protocol v1/v2 is required on every connection. */
  proxyProtocol: boolean;
  /** Of stream listeners alone. */
  stream?: StreamListenerConfig;
  /** Group whose workers serve it; control serves admin, control, metrics and status. */
  group: string;
}

export interface StreamListenerConfig {
  /** TLS ends here. */
  tls: boolean;
  /** Connections to nodes begin with a PROXY header (version 1). */
  proxyProtocolToUpstream: boolean;
}

/** Connections of stream routes. */
export interface StreamConfig {
  /** CIDRs of peers whose PROXY headers say who the client is. */
  realIpFrom: string[];
  /** Clients of all UDP ports together; each has a socket of its own. */
  maxUdpSessions: number;
  accessLog: AccessLogConfig;
}

export interface HttpConfig {
  /** Null: clients speak HTTP/1.1 only. */
  http2: Http2Config | null;
  maxHeaderBytes: number;
  maxHeaders: number;
  maxTargetBytes: number;
  /** 0: unlimited. */
  maxBodyBytes: number;
  headerTimeoutMs: number;
  /** Between two reads of a request body. */
  bodyTimeoutMs: number;
  /** Mean rate below which a request body is cut off after `bodyTimeoutMs`. */
  minBodyBytesPerSecond: number;
  idleTimeoutMs: number;
  /** Between two successful writes to a client that reads slowly. */
  sendTimeoutMs: number;
  maxRequestsPerConnection: number;
  maxConnectionsPerWorker: number;
  /** Upgraded connections without a byte in either direction. */
  tunnelIdleTimeoutMs: number;
  underscoresInHeaders: "drop-colliding" | "reject" | "drop" | "keep";
  /** Permit `#` and backslash in the target. */
  relaxedTarget: boolean;
  /** Refuse GET, HEAD and DELETE with a body. */
  refuseUnusualBodies: boolean;
  serverTokens: boolean;
  showUpstreamStatus: boolean;
  /** Request body that is held in one piece, whatever a plugin asks for. */
  maxBufferedBodyBytes: number;
  /** Body that is read for `post_arg` and `graphql` variables; a longer one has none. At most `maxBufferedBodyBytes`. */
  maxBodyVariableBytes: number;
  /** GraphQL document that is parsed; a longer one has no variables. */
  maxGraphqlBytes: number;
  /** 503 with Retry-After while the event loop of a worker is later than this; 0: never. */
  shedEventLoopDelayMs: number;
  /** The same for the share of the heap limit in use; 0: never. */
  shedHeapShare: number;
}

/** HTTP/2 for clients. */
export interface Http2Config {
  /** Requests at the same time on one connection. */
  maxConcurrentStreams: number;
}

export type TlsVersion = "TLSv1.1" | "TLSv1.2" | "TLSv1.3";

/** TLS for clients; certificates are resources. */
export interface TlsConfig {
  /** At least one, the oldest first. */
  versions: TlsVersion[];
  /** OpenSSL's notation, those of TLS 1.3 included. */
  ciphers: string;
  sessionTickets: boolean;
  /** Server name of clients that send none; lower case. Null: there is none. */
  fallbackServerName: string | null;
  /** Who signs the certificates of upstreams: "system", and paths of PEM files. At least one. */
  upstreamAuthorities: string[];
}

export interface UpstreamDefaults {
  connectTimeoutMs: number;
  sendTimeoutMs: number;
  readTimeoutMs: number;
  keepalive: { size: number; idleTimeoutMs: number; requests: number };
  maxHeaderBytes: number;
  maxConnectionsPerNode: number;
}

export interface RouterConfig {
  http: "radixtree_host_uri" | "radixtree_uri" | "radixtree_uri_with_parameter";
  deleteTailSlash: boolean;
  normalizeLikeServlet: boolean;
  matchEncodedSlash: boolean;
}

export interface ResolverConfig {
  /** "ip" or "ip:port"; empty: those of resolv.conf. */
  servers: string[];
  /** Overrides the TTL of answers; null: as answered, within bounds. */
  validMs: number | null;
  timeoutMs: number;
  ipv6: boolean;
}

export interface AdminConfig {
  enabled: boolean;
  keyRequired: boolean;
  /** Empty: a key is made at the first start and kept in the data folder. */
  keys: AdminKey[];
  /** CIDRs. */
  allow: string[];
  cors: boolean;
  /** Value of `Server`, which clients of APISIX read; null: no such header. */
  serverHeader: string | null;
  maxBodyBytes: number;
  /** Whether there are stream routes: else their path says that stream mode is disabled. */
  streamRoutes?: boolean;
}

export interface AdminKey {
  name: string;
  key: string;
  role: "admin" | "viewer";
  /** Null or absent: everything. */
  scope?: AdminKeyScope | null;
}

/** Limits of an admin key; null: no limit of that sort. */
export interface AdminKeyScope {
  resources: ResourceName[] | null;
  labels: Record<string, string> | null;
  /** "a.com", or "*.a.com" for those below it. */
  hosts: string[] | null;
  uriPrefixes: string[] | null;
}

/** Whether the node and its tenants share one connection to the store. */
export function sharesStore({ store, tenant, tenants }: StaticConfig): boolean {
  return store.type === "etcd" && (tenant !== null || tenants.length > 0);
}

export type StoreConfig = EmbeddedStoreConfig | EtcdStoreConfig | FileStoreConfig | ApiStoreConfig;

export interface EmbeddedStoreConfig {
  type: "embedded";
  /** History: whatever is reached first. */
  historyRevisions: number;
  historyDays: number;
  /** Of the values of past versions together. */
  historyBytes: number;
}

/** An etcd v3, laid out as APISIX does. */
export interface EtcdStoreConfig {
  type: "etcd";
  /** "http://host:port", or "https://..." all of them. */
  endpoints: string[];
  /** Begins with a slash and ends without. */
  prefix: string;
  timeoutMs: number;
  /** An endpoint that failed is asked last for so long. */
  avoidFailedMs: number;
  /** Between two attempts while no endpoint answers. */
  longestPauseMs: number;
  user: { name: string; password: string } | null;
  /** Null: in the clear. */
  tls: EtcdTlsConfig | null;
  historyRevisions: number;
  historyDays: number;
}

export interface EtcdTlsConfig {
  /** Null: the authorities that Node.js knows. */
  caFile: string | null;
  certificateFile: string | null;
  keyFile: string | null;
  serverName: string | null;
  isVerified: boolean;
}

/** The resources stand in one file, which is only read. */
export interface FileStoreConfig {
  type: "file";
  format: "yaml" | "json";
  file: string;
}

/** The resources are one document, put as a whole through the Admin API and kept in the data folder. */
export interface ApiStoreConfig {
  type: "api";
}

/** What a node does while its store does not answer. */
export interface SurvivalConfig {
  /** Whether the last good configuration is kept in the data folder, to start from. */
  hasSnapshot: boolean;
  /** Least time between two writes of it. */
  snapshotIntervalMs: number;
  /** A node whose configuration was not confirmed for longer is not ready; 0: age does not matter. */
  maxAgeMs: number;
}

export interface EncryptionConfig {
  /** Whether fields of plugins are encrypted at rest; private keys always are. */
  enabled: boolean;
  /** Keys of 16 or 32 bytes; the first encrypts. Empty: an own one in the data folder. */
  keyring: string[];
}

export interface PluginsConfig {
  /** Names that may be used; null: all that are built in. */
  enabled: string[] | null;
  attributes: Record<string, Record<string, unknown>>;
}

export interface AccessLogConfig {
  /** Null: off. Relative paths are below the data folder; "-" is the standard output. */
  path: string | null;
  format: string;
  escape: "default" | "json";
  bufferBytes: number;
}

export interface MetricsConfig {
  enabled: boolean;
  uri: string;
  prefix: string;
  maxSeriesPerWorker: number;
}

export interface SharedMemoryConfig {
  limitCounters: number;
  dictionaryBytes: number;
  metricBytesPerWorker: number;
}

export interface SupervisionConfig {
  heartbeatMs: number;
  /** A worker whose heartbeat is older is terminated and replaced. */
  staleAfterMs: number;
  drainTimeoutMs: number;
  workerHeapMb: number;
}
