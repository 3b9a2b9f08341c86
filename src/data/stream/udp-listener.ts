/**
 * One UDP port for stream routes: tells datagrams apart by the client that they come from, each client a session.
 *
 * One worker of the node owns the port, so that all datagrams of a client meet the same session. Their number is bounded for
 * itself: whoever makes up addresses fills this table at most, and takes no place from connections. When it is full a new
 * client takes the place of the oldest session that is not confirmed; if all are, its datagram is lost. A drain ends all
 * of them at once: nothing says when datagrams are done.
 */

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { ConnectionCount, ListenerMeters } from "../listen/intake.ts";
import type { Blocks } from "../configuration/blocks.ts";
import type { RelaySide } from "./relay.ts";
import type { StreamServices } from "./stream-life.ts";
import { UdpSession, type UdpSessionHost } from "./udp-session.ts";

/** The sessions of all UDP ports of a worker: the bound is theirs together. */
export class UdpTable {
  readonly maxSessions: number;
  active = 0;
  /** Oldest first. */
  readonly unconfirmed = new Set<UdpSession>();

  constructor(maxSessions: number) {
    this.maxSessions = maxSessions;
  }

  /** False: there is no place, and none can be made. */
  makeRoom(): boolean {
    if (this.active < this.maxSessions) return true;
    const [oldest] = this.unconfirmed;
    if (oldest === undefined) return false;
    oldest.giveWay();
    return true;
  }
}

export interface UdpListenerOptions {
  table: UdpTable;
  services: StreamServices;
  meters: ListenerMeters;
  /** For serial numbers alone. */
  count: ConnectionCount;
  /** "address:port" as configured; metrics and variables name it so. */
  name: string;
  onActive(by: 1 | -1): void;
  onBytes(from: RelaySide, length: number): void;
}

/** Bytes that wait to be sent to clients; what comes on top is lost. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;

export class UdpListener implements UdpSessionHost {
  readonly #options: UdpListenerOptions;
  readonly #address: string;
  readonly #socket: Socket;
  /** By "port address" of the client. */
  readonly #sessions = new Map<string, UdpSession>();
  #port = 0;
  #isClosed = false;

  constructor(address: string, options: UdpListenerOptions) {
    this.#address = address;
    this.#options = options;
    // The worker that comes after a dead one, and the node that comes in an upgrade, bind while the other still may be.
    this.#socket = createSocket({
      type: isIPv6(address) ? "udp6" : "udp4",
      reuseAddr: true,
      ipv6Only: isIPv6(address),
    });
    this.#socket.on("message", this.#onMessage);
  }

  get active(): number {
    return this.#sessions.size;
  }

  /** Resolves with the port; rejects with the system's error. */
  async bind(port: number): Promise<number> {
    const socket = this.#socket;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("error", reject);
    socket.bind({ port, address: this.#address, exclusive: true }, resolve);
    await promise;
    socket.off("error", reject);
    // Later errors are of single datagrams that could not be sent.
    socket.on("error", (fault) => this.#options.meters.fault(fault));
    this.#port = socket.address().port;
    return this.#port;
  }

  /** A block came. */
  obey(blocks: Blocks): void {
    for (const session of this.#sessions.values()) session.obey(blocks);
  }

  /** Ends everything at once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const session of this.#sessions.values()) session.handOver();
    this.#socket.close();
  }

  readonly #onMessage = (datagram: Buffer, { address, port }: RemoteInfo): void => {
    // Permitted on the wire (RFC 768) for those who want no answer; none could be sent.
    if (port === 0) return;
    const known = this.#sessions.get(`${port} ${address}`);
    if (known === undefined) this.#open(datagram, address, port);
    else known.onDatagram(datagram);
  };

  #open(datagram: Buffer, address: string, port: number): void {
    const { count, table, meters, name, services } = this.#options;
    if (!table.makeRoom()) return meters.overLimit();
    table.active++;
    meters.accepted();
    const facts = {
      serial: ++count.serial,
      protocol: "UDP" as const,
      listenAddress: name,
      peerAddress: address,
      peerPort: port,
      serverAddress: this.#address,
      serverPort: this.#port,
      announced: null,
      isAnnouncementTrusted: false,
      tls: null,
    };
    const session = new UdpSession(facts, datagram, services, this);
    this.#sessions.set(`${port} ${address}`, session);
    if (!session.isConfirmed) table.unconfirmed.add(session);
    this.#options.onActive(1);
    session.begin();
  }

  reply(session: UdpSession, datagram: Buffer): void {
    if (this.#isClosed || this.#socket.getSendQueueSize() > MAX_QUEUED_BYTES) return;
    const { peerAddress, peerPort } = session.exchange.facts;
    this.#socket.send(datagram, peerPort, peerAddress);
  }

  onBytes(from: RelaySide, length: number): void {
    this.#options.onBytes(from, length);
  }

  onConfirmed(session: UdpSession): void {
    this.#options.table.unconfirmed.delete(session);
  }

  onEnded(session: UdpSession): void {
    const { peerAddress, peerPort } = session.exchange.facts;
    if (!this.#sessions.delete(`${peerPort} ${peerAddress}`)) return;
    const { table, meters, onActive } = this.#options;
    onActive(-1);
    table.active--;
    table.unconfirmed.delete(session);
    meters.ended();
  }
}
