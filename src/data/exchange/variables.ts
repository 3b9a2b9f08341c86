/**
 * The variables that users name in conditions, keys, templates and log formats, computed when they are read.
 *
 * Names and meanings are nginx's and APISIX's. A name is resolved to a function once; the table of resolved
 * names is bounded, since `arg_*` and its like make names out of configuration, and configuration is big.
 */

import { hostname } from "node:os";
import type { HttpExchange } from "./exchange.ts";
import { readCookie } from "./cookies.ts";
import { portOf } from "./forwarding.ts";
import { readQueryArgument } from "../../lib/query.ts";

type Reader = (x: HttpExchange) => string | undefined;

/** Resolved prefix names that are kept; beyond it they are resolved at each read. */
const RESOLVED_LIMIT = 8192;

const HOSTNAME = hostname();

const readers = new Map<string, Reader>([
  ["remote_addr", (x) => x.client.address],
  ["remote_port", (x) => (x.client.port === 0 ? "" : String(x.client.port))],
  ["realip_remote_addr", (x) => x.client.peerAddress],
  ["realip_remote_port", (x) => String(x.client.peerPort)],
  ["proxy_protocol_addr", (x) => x.transport.connection.proxyProtocolAddress ?? undefined],
  ["remote_user", remoteUser],
  ["host", (x) => x.request.host],
  ["hostname", () => HOSTNAME],
  ["server_name", (x) => x.request.host],
  ["server_addr", (x) => x.transport.connection.localAddress],
  ["server_port", (x) => String(x.transport.connection.localPort)],
  ["server_protocol", (x) => (x.request.version === "2" ? "HTTP/2.0" : `HTTP/${x.request.version}`)],
  ["scheme", (x) => x.client.scheme],
  ["https", (x) => (x.client.scheme === "https" ? "on" : "")],
  ["method", (x) => x.request.method],
  ["request_method", (x) => x.request.method],
  ["request", requestLine],
  ["request_line", requestLine],
  ["uri", (x) => x.request.path],
  ["request_uri", (x) => (x.request.query === "" ? x.request.path : `${x.request.path}?${x.request.query}`)],
  ["real_request_uri", (x) => x.request.target],
  ["args", (x) => x.request.query],
  ["query_string", (x) => x.request.query],
  ["is_args", (x) => (x.request.query === "" ? "" : "?")],
  // As the upstream gets them: what the peer may say and says, else what is seen here.
  ["http_x_forwarded_proto", (x) => x.request.headers.joined("x-forwarded-proto") ?? x.client.scheme],
  ["http_x_forwarded_host", (x) => x.request.headers.joined("x-forwarded-host") ?? x.head.sentAuthority],
  ["http_x_forwarded_port", (x) => x.request.headers.joined("x-forwarded-port") ?? portOf(x)],
  ["content_type", (x) => x.request.headers.get("content-type")],
  ["content_length", (x) => x.request.headers.get("content-length")],
  ["request_body", (x) => x.body?.kept()?.toString() || undefined],
  ["request_length", (x) => String(x.transport.bytesReceived)],
  ["request_time", (x) => seconds((x.endedAt || performance.now()) - x.startedAt)],
  ["request_type", () => "traditional_http"],
  ["request_id", (x) => requestId(x)],
  ["apisix_request_id", (x) => x.variable("request_id")],
  ["connection", (x) => String(x.transport.connection.serial)],
  ["connection_requests", (x) => String(x.transport.connection.requests)],
  ["pid", () => String(process.pid)],
  ["msec", () => (Date.now() / 1000).toFixed(3)],
  ["time_iso8601", () => localTime().iso8601],
  ["time_local", () => localTime().common],
  ["status", (x) => (x.response.status === 0 ? undefined : String(x.response.status))],
  ["body_bytes_sent", (x) => String(x.transport.bodyBytesSent)],
  ["bytes_sent", (x) => String(x.transport.bytesSent)],
  ["upstream_addr", (x) => x.upstreamAddresses || undefined],
  ["upstream_status", (x) => x.upstreamStatuses || undefined],
  ["upstream_host", (x) => x.upstreamHost || x.head.sentAuthority],
  ["upstream_scheme", (x) => x.upstreamScheme],
  ["upstream_uri", (x) => x.upstreamTarget ?? x.request.upstreamTarget()],
  ["upstream_connect_time", (x) => elapsed(x.upstreamStartedAt, x.upstreamConnectedAt)],
  ["upstream_header_time", (x) => elapsed(x.upstreamStartedAt, x.upstreamHeadAt)],
  ["upstream_response_time", (x) => elapsed(x.upstreamStartedAt, x.upstreamEndedAt)],
  ["apisix_upstream_response_time", (x) => elapsed(x.upstreamStartedAt, x.upstreamEndedAt)],
  ["balancer_ip", (x) => x.node?.address],
  ["balancer_port", (x) => (x.node === null ? undefined : String(x.node.port))],
  ["upstream_zone", (x) => x.node?.zone || undefined],
  ["upstream_unresolved_host", (x) => x.node?.host],
  ["consumer_name", (x) => x.consumer?.username],
  ["consumer_group_id", (x) => x.consumer?.groupId],
  ["credential_identifier", (x) => x.consumer?.credentialId],
  ["route_id", (x) => x.route?.id],
  ["route_name", (x) => x.route?.name],
  ["service_id", (x) => x.route?.serviceId],
  ["service_name", (x) => x.route?.serviceName],
  ["matched_uri", (x) => x.route?.matchedUri],
  ["matched_host", (x) => x.route?.matchedHost],
]);

const prefixed: readonly [prefix: string, resolve: (rest: string) => Reader][] = [
  ["arg_", (rest) => (x) => readQueryArgument(x.request.query, rest)],
  ["cookie_", (rest) => (x) => readCookie(x.request.headers, rest)],
  ["sent_http_", (rest) => byHeader(rest, (x) => x.response.headers)],
  ["upstream_http_", (rest) => byHeader(rest, (x) => x.response.headers)],
  ["ssl_", (rest) => byTls(`ssl_${rest}`)],
  ["tls_", (rest) => byTls(`tls_${rest}`)],
  ["http_", (rest) => byHeader(rest, (x) => x.request.headers)],
  ["uri_param_", (rest) => (x) => x.parameterValues[x.parameterNames.indexOf(rest)]],
];

/** Value of the variable `name`; undefined when there is no such variable or it has no value now. */
export function readVariable(x: HttpExchange, name: string): string | undefined {
  const known = readers.get(name);
  if (known !== undefined) return known(x);
  const prefixedReader = resolvePrefixed(name);
  if (prefixedReader !== null) return prefixedReader(x);
  // Values of JSON may be anything: conditions know how to compare them.
  return x.bodyVariables === null ? undefined : (x.bodyVariables.read(name) as string | undefined);
}

function resolvePrefixed(name: string): Reader | null {
  for (const [prefix, resolve] of prefixed) {
    if (!name.startsWith(prefix)) continue;
    const reader = resolve(name.slice(prefix.length));
    if (readers.size < RESOLVED_LIMIT) readers.set(name, reader);
    return reader;
  }
  return null;
}

function byTls(name: string): Reader {
  return (x) => x.transport.connection.tls?.variable(name);
}

function byHeader(
  rest: string,
  list: (x: HttpExchange) => { joined(name: string): string | undefined },
): Reader {
  const asWritten = rest.toLowerCase();
  const name = asWritten.replaceAll("_", "-");
  if (name === asWritten) return (x) => list(x).joined(name);
  // Few fields have underscores in their names; for nginx both are `$http_a_b`.
  return (x) => list(x).joined(name) ?? list(x).joined(asWritten);
}

function requestLine(x: HttpExchange): string {
  return `${x.head.method} ${x.head.target} HTTP/${x.head.version === "2" ? "2.0" : x.head.version}`;
}

function remoteUser(x: HttpExchange): string | undefined {
  const header = x.request.headers.get("authorization");
  if (header === undefined || !/^basic /i.test(header)) return undefined;
  const text = Buffer.from(header.slice(6), "base64").toString("latin1");
  const colon = text.indexOf(":");
  return colon === -1 ? undefined : text.slice(0, colon);
}

function requestId(x: HttpExchange): string {
  const id = crypto.randomUUID().replaceAll("-", "");
  x.setVariable("request_id", id);
  return id;
}

function elapsed(fromMs: number, toMs: number): string | undefined {
  return fromMs === 0 || toMs === 0 ? undefined : seconds(toMs - fromMs);
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(3);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;

/** The two renderings of the current second: they are the same for every request of that second. */
const clock = { second: 0, iso8601: "", common: "" };

/** Of this second: shared, and right until the next. */
export function localTime(): { iso8601: string; common: string } {
  const second = Math.floor(Date.now() / 1000);
  if (second === clock.second) return clock;
  const date = new Date(second * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const hours = two(Math.floor(Math.abs(offset) / 60));
  const minutes = two(Math.abs(offset) % 60);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  clock.second = second;
  clock.iso8601 = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${time}${sign}${hours}:${minutes}`;
  clock.common = `${two(date.getDate())}/${MONTHS[date.getMonth()]}/${date.getFullYear()}:${time} ${sign}${hours}${minutes}`;
  return clock;
}
