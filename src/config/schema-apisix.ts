/** `apisix`: APISIX's own section of the static file. */

import { Type } from "../lib/schema.ts";
import { encryptionSection } from "./encryption.ts";
import { address, choice, cidr, nameServer, port, section, withoutEffect } from "./kinds.ts";
import { ListenEntry } from "./listeners.ts";
import { streamProxySection } from "./schema-stream.ts";
import { tlsSection } from "./tls.ts";

export const apisixSection = section(
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
    data_encryption: encryptionSection,
    disable_upstream_healthcheck: Type.Boolean({
      default: false,
      description: "Whether `checks` of upstreams have no effect.",
    }),
    lru: Type.Optional(withoutEffect("Caches for secrets.")),
    tracing: Type.Optional(withoutEffect("Spans per phase.")),
  },
  { description: "APISIX's own section." },
);
