/**
 * Schema of an upstream, as the resource has it and as it stands inside other resources and plugins. What it cannot say
 * is checked by `upstream.ts`. Apart from that, since plugins that hold upstreams are loaded by workers, which check nothing.
 */

import { Type } from "../lib/schema.ts";
import { described, Host, Id, oneOf, Port, raw, Timeout } from "./schema-parts.ts";
import { Checks } from "./upstream-checks.ts";
import { Budget, Limits, Outlier } from "./upstream-protection.ts";
import { Zones } from "./upstream-zones.ts";

const Weight = Type.Integer({ minimum: 0 });
const Nodes = raw({
  anyOf: [
    { type: "object", patternProperties: { ".*": Weight } },
    {
      type: "array",
      items: Type.Object({
        host: Host,
        port: Type.Optional(Port),
        weight: Weight,
        priority: Type.Optional(Type.Integer({ default: 0 })),
        metadata: Type.Optional(raw({ type: "object" })),
      }),
    },
  ],
});

const Certificate = Type.String({ minLength: 128, maxLength: 65_536 });
const PrivateKey = Type.String({ minLength: 64, maxLength: 65_536 });
const Tls = raw({
  type: "object",
  properties: {
    client_cert_id: Id,
    client_cert: Certificate,
    client_key: PrivateKey,
    verify: Type.Boolean({ default: false }),
  },
  dependencies: {
    client_cert: { required: ["client_key"] },
    client_key: { required: ["client_cert"] },
    client_cert_id: { not: { required: ["client_cert", "client_key"] } },
  },
});

export const UpstreamSchema = raw({
  type: "object",
  properties: {
    ...described,
    nodes: Nodes,
    retries: Type.Integer({ minimum: 0 }),
    retry_timeout: Type.Number({ minimum: 0 }),
    timeout: Timeout,
    tls: Tls,
    keepalive_pool: Type.Object({
      size: Type.Optional(Type.Integer({ default: 320, minimum: 1 })),
      idle_timeout: Type.Optional(Type.Number({ default: 60, minimum: 0 })),
      requests: Type.Optional(Type.Integer({ default: 1000, minimum: 1 })),
    }),
    type: Type.String({ default: "roundrobin" }),
    checks: Checks,
    outlier: Outlier,
    retry_budget: Budget,
    limits: Limits,
    zones: Zones,
    hash_on: oneOf(["vars", "header", "cookie", "consumer", "vars_combinations"], { default: "vars" }),
    key: Type.String(),
    scheme: raw({
      enum: ["grpc", "grpcs", "http", "https", "h2", "h2c", "tcp", "tls", "udp", "kafka"],
      default: "http",
    }),
    discovery_type: Type.String(),
    discovery_args: Type.Object({
      namespace_id: Type.Optional(Type.String()),
      group_name: Type.Optional(Type.String()),
    }),
    pass_host: oneOf(["pass", "node", "rewrite"], { default: "pass" }),
    upstream_host: Host,
    service_name: Type.String({ minLength: 1, maxLength: 256 }),
  },
  oneOf: [{ required: ["nodes"] }, { required: ["service_name", "discovery_type"] }],
  additionalProperties: false,
});
