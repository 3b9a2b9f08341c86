/** Facts of a client's certificate as nginx writes them (ngx_http_ssl_module, variables `$ssl_client_...`). */

import type { X509Certificate } from "node:crypto";

const DAY_MS = 86_400_000;

/** RFC 2253: the most specific part first, joined by commas. Node.js gives a line per part, in the order of the certificate. */
export function nameText(name: string | undefined): string {
  if (name === undefined || name === "") return "";
  return name.split("\n").reverse().map(escapePart).join(",");
}

/** RFC 2253 2.4. Node.js escapes already what would break its own lines. */
function escapePart(part: string): string {
  const equals = part.indexOf("=");
  const value = part.slice(equals + 1);
  if (!/[,+"<>;]/.test(value) || value.includes("\\")) return part;
  return `${part.slice(0, equals + 1)}${value.replace(/[,+"<>;]/g, "\\$&")}`;
}

/** PEM as part of a URL. */
export function escapedPem(certificate: X509Certificate): string {
  return encodeURIComponent(certificate.toString().trimEnd() + "\n");
}

/** "Nov 21 12:21:53 2026 GMT", as OpenSSL prints it. */
export function expiryText(text: string): string {
  return text;
}

/** Whole days until it expires; 0 once it has. */
export function remainingDays(certificate: X509Certificate, nowMs: number): string {
  const leftMs = Date.parse(certificate.validTo) - nowMs;
  return String(Math.max(0, Math.floor(leftMs / DAY_MS)));
}
