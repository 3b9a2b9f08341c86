/** The variables of a connection, with the names and meanings of nginx's stream part and of APISIX. */

import { hostname } from "node:os";
import { localTime } from "../exchange/variables.ts";
import type { StreamConnectionExchange } from "./stream-exchange.ts";

type Reader = (x: StreamConnectionExchange) => string | undefined;

const HOSTNAME = hostname();

const readers = new Map<string, Reader>([
  ["remote_addr", (x) => x.client.address],
  ["remote_port", (x) => String(x.client.port)],
  ["realip_remote_addr", (x) => x.client.peerAddress],
  ["realip_remote_port", (x) => String(x.client.peerPort)],
  ["proxy_protocol_addr", (x) => x.facts.announced?.address],
  ["proxy_protocol_port", (x) => (x.facts.announced === null ? undefined : String(x.facts.announced.port))],
  ["server_addr", (x) => x.facts.serverAddress],
  ["server_port", (x) => String(x.facts.serverPort)],
  ["stream_listen_addr", (x) => x.stream.listenAddress],
  ["protocol", (x) => x.stream.protocol],
  ["hostname", () => HOSTNAME],
  ["connection", (x) => String(x.facts.serial)],
  ["pid", () => String(process.pid)],
  ["msec", () => (Date.now() / 1000).toFixed(3)],
  ["time_local", () => localTime().common],
  ["time_iso8601", () => localTime().iso8601],
  ["status", (x) => String(x.stream.status).padStart(3, "0")],
  ["bytes_received", (x) => String(x.bytesReceived)],
  ["bytes_sent", (x) => String(x.bytesSent)],
  ["session_time", (x) => seconds(x.latencyMs)],
  ["upstream_addr", (x) => x.upstreamAddresses || undefined],
  ["upstream_bytes_sent", (x) => String(x.upstreamBytesSent)],
  ["upstream_bytes_received", (x) => String(x.upstreamBytesReceived)],
  ["upstream_connect_time", (x) => (x.connectMs === undefined ? undefined : seconds(x.connectMs))],
  [
    "upstream_session_time",
    (x) => (x.upstreamLatencyMs === undefined ? undefined : seconds(x.upstreamLatencyMs)),
  ],
  ["balancer_ip", (x) => x.node?.address],
  ["balancer_port", (x) => (x.node === null ? undefined : String(x.node.port))],
  ["upstream_unresolved_host", (x) => x.node?.host],
  ["route_id", (x) => x.route?.id],
  ["route_name", (x) => x.route?.name],
  ["service_id", (x) => x.route?.serviceId],
  ["service_name", (x) => x.route?.serviceName],
]);

export function readStreamVariable(x: StreamConnectionExchange, name: string): string | undefined {
  const reader = readers.get(name);
  if (reader !== undefined) return reader(x);
  return name.startsWith("ssl_") || name.startsWith("tls_") ? x.facts.tls?.variable(name) : undefined;
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3);
}
