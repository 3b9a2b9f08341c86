/** `apisix.ssl`: TLS for clients, and the authorities of upstreams. */

import type { Static } from "@sinclair/typebox";
import { Type } from "../lib/schema.ts";
import { address, port, section, tlsVersions, withoutEffect } from "./kinds.ts";
import { Http2OfListener } from "./listeners.ts";
import type { PluginsConfig, TlsConfig, TlsVersion } from "./static-config.ts";
import { unreadableFile } from "./unreadable-file.ts";

/** APISIX's list for TLS 1.2: forward secrecy and authenticated encryption alone. */
const DEFAULT_CIPHERS = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "DHE-RSA-AES128-GCM-SHA256",
  "DHE-RSA-AES256-GCM-SHA384",
].join(":");

/** All that OpenSSL has for TLS 1.3, in its order: without one of them Node.js turns TLS 1.3 off. */
const TLS_1_3_CIPHERS = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

export const tlsSection = section(
  {
    enable: Type.Boolean({ default: true, description: "Whether there are TLS listeners." }),
    listen: Type.Array(
      Type.Object(
        {
          ip: Type.Optional(address({ description: "Default: 0.0.0.0" })),
          port: port({ default: 9443 }),
          enable_http2: Type.Optional(Http2OfListener),
          enable_http3: Type.Optional(withoutEffect("HTTP/3.")),
        },
        { additionalProperties: false, expects: "{ ip, port }" },
      ),
      {
        default: [{ port: 9443 }],
        minItems: 1,
        maxItems: 256,
        description: "Ports of the default group that take HTTPS traffic.",
      },
    ),
    ssl_protocols: tlsVersions({
      default: "TLSv1.2 TLSv1.3",
      description: "Versions of TLS that clients may speak; `ssl_protocols` of a certificate goes before it.",
    }),
    ssl_ciphers: Type.String({
      default: DEFAULT_CIPHERS,
      minLength: 1,
      maxLength: 4096,
      description:
        "Ciphers in OpenSSL's notation, the best first. Those of TLS 1.3 (`TLS_...`) need not be named.",
    }),
    ssl_session_tickets: Type.Boolean({
      default: false,
      description:
        "Whether clients may resume sessions by tickets. Nodes on one etcd share their key; else it is the node's, new at every start.",
    }),
    fallback_sni: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        description: "Server name of clients that send none.",
      }),
    ),
    ssl_trusted_certificate: Type.String({
      default: "system",
      pattern: "[^, ]",
      maxLength: 4096,
      expects: "system, or paths of PEM files, with commas between them",
      description:
        "Authorities that upstreams with `tls.verify` must be signed by: `system`, PEM files, or both, with commas between them.",
    }),
  },
  { description: "TLS for clients. Certificates are resources (`ssls`)." },
);

export function tlsConfig(section: Static<typeof tlsSection>, addWarning: (text: string) => void): TlsConfig {
  const { ssl_ciphers: ciphers, fallback_sni: fallback } = section;
  const authorities = section.ssl_trusted_certificate
    .split(",")
    .map((source) => source.trim())
    .filter((source) => source !== "");
  for (const source of authorities) {
    if (source === "system") continue;
    const warning = unreadableFile("apisix.ssl.ssl_trusted_certificate", source);
    if (warning !== null) addWarning(warning);
  }
  return {
    versions: [...new Set(section.ssl_protocols.trim().split(/ +/))].sort() as TlsVersion[],
    ciphers: ciphers.includes("TLS_") ? ciphers : `${TLS_1_3_CIPHERS}:${ciphers}`,
    sessionTickets: section.ssl_session_tickets,
    fallbackServerName: fallback === undefined ? null : fallback.toLowerCase().replace(/\.$/, ""),
    upstreamAuthorities: authorities,
  };
}

/** What the file says to plugins. Redirects to HTTPS lead to the first TLS listener, unless it says where. */
export function pluginAttributes(
  given: PluginsConfig["attributes"],
  { enable, listen }: { enable: boolean; listen: readonly { port: number }[] },
): PluginsConfig["attributes"] {
  return enable ? { ...given, redirect: { https_port: listen[0].port, ...given.redirect } } : { ...given };
}
