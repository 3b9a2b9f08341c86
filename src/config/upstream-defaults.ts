/** `cardea.upstream`: how upstreams are spoken to that say nothing themselves, before `nginx_config.http.upstream`. */

import { Type } from "../lib/schema.ts";
import { duration, section, size } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { UpstreamDefaults } from "./static-config.ts";

const DAY_MS = 86_400_000;

export const upstreamSection = section(
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

export function upstreamDefaults({ filled, given }: ResolveInput): UpstreamDefaults {
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
