/**
 * Datagrams between one client (an address and a port) and one node: a connection of a stream route, as far as UDP knows any.
 *
 * Each datagram goes on as it came. Those that come before a node stands wait, a few of them; the session ends when nothing
 * came from either side for the timeout, or when the node's machine says that nobody listens.
 *
 * Whoever sends a datagram may write any address as its own. A client that goes on after an answer has shown that answers
 * reach it: its session is confirmed, and does not have to make room for others.
 */

import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { UpstreamNode } from "../upstream/node.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { RelaySide } from "./relay.ts";
import type { AcceptedFacts } from "./stream-exchange.ts";
import { CLOSED, NODE_FAULT, StreamLife, type StreamServices, UNAVAILABLE } from "./stream-life.ts";

export interface UdpSessionHost {
  /** Sends to the client of the session. */
  reply(session: UdpSession, datagram: Buffer): void;
  onBytes(from: RelaySide, length: number): void;
  /** Once, if ever. */
  onConfirmed(session: UdpSession): void;
  onEnded(session: UdpSession): void;
}

/** Where the upstream has no `timeout`: far below that of TCP, since every port that a client asks from is a session. */
const IDLE_MS = 60_000;
/** Datagrams, and bytes of them, that wait for a node; more are lost, as the network loses them. The first always waits. */
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 32 * 1024;
/** Bytes that wait in the system's or Node's queue towards a node; what comes on top is lost. */
const MAX_QUEUED_BYTES = 1024 * 1024;

export class UdpSession extends StreamLife {
  readonly #host: UdpSessionHost;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** The node has sent something. */
  #isAnswered = false;
  #isConfirmed = false;
  #node: Socket | null = null;
  #isConnected = false;
  #idleMs = 0;

  /** `first`: the datagram that it begins with. */
  constructor(facts: AcceptedFacts, first: Buffer, services: StreamServices, host: UdpSessionHost) {
    super(facts, services);
    this.#host = host;
    this.#wait(first);
  }

  #wait(datagram: Buffer): void {
    this.#waiting.push(datagram);
    this.#waitingBytes += datagram.length;
  }

  /** All there will be is the first datagram. */
  peek(length: number): Promise<Buffer | null> {
    const [first] = this.#waiting;
    return Promise.resolve(first !== undefined && length <= first.length ? first : null);
  }

  /** One more from the client. */
  onDatagram(datagram: Buffer): void {
    if (!this.#isConnected) {
      const hasRoom = this.#waitingBytes + datagram.length <= MAX_WAITING_BYTES;
      if (hasRoom && this.#waiting.length < MAX_WAITING) this.#wait(datagram);
      return;
    }
    if (this.#isAnswered && !this.#isConfirmed) {
      this.#isConfirmed = true;
      this.#host.onConfirmed(this);
    }
    this.#forward(datagram);
  }

  /** Another client needs the place. */
  giveWay(): void {
    this.end(UNAVAILABLE);
  }

  protected connect(upstream: Upstream, node: UpstreamNode): void {
    this.#idleMs = upstream.config.timeout === undefined ? IDLE_MS : this.timeouts.idleMs;
    const socket = createSocket(isIPv6(node.address) ? "udp6" : "udp4");
    this.#node = socket;
    socket.on("error", this.#onNodeError);
    socket.on("connect", this.#onConnected);
    socket.on("message", this.#onReply);
    socket.connect(node.port, node.address);
  }

  readonly #onConnected = (): void => {
    if (this.isOver) return;
    this.connected();
    this.#isConnected = true;
    for (const datagram of this.#waiting) this.#forward(datagram);
    this.#waiting.length = 0;
  };

  #forward(datagram: Buffer): void {
    const node = this.#node!;
    if (node.getSendQueueSize() > MAX_QUEUED_BYTES) return;
    const { exchange } = this;
    exchange.bytesReceived += datagram.length;
    exchange.upstreamBytesSent += datagram.length;
    this.#host.onBytes("client", datagram.length);
    this.#touch();
    node.send(datagram);
  }

  readonly #onReply = (datagram: Buffer): void => {
    if (this.isOver) return;
    const { exchange } = this;
    if (!this.#isAnswered) {
      this.#isAnswered = true;
      this.nodeIsThere();
    }
    exchange.bytesSent += datagram.length;
    exchange.upstreamBytesReceived += datagram.length;
    this.#host.onBytes("node", datagram.length);
    this.#touch();
    this.#host.reply(this, datagram);
  };

  #touch(): void {
    this.deadline = this.services.deadlines.now() + this.#idleMs;
  }

  /** Before the node stands: no socket for it. After that: nobody listens there, or the network does not lead to it. */
  readonly #onNodeError = (error: Error): void => {
    if (this.isOver) return;
    this.services.log.warn("datagrams do not reach a node", {
      node: this.exchange.node!.name,
      error: error.message,
    });
    if (this.#isConnected) {
      this.nodeIsNotThere();
      return this.end(NODE_FAULT);
    }
    this.#leaveNode();
    this.failed("refused");
  };

  onDeadline(): void {
    if (this.#isConnected || this.#node === null) return this.end(CLOSED);
    this.#leaveNode();
    this.failed("connect-timeout");
  }

  #leaveNode(): void {
    const socket = this.#node;
    this.#node = null;
    if (socket === null) return;
    socket.removeAllListeners();
    socket.on("error", ignore);
    socket.close();
  }

  protected release(): void {
    this.#isConnected = false;
    this.#waiting.length = 0;
    this.#leaveNode();
  }

  protected tellEnded(): void {
    this.#host.onEnded(this);
  }
}

function ignore(): void {}
