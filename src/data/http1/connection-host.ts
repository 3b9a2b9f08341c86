/** What a client connection needs of its listener and is told by it; the connection's face towards the worker. */

import type { Socket } from "node:net";
import type { HttpConfig } from "../../config/static-config.ts";
import type { Deadlines } from "../deadlines.ts";
import type { RequestListener } from "../transport.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import type { ProtocolError } from "./errors.ts";

/** A client connection as its listener keeps it. */
export interface OpenConnection {
  /** What runs finishes, and nothing new is waited for. */
  drain(): void;
  /** Ends it at once. */
  destroy(): void;
}

/** What all client connections of a worker share. */
export interface ConnectionHost {
  readonly http: HttpConfig;
  readonly deadlines: Deadlines;
  readonly onRequest: RequestListener;
  /** Takes over a connection that began with the HTTP/2 preface, which is in `rest`; null: 505. */
  readonly onHttp2: ((socket: Socket, rest: Buffer, from: OpenConnection & ConnectionFacts) => void) | null;
  /** A request was refused by the protocol itself; no exchange heard of it. */
  onRefused(error: ProtocolError): void;
  /** The request listener threw: a fault of ours. The client got a 500. */
  onFault(fault: unknown): void;
  /** The connection ended or was handed over. */
  onClosed(connection: OpenConnection): void;
}

/** Facts about the connection that its listener knows. */
export interface ConnectionFacts {
  readonly serial: number;
  readonly scheme: "http" | "https";
  /** Null for cleartext. */
  readonly tls: TlsConnection | null;
  /** Announced by the PROXY protocol; null: none. */
  readonly proxyProtocolAddress: string | null;
}
