/** What is logged of requests, and where: the same keys under `cardea.access_log` and, with less weight, `nginx_config.http`. */

import { Type } from "../lib/schema.ts";
import { choice, size } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { AccessLogConfig } from "./static-config.ts";

const GIBIBYTE = 1024 ** 3;
const BUFFER_BYTES = 16_384;

/** Fields, their order and their quotes are those of APISIX. */
const DEFAULT_ACCESS_LOG_FORMAT =
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

export function accessLog({ given }: ResolveInput): AccessLogConfig {
  const own = given.cardea?.access_log ?? {};
  const nginx = given.nginx_config?.http ?? {};
  const path = own.access_log ?? nginx.access_log ?? "logs/access.log";
  const enabled = own.enable_access_log ?? nginx.enable_access_log ?? true;
  return {
    path: enabled && path !== "off" ? path : null,
    format: (own.access_log_format ?? nginx.access_log_format ?? DEFAULT_ACCESS_LOG_FORMAT).replace(
      /\n+$/,
      "",
    ),
    escape: own.access_log_format_escape ?? nginx.access_log_format_escape ?? "default",
    bufferBytes: own.access_log_buffer ?? nginx.access_log_buffer ?? BUFFER_BYTES,
  };
}
