/**
 * One TCP port for stream routes: makes a session of each connection that its intake has taken in.
 *
 * Promises: `drain` stops accepting and resolves when the last connection has ended. It ends none by itself: there is no
 * moment at which a stream is between two requests.
 */

import type { Socket } from "node:net";
import type { AddressSet } from "../../lib/address.ts";
import { Intake, type IntakeHost, type IntakeOptions, type ListenTarget } from "../listen/intake.ts";
import type { ProxyAnnouncement } from "../listen/proxy-protocol.ts";
import type { HandshakeFailure, PeerFacts } from "../tls/handshake.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import type { Blocks } from "../configuration/blocks.ts";
import type { RelaySide } from "./relay.ts";
import type { StreamServices } from "./stream-life.ts";
import { type SessionHost, StreamSession } from "./stream-session.ts";

/** The bounds of `http` are those of all connections. */
export interface StreamListenerOptions extends Omit<IntakeOptions, "deadlines"> {
  services: StreamServices;
  /** "address:port" as configured; metrics and variables name it so. */
  name: string;
  proxyProtocolToUpstream: boolean;
  /** Peers whose PROXY header says who the client is; null: nobody's. */
  realIpFrom: AddressSet | null;
  /** Sessions of this port, for the gauge. */
  onActive(by: 1 | -1): void;
  onBytes(from: RelaySide, length: number): void;
}

/** A peer with what its PROXY header told. */
interface StreamPeer extends PeerFacts {
  readonly announced: { address: string; port: number } | null;
}

export class StreamListener implements IntakeHost<StreamPeer>, SessionHost {
  readonly proxyProtocolToUpstream: boolean;
  readonly #options: StreamListenerOptions;
  readonly #intake: Intake<StreamPeer>;
  readonly #sessions = new Set<StreamSession>();

  constructor(options: StreamListenerOptions) {
    this.#options = options;
    this.proxyProtocolToUpstream = options.proxyProtocolToUpstream;
    this.#intake = new Intake({ ...options, deadlines: options.services.deadlines }, this);
  }

  get open(): number {
    return this.#sessions.size;
  }

  /** Resolves with the port once the socket listens; rejects with the system's error. */
  listen(target: ListenTarget): Promise<number> {
    return this.#intake.listen(target);
  }

  /** A block came. */
  obey(blocks: Blocks): void {
    for (const session of this.#sessions) session.obey(blocks);
  }

  drain(): Promise<void> {
    this.#intake.stop();
    return this.#intake.whenEmpty();
  }

  /** Ends everything at once. */
  close(): void {
    this.#intake.close();
    for (const session of this.#sessions) session.destroy();
  }

  peerOf({ remoteAddress = "", remotePort = 0 }: Socket, announcement: ProxyAnnouncement | null): StreamPeer {
    const announced = announcement?.source ?? null;
    const proxyProtocolAddress = announced?.address ?? null;
    return { remoteAddress: withoutMapping(remoteAddress), remotePort, proxyProtocolAddress, announced };
  }

  /** There are no paths here that may go without a client certificate. */
  refusalOf(tls: TlsConnection): HandshakeFailure | null {
    const isUnverified = tls.certificate.mutual !== null && tls.verdict !== "SUCCESS";
    return isUnverified || !tls.admits(tls.serverName ?? "", "") ? "client-certificate" : null;
  }

  onConnection(socket: Socket, peer: StreamPeer, tls: TlsConnection | null, rest: Buffer | null): void {
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
    this.#intake.ended();
  }
}

/** As clients of IPv4 are known everywhere else. */
function withoutMapping(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
