/** From `apisix.stream_proxy` and its like to listeners and settings of stream routes. */

import { isIP } from "node:net";
import type { Static } from "@sinclair/typebox";
import type { PlacedListener } from "./listeners.ts";
import type { ResolveInput } from "./resolve.ts";
import type { ListenerConfig, StreamConfig } from "./static-config.ts";
import type { streamProxySection } from "./schema-stream.ts";

/** Each is a socket per worker: ranges are bounded, all of them together. */
const MAX_LISTENERS = 4096;
const LOG_BUFFER_BYTES = 16_384;

export interface PortRange {
  address: string;
  first: number;
  last: number;
}

/** "9100", "2000-2100", "127.0.0.1:9100", "[::1]:2000-2100" or a port; null: none of these. */
export function parsePlace(place: number | string): PortRange | null {
  const parts = /^(?:(\[[^\]]+\]|[^:]+):)?(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(place).trim());
  if (parts === null) return null;
  const address = (parts[1] ?? "0.0.0.0").replace(/^\[|\]$/g, "");
  const first = Number(parts[2]);
  const last = parts[3] === undefined ? first : Number(parts[3]);
  if (isIP(address) === 0 || first < 1 || last > 65_535 || first > last) return null;
  return { address, first, last };
}

export function streamListeners(input: ResolveInput, group: string): PlacedListener[] {
  const { stream_proxy: section, proxy_mode: mode } = input.filled.apisix;
  if (section === undefined) return [];
  if (mode === "http") {
    input.addWarning("apisix.stream_proxy is not used: apisix.proxy_mode is http, not stream or http&stream");
    return [];
  }
  return streamListenersOf(input, section, ["apisix", "stream_proxy"], group);
}

/** `at`: where the section stands. */
export function streamListenersOf(
  input: ResolveInput,
  section: Static<typeof streamProxySection>,
  at: PlacedListener["path"],
  group: string,
): PlacedListener[] {
  const proxy = input.filled.apisix.proxy_protocol;
  const all: PlacedListener[] = [];
  section.tcp?.forEach((entry, i) => {
    const isPlain = typeof entry !== "object";
    const given = isPlain ? { addr: entry, tls: false } : entry;
    const proxyProtocol = given.proxy_protocol ?? proxy?.enable_tcp_pp ?? false;
    const proxyProtocolToUpstream =
      given.proxy_protocol_to_upstream ?? proxy?.enable_tcp_pp_to_upstream ?? false;
    const path = [...at, "tcp", i, ...(isPlain ? [] : ["addr"])];
    const stream = { tls: given.tls, proxyProtocolToUpstream };
    addRange(input, all, given.addr, path, { purpose: "stream-tcp", proxyProtocol, group, stream });
  });
  section.udp?.forEach((place, i) => {
    const path = [...at, "udp", i];
    addRange(input, all, place, path, { purpose: "stream-udp", proxyProtocol: false, group });
  });
  return all;
}

function addRange(
  { addProblem }: ResolveInput,
  all: PlacedListener[],
  place: number | string,
  path: PlacedListener["path"],
  listener: Omit<ListenerConfig, "address" | "port">,
): void {
  const range = parsePlace(place);
  if (range === null) {
    const expected = "a port, a range (2000-2100), or either behind an address (127.0.0.1:9100)";
    addProblem(path, `given ${JSON.stringify(place)}, expected ${expected}`);
    return;
  }
  if (all.length + range.last - range.first >= MAX_LISTENERS) {
    addProblem(
      path,
      `given ${JSON.stringify(place)}, expected at most ${MAX_LISTENERS} stream ports together`,
    );
    return;
  }
  for (let port = range.first; port <= range.last; port++)
    all.push({ listener: { ...listener, address: range.address, port }, path });
}

export function stream({ filled }: ResolveInput): StreamConfig {
  const section = filled.nginx_config?.stream;
  const path = section?.access_log ?? "off";
  return {
    realIpFrom: section?.real_ip_from ?? [],
    maxUdpSessions: filled.cardea.stream.max_udp_sessions,
    accessLog: {
      path: section?.enable_access_log === true && path !== "off" ? path : null,
      format: (section?.access_log_format ?? "").replace(/\n+$/, ""),
      escape: section?.access_log_format_escape ?? "default",
      bufferBytes: LOG_BUFFER_BYTES,
    },
  };
}
