/** Health checks of an upstream (`checks`): schema and defaults. Seconds, counts and status codes. */

import { HTTP_METHODS } from "../lib/http-methods.ts";
import { Type } from "../lib/schema.ts";
import { Host, oneOf, Port, raw } from "./schema-parts.ts";

const kind = oneOf(["http", "https", "tcp", "grpc"], { default: "http" });
const interval = Type.Integer({ minimum: 1, default: 1 });

function statuses(defaults: number[]) {
  const item = Type.Integer({ minimum: 200, maximum: 599 });
  return Type.Optional(Type.Array(item, { minItems: 1, uniqueItems: true, default: defaults }));
}

function count(least: 0 | 1, value: number) {
  return Type.Optional(Type.Integer({ minimum: least, maximum: 254, default: value }));
}

const Active = Type.Object({
  type: Type.Optional(kind),
  timeout: Type.Optional(Type.Number({ default: 1 })),
  concurrency: Type.Optional(Type.Integer({ default: 10 })),
  host: Type.Optional(Host),
  port: Type.Optional(Port),
  http_method: Type.Optional(oneOf(HTTP_METHODS, { default: "GET" })),
  http_path: Type.Optional(Type.String({ default: "/" })),
  http_req_body: Type.Optional(Type.String({ default: "" })),
  https_verify_certificate: Type.Optional(Type.Boolean({ default: true })),
  healthy: Type.Optional(
    Type.Object({
      interval: Type.Optional(interval),
      http_statuses: statuses([200, 302]),
      successes: count(1, 2),
    }),
  ),
  unhealthy: Type.Optional(
    Type.Object({
      interval: Type.Optional(interval),
      http_statuses: statuses([429, 404, 500, 501, 502, 503, 504, 505]),
      http_failures: count(1, 5),
      tcp_failures: count(1, 2),
      timeouts: count(1, 3),
    }),
  ),
  req_headers: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
  grpc_service: Type.Optional(Type.String({ maxLength: 1024 })),
});

const Passive = Type.Object({
  type: Type.Optional(kind),
  healthy: Type.Optional(
    Type.Object({
      http_statuses: statuses([
        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
      ]),
      successes: count(0, 5),
    }),
  ),
  unhealthy: Type.Optional(
    Type.Object({
      http_statuses: statuses([429, 500, 503]),
      tcp_failures: count(0, 2),
      timeouts: count(0, 7),
      http_failures: count(0, 5),
    }),
  ),
});

export const Checks = raw({
  type: "object",
  properties: {
    active: Active,
    passive: Passive,
    all_unhealthy: oneOf(["use_all", "refuse"], { default: "use_all" }),
    panic_threshold: Type.Integer({ minimum: 0, maximum: 100, default: 0 }),
    slow_start: Type.Number({ minimum: 0, maximum: 3600, default: 0 }),
  },
  anyOf: [{ required: ["active"] }, { required: ["active", "passive"] }],
});
