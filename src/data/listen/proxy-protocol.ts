/**
 * The PROXY protocol, versions 1 and 2: who really connected, told by a load balancer before anything else.
 *
 * Follows HAProxy's proxy-protocol.txt, strictly: the header is required and complete, version 1 is one line of
 * at most 107 bytes ended by CRLF, version 2 is bounded; LOCAL and UNKNOWN mean "no announcement" (health
 * checks of the balancer itself). TLVs and UNIX addresses of version 2 are skipped.
 */

import { isIPv4, isIPv6 } from "node:net";

export interface ProxyAnnouncement {
  /** Null for LOCAL, UNKNOWN and families without an IP address. */
  source: { address: string; port: number } | null;
  destination: { address: string; port: number } | null;
  /** Where the header ends in the bytes given. */
  end: number;
}

export type ProxyProtocolResult = ProxyAnnouncement | "need-more" | "malformed";

const V1_PREFIX = Buffer.from("PROXY ", "latin1");
const V1_MAX_BYTES = 107;
const V2_SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2_HEADER_BYTES = 16;
/** Addresses and TLVs; real headers have some hundred bytes, with a certificate's names in TLVs. */
const V2_MAX_BYTES = 4096;

/** Longest header that is accepted: whoever gathers bytes may stop here. */
export const MAX_PROXY_HEADER_BYTES = V2_HEADER_BYTES + V2_MAX_BYTES;

/** Reads a header from the start of `bytes`; ask again with more bytes after "need-more". */
export function parseProxyHeader(bytes: Buffer): ProxyProtocolResult {
  if (startsLike(bytes, V1_PREFIX)) return bytes.length < V1_PREFIX.length ? "need-more" : parseV1(bytes);
  if (startsLike(bytes, V2_SIGNATURE)) return bytes.length < V2_HEADER_BYTES ? "need-more" : parseV2(bytes);
  return "malformed";
}

function startsLike(bytes: Buffer, prefix: Buffer): boolean {
  const length = Math.min(bytes.length, prefix.length);
  return bytes.compare(prefix, 0, length, 0, length) === 0;
}

function parseV1(bytes: Buffer): ProxyProtocolResult {
  const lineEnd = bytes.subarray(0, V1_MAX_BYTES).indexOf("\r\n");
  if (lineEnd === -1) return bytes.length >= V1_MAX_BYTES ? "malformed" : "need-more";
  const line = bytes.toString("latin1", 0, lineEnd);
  const end = lineEnd + 2;
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN "))
    return { source: null, destination: null, end };
  const [, family, from, to, fromPort, toPort, ...more] = line.split(" ");
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : null;
  if (isAddress === null || more.length > 0 || toPort === undefined) return "malformed";
  const sourcePort = portOf(fromPort);
  const destinationPort = portOf(toPort);
  if (!isAddress(from) || !isAddress(to) || sourcePort === -1 || destinationPort === -1) return "malformed";
  return {
    source: { address: from, port: sourcePort },
    destination: { address: to, port: destinationPort },
    end,
  };
}

function portOf(text: string): number {
  if (!/^(?:0|[1-9]\d{0,4})$/.test(text)) return -1;
  const port = Number(text);
  return port <= 65_535 ? port : -1;
}

const LOCAL = 0x20;
const PROXY = 0x21;
const INET = 1;
const INET6 = 2;

function parseV2(bytes: Buffer): ProxyProtocolResult {
  const command = bytes[12];
  const family = bytes[13] >> 4;
  const transport = bytes[13] & 0x0f;
  const length = bytes.readUInt16BE(14);
  if ((command !== LOCAL && command !== PROXY) || family > 3 || transport > 2 || length > V2_MAX_BYTES)
    return "malformed";
  const end = V2_HEADER_BYTES + length;
  if (bytes.length < end) return "need-more";
  if (command === LOCAL || (family !== INET && family !== INET6))
    return { source: null, destination: null, end };
  const addressBytes = family === INET ? 4 : 16;
  if (length < addressBytes * 2 + 4) return "malformed";
  const ports = V2_HEADER_BYTES + addressBytes * 2;
  return {
    source: { address: addressAt(bytes, V2_HEADER_BYTES, addressBytes), port: bytes.readUInt16BE(ports) },
    destination: {
      address: addressAt(bytes, V2_HEADER_BYTES + addressBytes, addressBytes),
      port: bytes.readUInt16BE(ports + 2),
    },
    end,
  };
}

function addressAt(bytes: Buffer, from: number, length: number): string {
  if (length === 4) return bytes.subarray(from, from + 4).join(".");
  const groups: string[] = [];
  for (let at = from; at < from + 16; at += 2) groups.push(bytes.readUInt16BE(at).toString(16));
  return compress(groups);
}

/** RFC 5952: the first longest run of two or more zero groups becomes "::". */
function compress(groups: string[]): string {
  let best = 0;
  let bestAt = -1;
  for (let at = 0, run = 0; at <= groups.length; at++) {
    if (groups[at] === "0") {
      run++;
      continue;
    }
    if (run > best && run > 1) {
      best = run;
      bestAt = at - run;
    }
    run = 0;
  }
  if (bestAt === -1) return groups.join(":");
  return `${groups.slice(0, bestAt).join(":")}::${groups.slice(bestAt + best).join(":")}`;
}
