/**
 * One TCP port for stream routes: accepts connections, bounds their number, reads a PROXY header and does TLS where they are
 * asked for, and gives each to a session.
 *
 * Promises: gauges are exact (`accepted` once and `ended` once per connection); `drain` stops accepting and resolves when the
 * last connection has ended. It ends none by itself: there is no moment at which a stream is between two requests.
 */

import { createServer, type Server, type Socket } from "node:net";
import type { HttpConfig } from "../../config/static-config.ts";
import type { AddressSet } from "../../lib/address.ts";
import type { ConnectionCount, ListenerMeters, ListenTarget } from "../listen/listener.ts";
import type { ProxyAnnouncement } from "../listen/proxy-protocol.ts";
import { type ProxyHeaderHost, ProxyReader } from "../listen/proxy-reader.ts";
import {
  Handshake,
  type HandshakeFailure,
  type HandshakeHost,
  type PeerFacts,
  type TlsServices,
} from "../tls/handshake.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import type { Blocks } from "../configuration/blocks.ts";
import type { RelaySide } from "./relay.ts";
import type { StreamServices } from "./stream-life.ts";
import { type SessionHost, StreamSession } from "./stream-session.ts";

export interface StreamListenerOptions {
  /** For its bounds and deadlines, which are those of all connections. */
  http: Pick<HttpConfig, "maxConnectionsPerWorker" | "headerTimeoutMs">;
  services: StreamServices;
  meters: ListenerMeters;
  count: ConnectionCount;
  /** "address:port" as configured; metrics and variables name it so. */
  name: string;
  proxyProtocol: boolean;
  proxyProtocolToUpstream: boolean;
  /** Peers whose PROXY header says who the client is; null: nobody's. */
  realIpFrom: AddressSet | null;
  /** Null: bytes pass as they come. */
  tls: TlsServices | null;
  /** Sessions of this port, for the gauge. */
  onActive(by: 1 | -1): void;
  onBytes(from: RelaySide, length: number): void;
}

/** A peer with what its PROXY header told. */
interface StreamPeer extends PeerFacts {
  readonly announced: { address: string; port: number } | null;
}

const BACKLOG = 4096;

export class StreamListener implements HandshakeHost, ProxyHeaderHost, SessionHost {
  readonly proxyProtocolToUpstream: boolean;
  readonly #options: StreamListenerOptions;
  readonly #server: Server;
  /** Connections whose PROXY header is not there yet. */
  readonly #unannounced = new Set<ProxyReader>();
  readonly #handshakes = new Set<Handshake>();
  readonly #sessions = new Set<StreamSession>();
  #drained: (() => void) | null = null;

  constructor(options: StreamListenerOptions) {
    this.#options = options;
    this.proxyProtocolToUpstream = options.proxyProtocolToUpstream;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true, keepAlive: true }, this.#onSocket);
  }

  /** Connections that are open now. */
  get active(): number {
    return this.#sessions.size + this.#handshakes.size + this.#unannounced.size;
  }

  /** Resolves with the port once the socket listens; rejects with the system's error. */
  listen(target: ListenTarget): Promise<number> {
    const { meters } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ ...target, backlog: BACKLOG }, () => {
        this.#server.off("error", reject);
        // Later errors are of single accepts: the next one may work.
        this.#server.on("error", (fault) => meters.fault(fault));
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** A block came. */
  obey(blocks: Blocks): void {
    for (const session of this.#sessions) session.obey(blocks);
  }

  drain(): Promise<void> {
    if (this.#server.listening) this.#server.close();
    for (const reader of this.#unannounced) reader.drain();
    for (const handshake of this.#handshakes) handshake.drain();
    if (this.active === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#drained;
    this.#drained = () => {
      before?.();
      resolve();
    };
    return promise;
  }

  /** Ends everything at once. */
  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const session of this.#sessions) session.destroy();
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
    const { http, count, meters, proxyProtocol, services } = this.#options;
    if (count.active >= http.maxConnectionsPerWorker) {
      meters.overLimit();
      socket.destroy();
      return;
    }
    count.active++;
    meters.accepted();
    if (!proxyProtocol) return this.#start(socket, null, null);
    this.#unannounced.add(new ProxyReader(socket, services.deadlines, http.headerTimeoutMs, this));
  };

  onProxyHeader(reader: ProxyReader, socket: Socket, announcement: ProxyAnnouncement, rest: Buffer): void {
    this.#unannounced.delete(reader);
    this.#start(socket, announcement, rest);
  }

  onProxyFailed(reader: ProxyReader): void {
    this.#unannounced.delete(reader);
    this.#options.meters.proxyHeaderRefused();
    this.#ended();
  }

  #start(socket: Socket, announcement: ProxyAnnouncement | null, rest: Buffer | null): void {
    const announced = announcement?.source ?? null;
    const peer: StreamPeer = {
      remoteAddress: withoutMapping(socket.remoteAddress ?? ""),
      remotePort: socket.remotePort ?? 0,
      proxyProtocolAddress: announced?.address ?? null,
      announced,
    };
    const { tls } = this.#options;
    if (tls === null) return this.#begin(socket, peer, null, rest);
    const handshake = new Handshake(socket, peer, tls, this);
    this.#handshakes.add(handshake);
    handshake.start(rest);
    if (!this.#server.listening) handshake.drain();
  }

  onSecure(handshake: Handshake, socket: Socket, tls: TlsConnection): void {
    this.#handshakes.delete(handshake);
    // There are no paths here that may go without a client certificate.
    const isUnverified = tls.certificate.mutual !== null && tls.verdict !== "SUCCESS";
    if (isUnverified || !tls.admits(tls.serverName ?? "", "")) {
      this.#options.meters.handshake("client-certificate");
      socket.on("error", ignore);
      socket.destroy();
      this.#ended();
      return;
    }
    this.#options.meters.handshake(null);
    this.#begin(socket, handshake.peer as StreamPeer, tls, null);
  }

  onFailed(handshake: Handshake, failure: HandshakeFailure): void {
    this.#options.meters.handshake(failure);
    this.#handshakes.delete(handshake);
    this.#ended();
  }

  #begin(socket: Socket, peer: StreamPeer, tls: TlsConnection | null, rest: Buffer | null): void {
    const { name, realIpFrom, services, count } = this.#options;
    const facts = {
      serial: ++count.serial,
      protocol: "TCP" as const,
      listenAddress: name,
      peerAddress: peer.remoteAddress,
      peerPort: peer.remotePort,
      serverAddress: withoutMapping(socket.localAddress ?? ""),
      serverPort: socket.localPort ?? 0,
      announced: peer.announced,
      isAnnouncementTrusted: realIpFrom !== null && realIpFrom.has(peer.remoteAddress),
      tls,
    };
    const session = new StreamSession(socket, rest, facts, services, this);
    this.#sessions.add(session);
    this.#options.onActive(1);
    session.begin();
  }

  onBytes(from: RelaySide, length: number): void {
    this.#options.onBytes(from, length);
  }

  onEnded(session: StreamSession): void {
    if (!this.#sessions.delete(session)) return;
    this.#options.onActive(-1);
    this.#ended();
  }

  #ended(): void {
    const { count, meters } = this.#options;
    count.active--;
    meters.ended();
    if (this.active === 0) this.#drained?.();
  }
}

function ignore(): void {}

/** As clients of IPv4 are known everywhere else. */
function withoutMapping(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
