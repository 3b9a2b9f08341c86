/**
 * Resources in the form in which control publishes them to workers: validated, defaults filled in, one
 * spelling for everything that clients may spell in several ways. Each resource type makes its own (`normalize`).
 *
 * Keys stay snake_case where a field is the user's own; nothing here is ever shown to a user.
 */

import type { Expression } from "../lib/expression.ts";
import type { ZoneSettings } from "./upstream-zones.ts";
import type { BudgetSettings, LimitSettings, OutlierSettings } from "./upstream-protection.ts";

export type PluginConfigs = Record<string, Record<string, unknown>>;

export interface PublishedRoute {
  id: string;
  name?: string;
  labels?: Record<string, string>;
  /** At least one; `uri` and `uris` both end here. */
  uris: string[];
  /** Lower case; absent: the service's hosts apply. */
  hosts?: string[];
  methods?: string[];
  remote_addrs?: string[];
  priority: number;
  /** Order of creation (revision of the store): of two equal routes the older one is tried first. */
  created: number;
  vars?: Expression;
  /** False: stored, but not routed. */
  enabled: boolean;
  plugins?: PluginConfigs;
  plugin_config_id?: string;
  upstream?: PublishedUpstream;
  upstream_id?: string;
  service_id?: string;
  timeout?: PublishedTimeout;
  /** Absent: the service's value applies. */
  enable_websocket?: boolean;
  /** Absent: the service's holds. */
  websocket?: PublishedWebSocket;
}

/** Of upgraded connections. */
export interface PublishedWebSocket {
  /** When their route changes or goes. */
  on_change: "keep" | "drain" | "close";
  /** Seconds. */
  drain_time: number;
  /** Seconds without a byte in either direction; absent: as the static file says. */
  idle_timeout?: number;
}

/** A route of connections. */
export interface PublishedStreamRoute {
  id: string;
  name?: string;
  labels?: Record<string, string>;
  /** Order of creation: of two that match the older one is used. */
  created: number;
  /** Address or CIDR. */
  remote_addr?: string;
  server_addr?: string;
  server_port?: number;
  /** Lower case: "a.com", or "*.a.com" for all those below it. Only for connections whose TLS ends here. */
  sni?: string;
  plugins?: PluginConfigs;
  upstream?: PublishedUpstream;
  upstream_id?: string;
  service_id?: string;
  /** Name of a protocol that would be spoken; absent: bytes. */
  protocol?: string;
  /** Of the route that this one belongs to; it takes no connections by itself. */
  superior_id?: string;
}

export interface PublishedService {
  id: string;
  name?: string;
  labels?: Record<string, string>;
  hosts?: string[];
  plugins?: PluginConfigs;
  upstream?: PublishedUpstream;
  upstream_id?: string;
  enable_websocket?: boolean;
  websocket?: PublishedWebSocket;
}

export interface PublishedUpstream {
  id?: string;
  name?: string;
  /** Of upstreams with a `service_name`: what is known of the service, filled in before workers get it. */
  nodes: PublishedNode[];
  service_name?: string;
  discovery_type?: string;
  discovery_args?: { namespace_id?: string; group_name?: string };
  type: "roundrobin" | "chash" | "least_conn" | "ewma";
  hash_on: "vars" | "header" | "cookie" | "consumer" | "vars_combinations";
  key?: string;
  /** Absent: number of nodes - 1. */
  retries?: number;
  /** Seconds; 0: unlimited. */
  retry_timeout?: number;
  timeout?: PublishedTimeout;
  scheme: "http" | "https" | "grpc" | "grpcs" | "h2" | "h2c" | "tcp" | "udp" | "tls" | "kafka";
  pass_host: "pass" | "node" | "rewrite";
  upstream_host?: string;
  keepalive_pool?: { size: number; idle_timeout: number; requests: number };
  /** Absent: nothing is checked. `health-checks.ts` fills it in. */
  checks?: Record<string, unknown>;
  /** Store key of the resource that it stands in ("/routes/1"), where it is watched and has no id of its own. */
  health_key?: string;
  outlier?: OutlierSettings;
  retry_budget?: BudgetSettings;
  limits?: LimitSettings;
  zones?: ZoneSettings;
  tls?: Record<string, unknown>;
}

export interface PublishedNode {
  /** Address or name; IPv6 without brackets. */
  host: string;
  port: number;
  weight: number;
  priority: number;
  metadata?: Record<string, unknown>;
}

/** Seconds, as users write them. */
export interface PublishedTimeout {
  connect: number;
  send: number;
  read: number;
}

export interface PublishedConsumer {
  username: string;
  group_id?: string;
  labels?: Record<string, string>;
  /** Authentication configurations and ordinary plugins alike. */
  plugins?: PluginConfigs;
  /** Credentials of the consumer, each with one authentication plugin. */
  credentials?: { id: string; plugins: PluginConfigs; labels?: Record<string, string> }[];
}

export interface PublishedGlobalRule {
  id: string;
  plugins: PluginConfigs;
}

/** Consumer groups and plugin configs. */
export interface PublishedPluginSet {
  id: string;
  name?: string;
  labels?: Record<string, string>;
  plugins: PluginConfigs;
}

/** Requests that are refused: those for which everything that it names holds. */
export interface PublishedBlock {
  id: string;
  route_id?: string;
  stream_route_id?: string;
  service_id?: string;
  consumer?: string;
  /** Addresses and CIDRs; absent: any. */
  addresses?: string[];
  status: number;
  body?: string;
  /** Seconds since 1970 from which on it holds no more. */
  expiry?: number;
  close_connections: boolean;
}

/** A node that every gateway on the same store has to leave. */
export interface PublishedDrain {
  id: string;
  upstream_id: string;
  host: string;
  port: number;
  /** Another one each time that the node is taken out: what acknowledgements name. */
  mark: string;
}

/** Certificates with their keys, plain: this form exists in the memory of the node only. */
export interface PublishedSsl {
  id: string;
  /** `client`: what the gateway shows to upstreams. */
  type: "server" | "client";
  /** Order of creation: of two for one name the older one is used. */
  created: number;
  /** False: as if it were not there. */
  enabled: boolean;
  /** Lower case, without a dot at the end: "a.com", "*.a.com", or "*". */
  names: string[];
  /** Listeners for whose clients without a server name it stands. */
  listen: { ip?: string; port: number }[];
  /** At least one; of different kinds of key. PEM, or references to secrets. */
  pairs: { cert: string; key: string }[];
  /** Client certificates are asked for. */
  client?: { ca: string; depth: number; skip_mtls_uri_regex?: string[] };
  /** Absent: those of the static file. */
  versions?: ("TLSv1.1" | "TLSv1.2" | "TLSv1.3")[];
  /** For control: where the pair comes from instead of `pairs`. Workers get them there. */
  source?: { url: string; client_cert?: string; client_key?: string; ca?: string; refresh_s: number };
  /**
   * Of pairs that come from elsewhere: where from, as a digest, and whether there are none. A worker that has some from there
   * keeps them then.
   */
  supply?: { origin: string; isMissing: boolean };
  /** For control: OCSP answers are wanted. `cache_ttl` in seconds. Workers get `staples` instead. */
  ocsp?: { skip_verify: boolean; cache_ttl: number };
  /** One for each of the pairs; null: there is none now. */
  staples?: (Staple | null)[];
}

/** An OCSP answer that clients may be shown with the certificate. */
export interface Staple {
  /** DER in base64. */
  response: string;
  /** From then on it must not be shown. Milliseconds since 1970. */
  untilMs: number;
}

/** Descriptions of gRPC services. */
export interface PublishedProto {
  id: string;
  /** A `google.protobuf.FileDescriptorSet` in base64: complete, each file after those that it needs. */
  descriptors: string;
}

/** A host name as control resolved it. */
export interface PublishedAddress {
  host: string;
  addresses: string[];
}
