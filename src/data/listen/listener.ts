/**
 * One listening port of a worker: accepts connections, bounds their number, reads a PROXY header where one is
 * required, and gives each to the engine that speaks its protocol.
 *
 * Promises: gauges are exact (`accepted` once and `ended` once per connection); `drain` stops accepting, ends
 * idle connections and resolves when the last one has ended. With `tls` a handshake comes between the PROXY header
 * and the engine. HTTP/2 is spoken where ALPN chose it, and where a connection begins with its preface.
 */

import { createServer, type Server, type Socket } from "node:net";
import type { RequestListener } from "../transport.ts";
import type { Deadlines } from "../deadlines.ts";
import type { HttpConfig } from "../../config/static-config.ts";
import { Http1ClientConnection } from "../http1/client-connection.ts";
import type { ConnectionFacts, ConnectionHost, OpenConnection } from "../http1/connection-host.ts";
import { Http2ClientConnection } from "../http2/client-connection.ts";
import type { ProtocolError } from "../http1/errors.ts";
import { Handshake, type HandshakeFailure, type HandshakeHost, type TlsServices } from "../tls/handshake.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import type { ProxyAnnouncement } from "./proxy-protocol.ts";
import { type ProxyHeaderHost, ProxyReader } from "./proxy-reader.ts";

export type ListenTarget =
  /** A socket that is bound already, such as `ListenerHandle.fd`. */
  { fd: number } | { host: string; port: number; reusePort?: boolean };

/** What a listener tells its worker; gauges and counters are made of it. */
export interface ListenerMeters {
  accepted(): void;
  ended(): void;
  /** Turned away because the worker has `maxConnectionsPerWorker` connections. */
  overLimit(): void;
  /** Broken or late PROXY header. */
  proxyHeaderRefused(): void;
  /** Null: it succeeded. */
  handshake(failure: HandshakeFailure | null): void;
  requestRefused(error: ProtocolError): void;
  fault(fault: unknown): void;
}

/** Connections of all listeners of a worker: the bound is theirs together, serial numbers are unique. */
export class ConnectionCount {
  active = 0;
  serial = 0;
}

export interface ListenerOptions {
  http: HttpConfig;
  deadlines: Deadlines;
  onRequest: RequestListener;
  meters: ListenerMeters;
  count: ConnectionCount;
  proxyProtocol: boolean;
  /** Null: cleartext. */
  tls: TlsServices | null;
}

const BACKLOG = 4096;

export class Listener implements ConnectionHost, HandshakeHost, ProxyHeaderHost {
  readonly http: HttpConfig;
  readonly deadlines: Deadlines;
  readonly onRequest: RequestListener;
  readonly onHttp2: ConnectionHost["onHttp2"];
  readonly #meters: ListenerMeters;
  readonly #count: ConnectionCount;
  readonly #proxyProtocol: boolean;
  readonly #tls: TlsServices | null;
  /** Connections whose PROXY header is not there yet. */
  readonly #unannounced = new Set<ProxyReader>();
  readonly #handshakes = new Set<Handshake>();
  readonly #server: Server;
  readonly #connections = new Set<OpenConnection>();
  #drained: (() => void) | null = null;

  constructor(options: ListenerOptions) {
    this.http = options.http;
    this.deadlines = options.deadlines;
    this.onRequest = options.onRequest;
    this.onHttp2 = options.http.http2 === null ? null : this.#takeOver;
    this.#meters = options.meters;
    this.#count = options.count;
    this.#proxyProtocol = options.proxyProtocol;
    this.#tls = options.tls;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true, keepAlive: true }, this.#onSocket);
  }

  /** Connections that are open now. */
  get active(): number {
    return this.#connections.size + this.#handshakes.size + this.#unannounced.size;
  }

  /** Resolves with the port once the socket listens; rejects with the system's error. */
  listen(target: ListenTarget): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...target, backlog: BACKLOG }, () => {
        this.#server.off("error", reject);
        // Later errors are of single accepts (no descriptor left, say): the next one may work.
        this.#server.on("error", (fault) => this.#meters.fault(fault));
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Accepts nothing more and lets what runs finish; resolves when no connection is left. */
  drain(): Promise<void> {
    if (this.#server.listening) this.#server.close();
    for (const connection of this.#connections) connection.drain();
    for (const reader of this.#unannounced) reader.drain();
    for (const handshake of this.#handshakes) handshake.drain();
    if (this.active === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const before = this.#drained;
      this.#drained = () => {
        before?.();
        resolve();
      };
    });
  }

  /** Ends everything at once. */
  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const connection of this.#connections) connection.destroy();
    for (const reader of this.#unannounced) {
      reader.destroy();
      this.#unannounced.delete(reader);
      this.#ended();
    }
    for (const handshake of this.#handshakes) {
      handshake.destroy();
      this.#handshakes.delete(handshake);
      this.#ended();
    }
  }

  readonly #onSocket = (socket: Socket): void => {
    if (this.#count.active >= this.http.maxConnectionsPerWorker) {
      this.#meters.overLimit();
      socket.destroy();
      return;
    }
    this.#count.active++;
    this.#meters.accepted();
    if (!this.#proxyProtocol) {
      this.#start(socket, null, null);
      return;
    }
    this.#unannounced.add(new ProxyReader(socket, this.deadlines, this.http.headerTimeoutMs, this));
  };

  onProxyHeader(reader: ProxyReader, socket: Socket, announcement: ProxyAnnouncement, rest: Buffer): void {
    this.#unannounced.delete(reader);
    this.#start(socket, announcement, rest);
  }

  onProxyFailed(reader: ProxyReader): void {
    this.#unannounced.delete(reader);
    this.#meters.proxyHeaderRefused();
    this.#ended();
  }

  #start(socket: Socket, announcement: ProxyAnnouncement | null, rest: Buffer | null): void {
    const proxyProtocolAddress = announcement?.source?.address ?? null;
    if (this.#tls === null) {
      this.#speak(socket, proxyProtocolAddress, null, rest);
      return;
    }
    const { remoteAddress = "", remotePort = 0 } = socket;
    const peer = { remoteAddress, remotePort, proxyProtocolAddress };
    const handshake = new Handshake(socket, peer, this.#tls, this);
    this.#handshakes.add(handshake);
    handshake.start(rest);
    if (!this.#server.listening) handshake.drain();
  }

  onSecure(handshake: Handshake, socket: Socket, tls: TlsConnection): void {
    this.#meters.handshake(null);
    this.#handshakes.delete(handshake);
    const { proxyProtocolAddress } = handshake.peer;
    if (tls.applicationProtocol !== "h2") this.#speak(socket, proxyProtocolAddress, tls, null);
    else
      this.#speakHttp2(socket, { serial: ++this.#count.serial, scheme: "https", tls, proxyProtocolAddress });
  }

  onFailed(handshake: Handshake, failure: HandshakeFailure): void {
    this.#meters.handshake(failure);
    this.#handshakes.delete(handshake);
    this.#ended();
  }

  #speak(
    socket: Socket,
    proxyProtocolAddress: string | null,
    tls: TlsConnection | null,
    rest: Buffer | null,
  ): void {
    const connection = new Http1ClientConnection(socket, this, {
      serial: ++this.#count.serial,
      scheme: tls === null ? "http" : "https",
      tls,
      proxyProtocolAddress,
    });
    this.#connections.add(connection);
    if (rest !== null && rest.length > 0) connection.onBytes(rest, rest.length);
    if (!this.#server.listening) connection.drain();
  }

  readonly #takeOver = (socket: Socket, rest: Buffer, from: OpenConnection & ConnectionFacts): void => {
    this.#connections.delete(from);
    socket.unshift(rest);
    this.#speakHttp2(socket, from);
  };

  #speakHttp2(socket: Socket, facts: ConnectionFacts): void {
    const connection = new Http2ClientConnection(socket, this, this.http.http2!, facts);
    this.#connections.add(connection);
    if (!this.#server.listening) connection.drain();
  }

  onRefused(error: ProtocolError): void {
    this.#meters.requestRefused(error);
  }

  onFault(fault: unknown): void {
    this.#meters.fault(fault);
  }

  onClosed(connection: OpenConnection): void {
    if (this.#connections.delete(connection)) this.#ended();
  }

  #ended(): void {
    this.#count.active--;
    this.#meters.ended();
    if (this.active === 0) this.#drained?.();
  }
}
