/**
 * The header fields that cross the gateway: what goes upstream and what comes back to the client.
 *
 * Both directions drop hop-by-hop fields (RFC 9110 7.6.1) and the framing, which is each transport's own.
 * Upstream gets the client's address and what it asked for in `X-Real-IP` and `X-Forwarded-*`; of these, what
 * a client sent is believed only from a trusted address.
 */

import type { AddressSet } from "../../lib/address.ts";
import type { HttpExchange } from "./exchange.ts";
import { HeaderList } from "../../lib/headers.ts";
import { stripHopByHop } from "../http1/hop-by-hop.ts";
import { httpDate } from "./http-date.ts";

/**
 * The fields of the request to upstream; the exchange's own stay as the client sent them. `trusted` null: no
 * trust boundary is configured, then only the chain of `X-Forwarded-For` is kept.
 */
export function upstreamHeaders(x: HttpExchange, host: string, trusted: AddressSet | null): HeaderList {
  const { names, rawNames, values } = x.request.headers;
  const headers = new HeaderList();
  headers.push("host", "Host", host);
  let forwardedFor = "";
  let forwardedProto = "";
  let forwardedHost = "";
  let forwardedPort = "";
  for (let i = 0; i < names.length; i++) {
    const value = values[i];
    switch (names[i]) {
      case "host":
      case "content-length":
      case "x-real-ip":
      case "forwarded":
        break;
      case "x-forwarded-for":
        forwardedFor = forwardedFor === "" ? value : `${forwardedFor}, ${value}`;
        break;
      case "x-forwarded-proto":
        forwardedProto = value;
        break;
      case "x-forwarded-host":
        forwardedHost = value;
        break;
      case "x-forwarded-port":
        forwardedPort = value;
        break;
      default:
        headers.push(names[i], rawNames[i], value);
    }
  }
  stripHopByHop(headers);
  const peer = x.client.address;
  let keepsChain = forwardedFor !== "";
  if (
    trusted !== null &&
    (keepsChain || forwardedProto !== "" || forwardedHost !== "" || forwardedPort !== "")
  ) {
    const isTrusted = trusted.has(x.client.peerAddress);
    keepsChain &&= isTrusted;
    if (!isTrusted) forwardedProto = forwardedHost = forwardedPort = "";
  } else {
    forwardedProto = forwardedHost = forwardedPort = "";
  }
  headers.push("x-real-ip", "X-Real-IP", peer);
  headers.push("x-forwarded-for", "X-Forwarded-For", keepsChain ? `${forwardedFor}, ${peer}` : peer);
  headers.push("x-forwarded-proto", "X-Forwarded-Proto", forwardedProto || x.client.scheme);
  headers.push("x-forwarded-host", "X-Forwarded-Host", forwardedHost || x.head.authority);
  headers.push("x-forwarded-port", "X-Forwarded-Port", forwardedPort || portOf(x));
  return headers;
}

/** The fields of an upstream's answer, made fit for the client in place. */
export function clientHeaders(headers: HeaderList, server: string): void {
  stripHopByHop(headers);
  headers.delete("content-length");
  headers.set("Server", server);
  if (!headers.has("date")) headers.push("date", "Date", httpDate());
}

let portNumber = 0;
let portAsText = "0";

/** The port that the client named, else the one it reached. A worker serves few: the last text is kept. */
function portOf(x: HttpExchange): string {
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
