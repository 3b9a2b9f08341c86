/**
 * `nginx_config`: what APISIX makes nginx.conf of. Some keys have an effect here, each with a counterpart of Cardea's own
 * that goes before it; the others are known and have none.
 */

import { Type } from "../lib/schema.ts";
import type { TSchema } from "@sinclair/typebox";
import { AccessLogKeys } from "./access-log.ts";
import { choice, duration, size, withoutEffect } from "./kinds.ts";
import { nginxStreamSection } from "./schema-stream.ts";

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

export const nginxSection = Type.Object(
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
