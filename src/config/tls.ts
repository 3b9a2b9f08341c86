/** Defaults of TLS for clients and the way from their spelling in the static file to the one of code. */

import type { PluginsConfig, TlsConfig, TlsVersion } from "./static-config.ts";
import { unreadableFile } from "./unreadable-file.ts";

/** APISIX's list for TLS 1.2: forward secrecy and authenticated encryption alone. */
export const DEFAULT_CIPHERS = [
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

interface TlsSection {
  ssl_protocols: string;
  ssl_ciphers: string;
  ssl_session_tickets: boolean;
  fallback_sni?: string;
  ssl_trusted_certificate: string;
}

export function tlsConfig(section: TlsSection, addWarning: (text: string) => void): TlsConfig {
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
