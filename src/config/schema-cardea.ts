/**
 * Cardea's own options (`cardea:` in the static file) with their defaults, and the access log's, which APISIX
 * keeps under `nginx_config.http`.
 */

import { Type } from "../lib/schema.ts";
import { discoveryOptions } from "./discovery.ts";
import { address, choice, duration, port, section, size } from "./kinds.ts";
import { tenantSchema } from "./tenants.ts";

const DAY_MS = 86_400_000;
const GIBIBYTE = 1024 ** 3;

/** Fields, their order and their quotes are those of APISIX. */
export const DEFAULT_ACCESS_LOG_FORMAT =
  '$remote_addr - $remote_user [$time_local] $http_host "$request" $status $body_bytes_sent $request_time ' +
  '"$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time ' +
  '"$upstream_scheme://$upstream_host$upstream_uri" "$apisix_request_id"';

export const AccessLogKeys = {
  enable_access_log: Type.Optional(
    Type.Boolean({ description: "Whether requests are logged. Default: true" }),
  ),
  access_log: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 4096,
      description: "File, relative to the data folder; `-` is the standard output. Default: logs/access.log",
    }),
  ),
  access_log_format: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 65_536,
      description: "Text with `$variables`. Default: APISIX's format",
    }),
  ),
  access_log_format_escape: Type.Optional(
    choice(["default", "json"], { description: "How values are escaped. Default: default" }),
  ),
  access_log_buffer: Type.Optional(
    size({
      minimum: 0,
      maximum: GIBIBYTE,
      description: "Bytes that a worker collects before it writes. Default: 16k",
    }),
  ),
};

const Workers = Type.Union([choice(["auto"]), Type.Integer({ minimum: 1, maximum: 256 })], {
  expects: "auto or a number of workers (1..256)",
  description: "Workers of the default group. Default: `nginx_config.worker_processes`, else one per core.",
});

const GroupListen = Type.Object(
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

const Group = Type.Object(
  {
    name: Type.String({
      pattern: "^(?!default$)[a-z0-9][a-z0-9-]{0,62}$",
      expects: "a name (a-z, 0-9, -) other than default",
    }),
    workers: Type.Integer({ minimum: 1, maximum: 256, description: "Its own workers." }),
    listen: Type.Array(GroupListen, {
      minItems: 1,
      maxItems: 256,
      description: "Its own ports for HTTP traffic.",
    }),
  },
  { additionalProperties: false, expects: "{ name, workers, listen }" },
);

const http = section(
  {
    max_header_size: size({
      default: "32k",
      minimum: 1024,
      maximum: 1024 ** 2,
      description: "All header fields of a request together; beyond it 431.",
    }),
    max_headers: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: "Header fields of a request; beyond it 431.",
    }),
    max_target_size: size({
      default: "8k",
      minimum: 64,
      maximum: 1024 ** 2,
      description: "Request target; beyond it 414.",
    }),
    max_body_size: size({ default: 0, description: "Request body; beyond it 413. 0: unlimited." }),
    header_timeout: duration({
      default: "10s",
      minimum: 1,
      maximum: DAY_MS,
      description: "From the first byte of a request to the end of its header.",
    }),
    body_timeout: duration({
      default: "60s",
      minimum: 1,
      maximum: DAY_MS,
      description: "Between two reads of a request body.",
    }),
    min_body_rate: size({
      default: 500,
      maximum: GIBIBYTE,
      description:
        "Bytes per second that a request body must reach on average once `body_timeout` is over. 0: no such limit.",
    }),
    idle_timeout: duration({
      default: "60s",
      maximum: DAY_MS,
      description: "Kept-alive connection without a request.",
    }),
    send_timeout: duration({
      default: "10s",
      minimum: 1,
      maximum: DAY_MS,
      description: "Between two successful writes to a client that reads slowly.",
    }),
    max_requests_per_connection: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000_000,
      description: "Requests on one connection before it is closed.",
    }),
    http2_max_concurrent_streams: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: "Requests at the same time on one HTTP/2 connection.",
    }),
    max_connections_per_worker: Type.Integer({
      default: 10_620,
      minimum: 1,
      maximum: 10_000_000,
      description: "Client connections of one worker.",
    }),
    tunnel_idle_timeout: duration({
      default: "60s",
      minimum: 1,
      maximum: DAY_MS,
      description: "Upgraded connection (WebSocket) without a byte in either direction.",
    }),
    underscores_in_headers: choice(["drop-colliding", "reject", "drop", "keep"], {
      default: "drop-colliding",
      description:
        "Header names with `_`: dropped when they collide with a name with `-`, refused with 400, always dropped, or always kept.",
    }),
    relaxed_target: Type.Boolean({
      default: false,
      description: "Permit `#` and backslash in the request target.",
    }),
    refuse_unusual_bodies: Type.Boolean({
      default: false,
      description: "Refuse GET, HEAD and DELETE with a body.",
    }),
    max_buffered_body_size: size({
      default: "64m",
      minimum: 1024,
      maximum: GIBIBYTE,
      description: "Body that a plugin may ask to have in one piece.",
    }),
    shed_event_loop_delay: duration({
      default: "500ms",
      maximum: DAY_MS,
      description: "A worker whose event loop is later than this answers 503 with Retry-After. 0: never.",
    }),
    shed_heap_share: Type.Number({
      default: 0.9,
      minimum: 0,
      maximum: 1,
      description: "The same for the share of its heap in use. 0: never.",
    }),
  },
  {
    description:
      "Limits and timeouts towards clients. A key of `nginx_config.http` with the same meaning counts when this one is absent.",
  },
);

const upstream = section(
  {
    connect_timeout: duration({
      default: "60s",
      minimum: 1,
      maximum: DAY_MS,
      description: "Until a connection stands.",
    }),
    send_timeout: duration({
      default: "60s",
      minimum: 1,
      maximum: DAY_MS,
      description: "Between two successful writes.",
    }),
    read_timeout: duration({
      default: "60s",
      minimum: 1,
      maximum: DAY_MS,
      description: "Between two reads.",
    }),
    keepalive: Type.Integer({
      default: 320,
      minimum: 1,
      maximum: 1_000_000,
      description: "Idle connections that a worker keeps per node.",
    }),
    keepalive_timeout: duration({
      default: "60s",
      maximum: DAY_MS,
      description: "How long an idle connection is kept.",
    }),
    keepalive_requests: Type.Integer({
      default: 1000,
      minimum: 1,
      maximum: 1_000_000_000,
      description: "Requests on one connection.",
    }),
    max_header_size: size({
      default: "64k",
      minimum: 1024,
      maximum: 16 * 1024 ** 2,
      description: "All header fields of an answer together; beyond it 502.",
    }),
    max_connections_per_node: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: "Connections of one worker to one node; beyond it 503.",
    }),
  },
  { description: "Towards upstreams, where the upstream itself says nothing." },
);

const Fallback = Type.Object(
  {
    nodes: Type.Array(
      Type.String({
        pattern: "^(?:[0-9a-zA-Z._-]{1,253}|\\[[0-9a-fA-F:.]{2,45}\\]):[0-9]{1,5}$",
        expects: "a host and a port, such as 10.0.0.1:80",
        description: "A server: name or address, and port.",
      }),
      { minItems: 1, maxItems: 100, description: "Its servers, in turn." },
    ),
    scheme: choice(["http", "https"], { default: "http", description: "What they speak." }),
    pass_host: choice(["pass", "node", "rewrite"], {
      default: "pass",
      description: "The `Host` that they get: the client's, the node's, or `upstream_host`.",
    }),
    upstream_host: Type.Optional(
      Type.String({ minLength: 1, maxLength: 253, description: "`Host` for `pass_host: rewrite`." }),
    ),
  },
  {
    additionalProperties: false,
    description: "Where requests go that no route knows. Without it they get 404.",
    expects: "{ nodes, scheme, pass_host, upstream_host }",
  },
);

const memory = section(
  {
    limit_counters: Type.Integer({
      default: 262_144,
      minimum: 1024,
      maximum: 2 ** 24,
      description: "Counters of the limit plugins that live at one time.",
    }),
    dictionary_size: size({
      default: "16m",
      minimum: 65_536,
      maximum: 2 * GIBIBYTE,
      description: "Shared dictionary of plugins.",
    }),
    metrics_size_per_worker: size({
      default: "32m",
      minimum: 65_536,
      maximum: GIBIBYTE,
      description: "Metric series of one worker.",
    }),
  },
  { description: "Memory that all workers share. Pages are taken from the system when they are first used." },
);

const supervision = section({
  heartbeat: duration({
    default: "500ms",
    minimum: 50,
    maximum: 60_000,
    description: "How often each thread says that it lives.",
  }),
  stale_after: duration({
    default: "10s",
    minimum: 500,
    maximum: 3_600_000,
    description: "A thread that was silent for longer is replaced.",
  }),
  drain_timeout: duration({
    default: "30s",
    maximum: DAY_MS,
    description: "Longest time for exchanges to end at a stop or an upgrade.",
  }),
  worker_heap: size({
    default: 0,
    maximum: 64 * GIBIBYTE,
    description: "Heap limit of a worker. 0: half of the memory shared by the workers, from 256m to 2g each.",
  }),
});

const stream = section(
  {
    max_udp_sessions: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: "Clients of all UDP ports together; each has an open socket.",
    }),
  },
  { description: "Stream routes." },
);

export const cardeaSection = section(
  {
    workers: Type.Optional(Workers),
    groups: Type.Array(Group, {
      default: [],
      maxItems: 64,
      description:
        "More groups of workers with listeners of their own, so that a tenant's load stays with its workers.",
    }),
    tenants: Type.Array(tenantSchema(GroupListen), {
      default: [],
      maxItems: 64,
      description: "Nodes within the node, each with resources of its own: see docs/tenants.md.",
    }),
    http,
    stream,
    upstream,
    fallback: Type.Optional(Fallback),
    discovery: discoveryOptions,
    memory,
    supervision,
    store: section({
      history_revisions: Type.Integer({
        default: 10_000,
        minimum: 0,
        maximum: 100_000_000,
        description: "Revisions that the embedded store keeps.",
      }),
      history_days: Type.Number({
        default: 30,
        minimum: 0,
        maximum: 36_500,
        description: "Days that it keeps them; whatever is reached first.",
      }),
      history_size: size({
        default: 268_435_456,
        minimum: 1_048_576,
        maximum: 1024 * GIBIBYTE,
        description: "Bytes of past versions that the embedded store keeps; the oldest go first.",
      }),
      file: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 4096,
          description: "File with the resources of a data_plane, instead of apisix.yaml or apisix.json.",
        }),
      ),
      snapshot: Type.Optional(
        Type.Boolean({
          description:
            "Whether the last good configuration is kept in the data folder, to start from when the store does not " +
            "answer. Default: true where the store is elsewhere, false for a file; the embedded store needs none.",
        }),
      ),
      snapshot_interval: duration({
        default: "10s",
        minimum: 100,
        maximum: DAY_MS,
        description: "Least time between two writes of the snapshot.",
      }),
      max_age: duration({
        default: 0,
        maximum: 365 * DAY_MS,
        description:
          "A node whose configuration was not confirmed by the store for longer is not ready. 0: age does not matter.",
      }),
    }),
    admin: section({
      server_header: Type.String({
        default: "APISIX/3.18.0",
        maxLength: 100,
        description:
          "`Server` header of the Admin API; clients of APISIX choose features by it. Empty: none.",
      }),
      max_body_size: size({
        default: "1536k",
        minimum: 1024,
        maximum: GIBIBYTE,
        description: "Request body of the Admin API.",
      }),
    }),
    metrics: section({
      max_series_per_worker: Type.Integer({
        default: 50_000,
        minimum: 100,
        maximum: 10_000_000,
        description: "Series of one worker; more are counted in an overflow series.",
      }),
    }),
    log: section({
      level: Type.Optional(
        choice(["debug", "info", "warn", "error"], {
          description: "Of the node's own log. Default: `nginx_config.error_log_level`, else info",
        }),
      ),
    }),
    zone: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        pattern: "^[^\\s$]+$",
        description: "Zone in which this node is: `local` in `zones` of upstreams (docs/zones.md)",
      }),
    ),
    private_hosts: Type.Array(
      Type.String({
        pattern: "^(?:\\*|(?:\\*\\.)?[0-9a-zA-Z_.-]{1,253})$",
        expects: "a host name, *.name or *",
      }),
      {
        default: [],
        maxItems: 256,
        description:
          "Host names (`a.com`, `*.a.com`, or `*` for all) under which the Control API and the metrics page may be asked, beside addresses, `localhost` and the machine's name; others get 403.",
      },
    ),
    access_log: Type.Object(AccessLogKeys, {
      default: {},
      additionalProperties: false,
      description: "The same keys as in `nginx_config.http`, which count when these are absent.",
    }),
  },
  { description: "Cardea's own options." },
);
