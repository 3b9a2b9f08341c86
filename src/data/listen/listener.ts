/**
 * One port of a worker for requests: gives each connection that its intake has taken in to the engine that speaks its
 * protocol. HTTP/2 is spoken where ALPN chose it, and where a connection begins with its preface.
 *
 * Promises: `drain` stops accepting, ends idle connections and resolves when the last one has ended.
 */

import type { Socket } from "node:net";
import type { RequestListener } from "../transport.ts";
import type { Deadlines } from "../deadlines.ts";
import type { HttpConfig } from "../../config/static-config.ts";
import { Http1ClientConnection } from "../http1/client-connection.ts";
import type { ConnectionFacts, ConnectionHost, OpenConnection } from "../http1/connection-host.ts";
import { Http2ClientConnection } from "../http2/client-connection.ts";
import type { ProtocolError } from "../http1/errors.ts";
import type { PeerFacts } from "../tls/handshake.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import {
  type ConnectionCount,
  Intake,
  type IntakeHost,
  type IntakeOptions,
  type ListenerMeters,
  type ListenTarget,
} from "./intake.ts";
import type { ProxyAnnouncement } from "./proxy-protocol.ts";

export interface ListenerOptions extends IntakeOptions {
  http: HttpConfig;
  onRequest: RequestListener;
}

export class Listener implements ConnectionHost, IntakeHost<PeerFacts> {
  readonly http: HttpConfig;
  readonly deadlines: Deadlines;
  readonly onRequest: RequestListener;
  readonly onHttp2: ConnectionHost["onHttp2"];
  readonly #meters: ListenerMeters;
  readonly #count: ConnectionCount;
  readonly #intake: Intake<PeerFacts>;
  readonly #connections = new Set<OpenConnection>();

  constructor(options: ListenerOptions) {
    this.http = options.http;
    this.deadlines = options.deadlines;
    this.onRequest = options.onRequest;
    this.onHttp2 = options.http.http2 === null ? null : this.#takeOver;
    this.#meters = options.meters;
    this.#count = options.count;
    this.#intake = new Intake(options, this);
  }

  get open(): number {
    return this.#connections.size;
  }

  /** Connections that are open now, those that are not taken in yet among them. */
  get active(): number {
    return this.#intake.active;
  }

  /** Resolves with the port once the socket listens; rejects with the system's error. */
  listen(target: ListenTarget): Promise<number> {
    return this.#intake.listen(target);
  }

  /** Accepts nothing more and lets what runs finish; resolves when no connection is left. */
  drain(): Promise<void> {
    this.#intake.stop();
    for (const connection of this.#connections) connection.drain();
    return this.#intake.whenEmpty();
  }

  /** Ends everything at once. */
  close(): void {
    this.#intake.close();
    for (const connection of this.#connections) connection.destroy();
  }

  peerOf({ remoteAddress = "", remotePort = 0 }: Socket, announcement: ProxyAnnouncement | null): PeerFacts {
    const proxyProtocolAddress = announcement?.source?.address ?? null;
    return { remoteAddress, remotePort, proxyProtocolAddress };
  }

  /** Some paths may go without a client certificate: requests are judged, one by one. */
  refusalOf(): null {
    return null;
  }

  onConnection(
    socket: Socket,
    { proxyProtocolAddress }: PeerFacts,
    tls: TlsConnection | null,
    rest: Buffer | null,
  ): void {
    const serial = ++this.#count.serial;
    const scheme = tls === null ? "http" : "https";
    const facts = { serial, scheme, tls, proxyProtocolAddress } as const;
    if (tls?.applicationProtocol === "h2") {
      this.#speakHttp2(socket, facts);
      return;
    }
    const connection = new Http1ClientConnection(socket, this, facts);
    this.#connections.add(connection);
    if (rest !== null && rest.length > 0) connection.onBytes(rest, rest.length);
    if (this.#intake.isStopped) connection.drain();
  }

  readonly #takeOver = (socket: Socket, rest: Buffer, from: OpenConnection & ConnectionFacts): void => {
    this.#connections.delete(from);
    socket.unshift(rest);
    this.#speakHttp2(socket, from);
  };

  #speakHttp2(socket: Socket, facts: ConnectionFacts): void {
    const connection = new Http2ClientConnection(socket, this, this.http.http2!, facts);
    this.#connections.add(connection);
    if (this.#intake.isStopped) connection.drain();
  }

  onRefused(error: ProtocolError): void {
    this.#meters.requestRefused(error);
  }

  onFault(fault: unknown): void {
    this.#meters.fault(fault);
  }

  onClosed(connection: OpenConnection): void {
    if (this.#connections.delete(connection)) this.#intake.ended();
  }
}
