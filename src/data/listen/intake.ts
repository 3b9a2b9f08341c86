/**
 * The way into a TCP port, whatever is spoken behind it: accepts connections, bounds their number, reads a PROXY header where
 * one is required, and makes the TLS handshake where there is one. Then the connection is its host's.
 *
 * Promises: gauges are exact (`accepted` once and `ended` once per connection, of those handed on when the host says so);
 * after `stop` nothing is accepted, and `whenEmpty` resolves when the last connection has ended.
 */

import { createServer, type Server, type Socket } from "node:net";
import type { HttpConfig } from "../../config/static-config.ts";
import type { Deadlines } from "../deadlines.ts";
import type { ProtocolError } from "../http1/errors.ts";
import {
  Handshake,
  type HandshakeFailure,
  type HandshakeHost,
  type PeerFacts,
  type TlsServices,
} from "../tls/handshake.ts";
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

export interface IntakeOptions {
  http: Pick<HttpConfig, "maxConnectionsPerWorker" | "headerTimeoutMs">;
  deadlines: Deadlines;
  meters: ListenerMeters;
  count: ConnectionCount;
  proxyProtocol: boolean;
  /** Null: no TLS. */
  tls: TlsServices | null;
}

/** Who takes the connections. */
export interface IntakeHost<Peer extends PeerFacts> {
  /** Connections that it has. */
  readonly open: number;
  /** `announcement`: null where no PROXY header is required. */
  peerOf(socket: Socket, announcement: ProxyAnnouncement | null): Peer;
  /** Why a client may not go on after its handshake; null: it may. */
  refusalOf(tls: TlsConnection): HandshakeFailure | null;
  /** `rest`: what was read behind the PROXY header. */
  onConnection(socket: Socket, peer: Peer, tls: TlsConnection | null, rest: Buffer | null): void;
}

const BACKLOG = 4096;

export class Intake<Peer extends PeerFacts> implements HandshakeHost, ProxyHeaderHost {
  readonly #options: IntakeOptions;
  readonly #host: IntakeHost<Peer>;
  readonly #server: Server;
  /** Connections whose PROXY header is not there yet. */
  readonly #unannounced = new Set<ProxyReader>();
  readonly #handshakes = new Set<Handshake>();
  #emptied: (() => void) | null = null;

  constructor(options: IntakeOptions, host: IntakeHost<Peer>) {
    this.#options = options;
    this.#host = host;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true, keepAlive: true }, this.#onSocket);
  }

  /** Connections that are open now, the host's among them. */
  get active(): number {
    return this.#host.open + this.#handshakes.size + this.#unannounced.size;
  }

  get isStopped(): boolean {
    return !this.#server.listening;
  }

  /** Resolves with the port once the socket listens; rejects with the system's error. */
  listen(target: ListenTarget): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...target, backlog: BACKLOG }, () => {
        this.#server.off("error", reject);
        // Later errors are of single accepts (no descriptor left, say): the next one may work.
        this.#server.on("error", (fault) => this.#options.meters.fault(fault));
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Accepts nothing more; who is not handed on yet has a little time. */
  stop(): void {
    if (this.#server.listening) this.#server.close();
    for (const reader of this.#unannounced) reader.drain();
    for (const handshake of this.#handshakes) handshake.drain();
  }

  /** Resolves when no connection is left; for an intake that is stopped. */
  whenEmpty(): Promise<void> {
    if (this.active === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#emptied;
    this.#emptied = () => {
      before?.();
      resolve();
    };
    return promise;
  }

  /** Ends all that is not handed on, and accepts nothing more. */
  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const reader of this.#unannounced) {
      reader.destroy();
      this.#unannounced.delete(reader);
      this.ended();
    }
    for (const handshake of this.#handshakes) {
      handshake.destroy();
      this.#handshakes.delete(handshake);
      this.ended();
    }
  }

  /** A connection that was handed on is over, and no longer among those of the host. */
  ended(): void {
    const { count, meters } = this.#options;
    count.active--;
    meters.ended();
    if (this.active === 0) this.#emptied?.();
  }

  readonly #onSocket = (socket: Socket): void => {
    const { http, deadlines, count, meters, proxyProtocol } = this.#options;
    if (count.active >= http.maxConnectionsPerWorker) {
      meters.overLimit();
      socket.destroy();
      return;
    }
    count.active++;
    meters.accepted();
    if (!proxyProtocol) this.#start(socket, null, null);
    else this.#unannounced.add(new ProxyReader(socket, deadlines, http.headerTimeoutMs, this));
  };

  onProxyHeader(reader: ProxyReader, socket: Socket, announcement: ProxyAnnouncement, rest: Buffer): void {
    this.#unannounced.delete(reader);
    this.#start(socket, announcement, rest);
  }

  onProxyFailed(reader: ProxyReader): void {
    this.#unannounced.delete(reader);
    this.#options.meters.proxyHeaderRefused();
    this.ended();
  }

  #start(socket: Socket, announcement: ProxyAnnouncement | null, rest: Buffer | null): void {
    const { tls } = this.#options;
    const peer = this.#host.peerOf(socket, announcement);
    if (tls === null) {
      this.#host.onConnection(socket, peer, null, rest);
      return;
    }
    const handshake = new Handshake(socket, peer, tls, this);
    this.#handshakes.add(handshake);
    handshake.start(rest);
    if (this.isStopped) handshake.drain();
  }

  onSecure(handshake: Handshake, socket: Socket, tls: TlsConnection): void {
    this.#handshakes.delete(handshake);
    const refusal = this.#host.refusalOf(tls);
    this.#options.meters.handshake(refusal);
    if (refusal === null) {
      this.#host.onConnection(socket, handshake.peer as Peer, tls, null);
      return;
    }
    socket.on("error", ignore);
    socket.destroy();
    this.ended();
  }

  onFailed(handshake: Handshake, failure: HandshakeFailure): void {
    this.#options.meters.handshake(failure);
    this.#handshakes.delete(handshake);
    this.ended();
  }
}

function ignore(): void {}
