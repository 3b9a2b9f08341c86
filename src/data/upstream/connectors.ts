/**
 * How plain connections to upstreams are opened. Those with TLS depend on more than the address: `secure/`.
 *
 * Addresses only: names were resolved by control, and nothing in a worker may call `getaddrinfo`.
 */

import { connect, type Socket } from "node:net";
import type { Connector } from "../http1/upstream-connection.ts";
import { readBuffer } from "./read-buffer.ts";

/** HTTP/1.1 without TLS. */
export const plain: Connector = {
  readyEvent: "connect",
  open(address: string, port: number, onRead: (bytes: number, buffer: Buffer) => boolean): Socket {
    return connect({
      host: address,
      port,
      noDelay: true,
      // A taken socket (WebSocket) may be half-closed; the connection itself treats an end as the end.
      allowHalfOpen: true,
      autoSelectFamily: false,
      onread: { buffer: readBuffer, callback: onRead },
    });
  },
};

/** A socket that is being connected; it is ready at `readyEvent`, or fails with "error". */
export interface RawConnection {
  socket: Socket;
  readyEvent: "connect" | "secureConnect";
}

/** For streams: whatever the node sends comes as events. */
export function openPlain(address: string, port: number): RawConnection {
  const socket = connect({
    host: address,
    port,
    noDelay: true,
    allowHalfOpen: true,
    autoSelectFamily: false,
  });
  return { socket, readyEvent: "connect" };
}
