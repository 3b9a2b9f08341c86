/**
 * The header fields that cross the gateway: what goes upstream and what comes back to the client.
 *
 * Both directions drop hop-by-hop fields (RFC 9110 7.6.1) and the framing, which is each transport's own.
 * Upstream gets the client's address and what it asked for in `X-Real-IP` and `X-Forwarded-*`. What a client
 * sends of these is believed only from a trusted address: it is dropped when the request begins, so that no
 * plugin is deceived either.
 */

import type { AddressSet } from "../../lib/address.ts";
import type { HttpExchange } from "./exchange.ts";
import { HeaderList } from "../../lib/headers.ts";
import { stripHopByHop } from "../http1/hop-by-hop.ts";
import { httpDate } from "./http-date.ts";

const CHAIN = "x-forwarded-for";

/**
 * Takes from a new request what its sender must not say about whom it speaks for. From there on everybody
 * (variables, plugins, the upstream) may believe what is left. `trusted` null: no trust boundary is configured,
 * then only the chain of `X-Forwarded-For` stays. What was sent is kept as `$original_x_forwarded_for` and so on.
 */
export function dropForgedForwarding(x: HttpExchange, trusted: AddressSet | null): void {
  const { headers } = x.request;
  const { names } = headers;
  let hasAny = false;
  for (let i = 0; i < names.length && !hasAny; i++) {
    hasAny = names[i].startsWith("x-forwarded-") || names[i] === "forwarded";
  }
  if (!hasAny) return;
  const isTrusted = trusted !== null && trusted.has(x.client.peerAddress);
  judge(x, CHAIN, "original_x_forwarded_for", isTrusted || trusted === null);
  judge(x, "x-forwarded-proto", "original_x_forwarded_proto", isTrusted);
  judge(x, "x-forwarded-host", "original_x_forwarded_host", isTrusted);
  judge(x, "x-forwarded-port", "original_x_forwarded_port", isTrusted);
  judge(x, "forwarded", "original_forwarded", isTrusted);
}

/** An empty field says nothing, whoever sends it. */
function judge(x: HttpExchange, name: string, variable: string, isBelieved: boolean): void {
  const { headers } = x.request;
  const sent = headers.joined(name);
  if (sent === undefined) return;
  if (sent !== "") x.setVariable(variable, sent);
  if (!isBelieved || sent === "") headers.delete(name);
}

/**
 * The fields of the request to upstream; the exchange's own stay as they are. `X-Forwarded-Proto`, `-Host` and
 * `-Port` are told as seen here unless a trusted peer or a plugin set them; an empty one is left out.
 */
export function upstreamHeaders(x: HttpExchange, host: string): HeaderList {
  const { names, rawNames, values, isChecked } = x.request.headers;
  const headers = new HeaderList();
  // The client's own host and address are fit for the wire; those of a plugin or of configuration may not be.
  const isAsSent = host === x.head.authority;
  headers.isChecked =
    isChecked &&
    isAsSent &&
    x.client.address === (x.transport.connection.proxyProtocolAddress ?? x.client.peerAddress);
  headers.push("host", "Host", isAsSent ? x.head.sentAuthority : host);
  let forwardedFor = "";
  let forwardedProto: string | null = null;
  let forwardedHost: string | null = null;
  let forwardedPort: string | null = null;
  for (let i = 0; i < names.length; i++) {
    const value = values[i];
    switch (names[i]) {
      case "host":
      case "content-length":
      case "x-real-ip":
        break;
      case CHAIN:
        forwardedFor = forwardedFor === "" ? value : `${forwardedFor}, ${value}`;
        break;
      case "x-forwarded-proto":
        forwardedProto = forwardedProto === null ? value : `${forwardedProto}, ${value}`;
        break;
      case "x-forwarded-host":
        forwardedHost = forwardedHost === null ? value : `${forwardedHost}, ${value}`;
        break;
      case "x-forwarded-port":
        forwardedPort = forwardedPort === null ? value : `${forwardedPort}, ${value}`;
        break;
      default:
        headers.push(names[i], rawNames[i], value);
    }
  }
  stripHopByHop(headers);
  const peer = x.client.address;
  headers.push("x-real-ip", "X-Real-IP", peer);
  headers.push(CHAIN, "X-Forwarded-For", forwardedFor === "" ? peer : `${forwardedFor}, ${peer}`);
  forwardedProto ??= x.client.scheme;
  forwardedHost ??= x.head.sentAuthority;
  forwardedPort ??= portOf(x);
  if (forwardedProto !== "") headers.push("x-forwarded-proto", "X-Forwarded-Proto", forwardedProto);
  if (forwardedHost !== "") headers.push("x-forwarded-host", "X-Forwarded-Host", forwardedHost);
  if (forwardedPort !== "") headers.push("x-forwarded-port", "X-Forwarded-Port", forwardedPort);
  return headers;
}

/** The fields of an upstream's answer, made fit for the client in place. */
export function clientHeaders(headers: HeaderList, server: string): void {
  stripHopByHop(headers);
  headers.delete("content-length");
  headers.put("server", "Server", server);
  if (!headers.has("date")) headers.push("date", "Date", httpDate());
}

let portNumber = 0;
let portAsText = "0";

/** The port that the client named, else the one it reached. A worker serves few: the last text is kept. */
export function portOf(x: HttpExchange): string {
  const authority = x.head.authority;
  if (authority.length > x.request.host.length) {
    const colon = authority.lastIndexOf(":");
    if (colon !== -1) return authority.slice(colon + 1);
  }
  const port = x.transport.connection.localPort;
  if (port !== portNumber) {
    portNumber = port;
    portAsText = String(port);
  }
  return portAsText;
}
