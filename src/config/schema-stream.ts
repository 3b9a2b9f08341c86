/** Keys of the static file for connections of stream routes: where they are accepted, and what is logged of them. */

import { Type } from "../lib/schema.ts";
import { choice, cidr, port, withoutEffect } from "./kinds.ts";

const PLACE = "a port, a range (2000-2100), or either behind an address (127.0.0.1:9100)";
const Places = [
  port({ expects: PLACE }),
  Type.String({ minLength: 1, maxLength: 64, expects: PLACE }),
] as const;
const Place = Type.Union([...Places], { expects: PLACE });

const TcpListener = Type.Object(
  {
    addr: Place,
    tls: Type.Boolean({
      default: false,
      description: "Whether TLS ends here, with the certificates of `ssls`.",
    }),
    proxy_protocol: Type.Optional(
      Type.Boolean({ description: "Default: `apisix.proxy_protocol.enable_tcp_pp`" }),
    ),
    proxy_protocol_to_upstream: Type.Optional(
      Type.Boolean({ description: "Default: `apisix.proxy_protocol.enable_tcp_pp_to_upstream`" }),
    ),
  },
  { additionalProperties: false, expects: "{ addr, tls, proxy_protocol, proxy_protocol_to_upstream }" },
);

export const streamProxySection = Type.Object(
  {
    tcp: Type.Optional(
      Type.Array(Type.Union([...Places, TcpListener]), {
        minItems: 1,
        maxItems: 1024,
        description:
          "Ports for TCP: each a port, a range, `ip:port`, or an object with one of these as `addr`.",
      }),
    ),
    udp: Type.Optional(Type.Array(Place, { minItems: 1, maxItems: 1024, description: "Ports for UDP." })),
  },
  {
    additionalProperties: false,
    description: "Listeners for stream routes; they need `proxy_mode` stream or http&stream.",
  },
);

export const nginxStreamSection = Type.Object(
  {
    enable_access_log: Type.Boolean({ default: false, description: "Whether connections are logged." }),
    access_log: Type.String({
      default: "logs/access_stream.log",
      minLength: 1,
      maxLength: 4096,
      description: "Path, below the data folder unless it is absolute.",
    }),
    access_log_format: Type.String({
      default: "$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time",
      minLength: 1,
      maxLength: 16_384,
      description: "Line for each connection that ended.",
    }),
    access_log_format_escape: choice(["default", "json"], {
      default: "default",
      description: "How values in it are escaped.",
    }),
    real_ip_from: Type.Array(cidr(), {
      default: [],
      maxItems: 1024,
      description: "Peers whose PROXY header says who the client is.",
    }),
    metrics_zone_size: Type.Optional(withoutEffect("Of nginx.")),
    lua_shared_dict: Type.Optional(withoutEffect("Of nginx.")),
  },
  { additionalProperties: false, description: "Connections of stream routes." },
);
