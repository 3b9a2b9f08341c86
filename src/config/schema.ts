/**
 * Every key of the static configuration: those of APISIX that have an effect, those that are known and have
 * none yet, and Cardea's own under `cardea`. One schema, from which the checks, the defaults, the types and
 * the reference page (scripts/docs-config.ts writes docs/configuration.md) are made.
 */

import { Type } from "../lib/schema.ts";
import type { Static, TSchema } from "@sinclair/typebox";
import { RESOURCE_NAMES } from "../model/resource-names.ts";
import { DiscoverySection } from "./discovery.ts";
import { etcdSection } from "./etcd.ts";
import { AccessLogKeys, cardeaSection } from "./schema-cardea.ts";
import {
  address,
  choice,
  cidr,
  duration,
  nameServer,
  port,
  section,
  size,
  tlsVersions,
  withoutEffect,
} from "./kinds.ts";
import { nginxStreamSection, streamProxySection } from "./schema-stream.ts";
import { DEFAULT_CIPHERS } from "./tls.ts";

const Http2OfListener = Type.Boolean({
  description:
    "Older form of `apisix.enable_http2`, which goes before it: the first listener that has it decides for all.",
});

const ListenEntry = Type.Object(
  {
    ip: Type.Optional(address({ description: "Default: 0.0.0.0" })),
    port: port(),
    enable_http2: Type.Optional(Http2OfListener),
  },
  { additionalProperties: false, expects: "{ ip, port }" },
);

const tlsSection = section(
  {
    enable: Type.Boolean({ default: true, description: "Whether there are TLS listeners." }),
    listen: Type.Array(
      Type.Object(
        {
          ip: Type.Optional(address({ description: "Default: 0.0.0.0" })),
          port: port({ default: 9443 }),
          enable_http2: Type.Optional(Http2OfListener),
          enable_http3: Type.Optional(withoutEffect("HTTP/3.")),
        },
        { additionalProperties: false, expects: "{ ip, port }" },
      ),
      {
        default: [{ port: 9443 }],
        minItems: 1,
        maxItems: 256,
        description: "Ports of the default group that take HTTPS traffic.",
      },
    ),
    ssl_protocols: tlsVersions({
      default: "TLSv1.2 TLSv1.3",
      description: "Versions of TLS that clients may speak; `ssl_protocols` of a certificate goes before it.",
    }),
    ssl_ciphers: Type.String({
      default: DEFAULT_CIPHERS,
      minLength: 1,
      maxLength: 4096,
      description:
        "Ciphers in OpenSSL's notation, the best first. Those of TLS 1.3 (`TLS_...`) need not be named.",
    }),
    ssl_session_tickets: Type.Boolean({
      default: false,
      description:
        "Whether clients may resume sessions by tickets. Nodes on one etcd share their key; else it is the node's, new at every start.",
    }),
    fallback_sni: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        description: "Server name of clients that send none.",
      }),
    ),
    ssl_trusted_certificate: Type.String({
      default: "system",
      pattern: "[^, ]",
      maxLength: 4096,
      expects: "system, or paths of PEM files, with commas between them",
      description:
        "Authorities that upstreams with `tls.verify` must be signed by: `system`, PEM files, or both, with commas between them.",
    }),
  },
  { description: "TLS for clients. Certificates are resources (`ssls`)." },
);

const EncryptionKey = Type.String({
  secret: true,
  pattern: "^[\\x20-\\x7e]{16}(?:[\\x20-\\x7e]{16})?$",
  expects: "a key of 16 or 32 printable characters",
});

const apisixSection = section(
  {
    node_listen: Type.Optional(
      Type.Union([port(), Type.Array(Type.Union([port(), ListenEntry]), { minItems: 1, maxItems: 256 })], {
        default: 9080,
        expects: "a port, or a list of ports and of { ip, port }",
        description: "Ports of the default group that take HTTP traffic.",
      }),
    ),
    enable_admin: Type.Boolean({ default: true, description: "Whether there is an Admin API." }),
    enable_control: Type.Boolean({ default: true, description: "Whether there is a Control API." }),
    control: section({
      ip: address({ default: "127.0.0.1", description: "Address of the Control API." }),
      port: port({ default: 9090, description: "Port of the Control API." }),
      router: Type.Optional(withoutEffect("Router of the Control API.")),
    }),
    status: section({
      ip: address({ default: "127.0.0.1", description: "Address of `/status` and `/status/ready`." }),
      port: port({ default: 7085, description: "Port of `/status` and `/status/ready`." }),
    }),
    proxy_protocol: Type.Optional(
      Type.Object(
        {
          listen_http_port: Type.Optional(
            port({ description: "A port on which every connection speaks the PROXY protocol." }),
          ),
          listen_https_port: Type.Optional(
            port({ description: "The same for TLS: the PROXY header comes before the handshake." }),
          ),
          enable_tcp_pp: Type.Optional(
            Type.Boolean({ description: "Whether TCP ports of `stream_proxy` require a PROXY header." }),
          ),
          enable_tcp_pp_to_upstream: Type.Optional(
            Type.Boolean({ description: "Whether upstreams of stream routes get a PROXY header." }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    show_upstream_status_in_response_header: Type.Boolean({
      default: false,
      description: "Whether `X-APISIX-Upstream-Status` is sent always, not for 5xx of the upstream only.",
    }),
    enable_server_tokens: Type.Boolean({
      default: true,
      description: "Whether the `Server` header names the version.",
    }),
    delete_uri_tail_slash: Type.Boolean({
      default: false,
      description: "Whether a slash at the end of the path is removed.",
    }),
    normalize_uri_like_servlet: Type.Boolean({
      default: false,
      description: "Whether path parameters (`;a=b`) are removed, as servlets do.",
    }),
    match_uri_encoded_slash: Type.Boolean({
      default: false,
      description: "Whether `%2F` stays encoded when routes are matched.",
    }),
    router: section({
      http: choice(["radixtree_host_uri", "radixtree_uri", "radixtree_uri_with_parameter"], {
        default: "radixtree_host_uri",
        description: "How routes are found.",
      }),
      ssl: choice(["radixtree_sni"], {
        default: "radixtree_sni",
        description: "How certificates are found.",
      }),
    }),
    proxy_mode: choice(["http", "stream", "http&stream"], {
      default: "http",
      description: "Traffic that is proxied: requests, connections of stream routes, or both.",
    }),
    trusted_addresses: Type.Array(cidr(), {
      default: [],
      maxItems: 1024,
      description: "Peers whose `X-Forwarded-*` headers are believed.",
    }),
    enable_ipv6: Type.Boolean({
      default: true,
      description: "Whether AAAA records of upstream hosts are used.",
    }),
    dns_resolver: Type.Array(nameServer(), {
      default: [],
      maxItems: 16,
      description: "Name servers. Default: those of resolv.conf.",
    }),
    dns_resolver_valid: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 86_400,
        description: "Seconds for which an answer holds, instead of its TTL.",
      }),
    ),
    resolver_timeout: Type.Number({
      default: 5,
      minimum: 0.1,
      maximum: 60,
      description: "Seconds to wait for a name server.",
    }),
    max_post_args_readable_size: Type.Integer({
      default: 64,
      minimum: 0,
      maximum: 1024,
      description:
        "MiB of a request body that is read for conditions on `post_arg` and `graphql` variables; a longer body has none. 0: as `cardea.http.max_buffered_body_size`, which holds in any case.",
    }),
    enable_dev_mode: Type.Boolean({ default: false, description: "One worker, whatever else is said." }),

    enable_reuseport: Type.Optional(withoutEffect("Listening sockets are always per worker.")),
    enable_http2: Type.Optional(
      Type.Boolean({
        description:
          "HTTP/2 for clients, on all ports for traffic: by ALPN with TLS, by prior knowledge without. Default: true",
      }),
    ),
    extra_lua_path: Type.Optional(withoutEffect("Lua modules.")),
    extra_lua_cpath: Type.Optional(withoutEffect("Lua modules.")),
    lua_module_hook: Type.Optional(withoutEffect("Lua modules.")),
    proxy_cache: Type.Optional(withoutEffect("Zones of proxy-cache.")),
    stream_proxy: Type.Optional(streamProxySection),
    enable_resolv_search_opt: Type.Optional(withoutEffect("Search domains of resolv.conf.")),
    ssl: tlsSection,
    disable_sync_configuration_during_start: Type.Optional(withoutEffect("Start-up of APISIX's workers.")),
    worker_startup_time_threshold: Type.Optional(withoutEffect("Start-up of APISIX's workers.")),
    admin_api_version: Type.Optional(withoutEffect("Older place of `deployment.admin.admin_api_version`.")),
    data_encryption: section(
      {
        enable_encrypt_fields: Type.Boolean({
          default: true,
          description: "Whether secret fields of plugins are encrypted at rest; private keys always are.",
        }),
        keyring: Type.Union([EncryptionKey, Type.Array(EncryptionKey, { maxItems: 100 })], {
          default: [],
          description:
            "Keys; the first encrypts, all are tried to decrypt. Without one, a random key is made at the first " +
            "start and kept in the file `keyring` of the data folder. The keys that APISIX's documentation prints " +
            "are used to decrypt only.",
        }),
      },
      { description: "Encryption of the configuration at rest, as APISIX does it." },
    ),
    disable_upstream_healthcheck: Type.Boolean({
      default: false,
      description: "Whether `checks` of upstreams have no effect.",
    }),
    lru: Type.Optional(withoutEffect("Caches for secrets.")),
    tracing: Type.Optional(withoutEffect("Spans per phase.")),
  },
  { description: "APISIX's own section." },
);

const NGINX_KEYS = [
  "user",
  "error_log",
  "enable_cpu_affinity",
  "worker_rlimit_nofile",
  "max_pending_timers",
  "max_running_timers",
  "envs",
  "meta",
  "main_configuration_snippet",
  "http_configuration_snippet",
  "http_server_configuration_snippet",
  "http_server_location_configuration_snippet",
  "http_admin_configuration_snippet",
  "http_end_configuration_snippet",
  "stream_configuration_snippet",
];
const NGINX_HTTP_KEYS = [
  "real_ip_header",
  "real_ip_recursive",
  "real_ip_from",
  "proxy_ssl_server_name",
  "charset",
  "variables_hash_max_size",
  "lua_shared_dict",
  "custom_lua_shared_dict",
];

function ignoredKeys(keys: readonly string[]): Record<string, TSchema> {
  return Object.fromEntries(keys.map((key) => [key, Type.Optional(withoutEffect("Of nginx."))]));
}

const nginxSection = Type.Object(
  {
    error_log_level: Type.Optional(
      choice(["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"], {
        description: "Level of the node's own log. Default: info",
      }),
    ),
    worker_processes: Type.Optional(
      Type.Union([choice(["auto"]), Type.Integer({ minimum: 1, maximum: 256 })], {
        expects: "auto or a number of workers (1..256)",
        description: "Workers of the default group. Default: one per core.",
      }),
    ),
    worker_shutdown_timeout: Type.Optional(
      duration({
        maximum: 86_400_000,
        description: "Longest time to drain. Default: `cardea.supervision.drain_timeout`",
      }),
    ),
    event: Type.Optional(
      Type.Object(
        {
          worker_connections: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 10_000_000,
              description: "Client connections per worker. Default: `cardea.http.max_connections_per_worker`",
            }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    http: Type.Optional(
      Type.Object(
        {
          ...AccessLogKeys,
          client_header_timeout: Type.Optional(
            duration({
              minimum: 1,
              maximum: 86_400_000,
              description: "Default: `cardea.http.header_timeout`",
            }),
          ),
          client_body_timeout: Type.Optional(
            duration({ minimum: 1, maximum: 86_400_000, description: "Default: `cardea.http.body_timeout`" }),
          ),
          keepalive_timeout: Type.Optional(
            duration({ maximum: 86_400_000, description: "Default: `cardea.http.idle_timeout`" }),
          ),
          send_timeout: Type.Optional(
            duration({ minimum: 1, maximum: 86_400_000, description: "Default: `cardea.http.send_timeout`" }),
          ),
          client_max_body_size: Type.Optional(
            size({ description: "0: unlimited. Default: `cardea.http.max_body_size`" }),
          ),
          underscores_in_headers: Type.Optional(
            Type.Union([Type.Boolean(), choice(["on", "off"])], {
              expects: "on or off",
              description: "on: kept; off: dropped. Default: `cardea.http.underscores_in_headers`",
            }),
          ),
          ...ignoredKeys(NGINX_HTTP_KEYS),
          upstream: Type.Optional(
            Type.Object(
              {
                keepalive: Type.Optional(
                  Type.Integer({
                    minimum: 1,
                    maximum: 1_000_000,
                    description: "Default: `cardea.upstream.keepalive`",
                  }),
                ),
                keepalive_requests: Type.Optional(
                  Type.Integer({
                    minimum: 1,
                    maximum: 1_000_000_000,
                    description: "Default: `cardea.upstream.keepalive_requests`",
                  }),
                ),
                keepalive_timeout: Type.Optional(
                  duration({
                    maximum: 86_400_000,
                    description: "Default: `cardea.upstream.keepalive_timeout`",
                  }),
                ),
              },
              { additionalProperties: false },
            ),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    stream: Type.Optional(nginxStreamSection),
    ...ignoredKeys(NGINX_KEYS),
  },
  { additionalProperties: false, description: "What nginx.conf is made of in APISIX." },
);

const KeyScopeSection = Type.Object(
  {
    resources: Type.Optional(
      Type.Array(choice(RESOURCE_NAMES), {
        minItems: 1,
        maxItems: 100,
        description: "Types of resources, as in paths: `routes`.",
      }),
    ),
    labels: Type.Optional(
      Type.Unsafe<Record<string, string>>({
        type: "object",
        additionalProperties: Type.String({ minLength: 1 }),
        description: "Labels that resources must have, with these values.",
      }),
    ),
    hosts: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        minItems: 1,
        maxItems: 1000,
        description: "Hosts; `*.example.com` stands for those below example.com.",
      }),
    ),
    uri_prefixes: Type.Optional(
      Type.Array(Type.String({ pattern: "^/", maxLength: 4096, expects: "a path that begins with /" }), {
        minItems: 1,
        maxItems: 1000,
        description: "Paths below which routes may be.",
      }),
    ),
  },
  { additionalProperties: false, expects: "{ resources, labels, hosts, uri_prefixes }" },
);

const AdminKeyEntry = Type.Object(
  {
    name: Type.String({
      default: "admin",
      minLength: 1,
      maxLength: 100,
      description: "Who writes; kept in the history.",
    }),
    key: Type.String({
      default: "",
      maxLength: 1024,
      secret: true,
      description: "Empty: see `deployment.admin.admin_key`.",
    }),
    role: choice(["admin", "viewer"], { default: "admin", description: "A viewer may read only." }),
    scope: Type.Optional(KeyScopeSection),
  },
  { additionalProperties: false, expects: "{ name, key, role, scope }" },
);

const deploymentSection = section(
  {
    role: choice(["traditional", "control_plane", "data_plane"], {
      default: "traditional",
      description:
        "What the node is. A control_plane has the Admin API and no traffic, a data_plane traffic and no Admin API.",
    }),
    role_traditional: section({
      config_provider: choice(["etcd", "yaml"], {
        default: "etcd",
        description:
          "etcd: in the one of `deployment.etcd`; without that section in the embedded store. yaml: the resources are one document " +
          "that is put through the Admin API (with `apisix.enable_admin: false`, apisix.yaml beside this file).",
      }),
    }),
    role_control_plane: section({
      config_provider: choice(["etcd"], { default: "etcd", description: "Where a control_plane writes." }),
    }),
    role_data_plane: section({
      config_provider: Type.Optional(
        choice(["etcd", "yaml", "json"], {
          description:
            "Where a data_plane has its resources: in an etcd, or in apisix.yaml or apisix.json beside this file.",
        }),
      ),
    }),
    admin: section({
      admin_key_required: Type.Boolean({
        default: true,
        description: "Whether the Admin API asks for a key.",
      }),
      admin_key: Type.Array(AdminKeyEntry, {
        default: [],
        maxItems: 1000,
        description:
          "Keys of the Admin API. Without one, a key is made at the first start and kept in the data folder. " +
          "The environment variable CARDEA_ADMIN_KEY replaces the keys with the role admin and without scope. " +
          "`scope` limits a key to `resources`, `labels`, `hosts` and `uri_prefixes`: see docs/admin-api.md.",
      }),
      allow_admin: Type.Array(cidr(), {
        default: ["127.0.0.0/24", "::1"],
        minItems: 1,
        maxItems: 1024,
        expects: "a list of IP addresses or CIDRs; to allow every address write 0.0.0.0/0 and ::/0",
        description: "Who may reach the Admin API.",
      }),
      admin_listen: section({
        ip: address({ default: "127.0.0.1", description: "Address of the Admin API." }),
        port: port({ default: 9180, description: "Port of the Admin API." }),
      }),
      enable_admin_cors: Type.Boolean({
        default: true,
        description: "Whether pages of other origins may use the Admin API.",
      }),
      admin_api_version: choice(["v3"], { default: "v3", description: "Version of the Admin API." }),
      https_admin: Type.Literal(false, {
        default: false,
        type: "boolean",
        enum: [false],
        expects: "false (TLS for the Admin API comes later; it is never served in the clear instead)",
        description: "TLS for the Admin API comes later.",
      }),
      admin_api_mtls: Type.Optional(withoutEffect("Client certificates for the Admin API.")),
      enable_admin_ui: Type.Optional(withoutEffect("The embedded dashboard.")),
    }),
    etcd: etcdSection,
    certs: Type.Optional(withoutEffect("Certificates for etcd.")),
  },
  { description: "Role of the node and its Admin API." },
);

const prometheusAttributes = Type.Object(
  {
    export_uri: Type.Optional(
      Type.String({
        pattern: "^/",
        expects: "a path",
        description: "Path of the metrics page. Default: /apisix/prometheus/metrics",
      }),
    ),
    metric_prefix: Type.Optional(
      Type.String({
        pattern: "^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        expects: "the beginning of a metric's name",
        description: "Default: apisix_",
      }),
    ),
    enable_export_server: Type.Optional(
      Type.Boolean({ description: "Whether the metrics page has its own listener. Default: true" }),
    ),
    export_addr: Type.Optional(
      Type.Object(
        {
          ip: Type.Optional(address({ description: "Default: 127.0.0.1" })),
          port: Type.Optional(port({ description: "Default: 9091" })),
        },
        { additionalProperties: false },
      ),
    ),
    default_buckets: Type.Optional(
      Type.Array(Type.Number({ minimum: 0 }), {
        minItems: 1,
        maxItems: 100,
        description: "Upper bounds of the latency histograms, milliseconds.",
      }),
    ),
  },
  { additionalProperties: true },
);

export const FileSchema = section({
  apisix: apisixSection,
  nginx_config: Type.Optional(nginxSection),
  deployment: deploymentSection,
  plugins: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 100 }), {
      maxItems: 1000,
      description:
        "The plugins that may be used; the list replaces the default, which is all that are built in.",
    }),
  ),
  plugin_attr: Type.Object(
    { prometheus: Type.Optional(prometheusAttributes) },
    {
      default: {},
      additionalProperties: Type.Unsafe<Record<string, unknown>>({
        type: "object",
        expects: "a map of attributes",
      }),
      description: "Attributes of plugins, by name.",
    },
  ),
  graphql: section({
    max_size: Type.Integer({
      default: 1024 ** 2,
      minimum: 1,
      maximum: 1024 ** 3,
      description: "Bytes of a GraphQL document that is parsed; a longer one has no `graphql` variables.",
    }),
  }),
  discovery: DiscoverySection,
  cardea: cardeaSection,

  stream_plugins: Type.Optional(withoutEffect("Plugins for streams.")),
  wasm: Type.Optional(withoutEffect("WebAssembly plugins.")),
  xrpc: Type.Optional(withoutEffect("Application protocols on streams.")),
  "ext-plugin": Type.Optional(withoutEffect("External plugin runners.")),
  etcd: Type.Optional(withoutEffect("Older place of `deployment.etcd`.")),
  http: Type.Optional(withoutEffect("Lua shared dictionaries.")),
});

/** The decoded file with all defaults. */
export type ConfigFile = Static<typeof FileSchema>;
