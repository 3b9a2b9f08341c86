/** Limits and timeouts towards clients: `cardea.http`, before the keys of `nginx_config.http` with the same meaning. */

import { Type } from "../lib/schema.ts";
import { choice, duration, section, size } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { HttpConfig } from "./static-config.ts";

const DAY_MS = 86_400_000;
const GIBIBYTE = 1024 ** 3;
const MEBIBYTE = 1024 ** 2;

export const httpSection = section(
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
      description: "Request body that is held in one piece, whatever a plugin asks for.",
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

export function http({ filled, given }: ResolveInput): HttpConfig {
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

function underscores(nginx: boolean | "on" | "off" | undefined): "keep" | "drop" | undefined {
  if (nginx === undefined) return undefined;
  return nginx === true || nginx === "on" ? "keep" : "drop";
}
