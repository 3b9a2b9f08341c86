/** The PROXY header (version 1, of HAProxy's proxy-protocol.txt) that a node gets before the first byte of its client. */

import { isIPv4, isIPv6 } from "node:net";
import type { StreamConnectionExchange } from "./stream-exchange.ts";

/** Addresses of different families cannot be told in version 1: UNKNOWN then. */
export function proxyHeader({ client, facts }: StreamConnectionExchange): string {
  const { address, port } = client;
  const { serverAddress, serverPort } = facts;
  const isV4 = isIPv4(address) && isIPv4(serverAddress);
  if (!isV4 && !(isIPv6(address) && isIPv6(serverAddress))) return "PROXY UNKNOWN\r\n";
  return `PROXY ${isV4 ? "TCP4" : "TCP6"} ${address} ${serverAddress} ${port} ${serverPort}\r\n`;
}
