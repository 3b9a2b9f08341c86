/**
 * Removes from a head what belongs to one connection only (RFC 9110 7.6.1), in place, for both directions.
 *
 * `Connection` may name further fields to be removed. A client can abuse that to make the gateway drop what it
 * or the upstream relies on ("Connection: close, X-Forwarded-For"), so end-to-end fields with a meaning for
 * security or routing stay, whatever Connection names.
 */

import type { HeaderList } from "../../lib/headers.ts";

const PROTECTED = new Set(
  (
    "host authorization cookie set-cookie forwarded x-real-ip via origin referer date range expect " +
    "cache-control vary etag location age expires pragma user-agent accept accept-encoding accept-language " +
    "proxy-authorization www-authenticate strict-transport-security x-request-id traceparent tracestate apikey"
  ).split(" "),
);

const PROTECTED_PREFIXES = [
  "x-forwarded-",
  "x-consumer-",
  "x-credential-",
  "content-",
  "access-control-",
  "if-",
];

/**
 * Removes Connection and what it names, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade (the exchange
 * adds it again for a permitted one), HTTP2-Settings, and Content-Length, since the transport writes framing
 * from the body's length. TE is kept as "trailers" if it said so.
 */
export function stripHopByHop(headers: HeaderList): void {
  const { names, rawNames, values } = headers;
  let kept = 0;
  let named = "";
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (isHopByHop(name)) {
      if (name === "connection") named = named === "" ? values[i] : `${named},${values[i]}`;
      if (name !== "te" || !saysTrailers(values[i])) continue;
      values[i] = "trailers";
    }
    if (kept !== i) {
      names[kept] = name;
      rawNames[kept] = rawNames[i];
      values[kept] = values[i];
    }
    kept++;
  }
  headers.cutTo(kept);
  if (named !== "" && !isUsual(named)) stripNamed(headers, named);
}

/** By length first: most names are told apart by one comparison of integers. */
function isHopByHop(name: string): boolean {
  switch (name.length) {
    case 2:
      return name === "te";
    case 7:
      return name === "upgrade";
    case 10:
      return name === "connection" || name === "keep-alive";
    case 14:
      return name === "content-length" || name === "http2-settings";
    case 16:
      return name === "proxy-connection";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

/** The values of Connection that name no further field, as browsers and proxies write them. */
function isUsual(value: string): boolean {
  return (
    value === "keep-alive" ||
    value === "close" ||
    value === "Keep-Alive" ||
    value === "Upgrade" ||
    value === "upgrade"
  );
}

function saysTrailers(value: string): boolean {
  return value === "trailers" || value.split(",").some((token) => token.trim().toLowerCase() === "trailers");
}

function stripNamed(headers: HeaderList, named: string): void {
  for (const token of named.split(",")) {
    const name = token.trim().toLowerCase();
    if (name === "" || name === "te" || isProtected(name)) continue;
    headers.delete(name);
  }
}

function isProtected(name: string): boolean {
  return PROTECTED.has(name) || PROTECTED_PREFIXES.some((prefix) => name.startsWith(prefix));
}
