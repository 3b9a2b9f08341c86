/**
 * Datagrams between one client (an address and a port) and one node: a connection of a stream route, as far as UDP knows any.
 *
 * Each datagram goes on as it came. Those that come before a node stands wait, a few of them; the session ends when nothing
 * came from either side for the timeout, or when the node's machine says that nobody listens.
 *
 * A confirmed session outlives its worker: the node, and the port from which it was asked, stand in shared memory, and the next
 * worker goes on with both. To the node nothing has changed then.
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

/** Where a session stood when its worker ended. */
interface Past {
  /** "address:port" */
  node: string;
  localPort: number;
}

/** A part of the idle time: how far what is remembered may lag behind. */
const REMEMBER_SHARE = 0.25;

export class UdpSession extends StreamLife {
  readonly #host: UdpSessionHost;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** The node has sent something. */
  #isAnswered = false;
  #isConfirmed = false;
  readonly #key: string;
  readonly #past: Past | null;
  #rememberedAt = 0;
  #isHandedOver = false;
  #node: Socket | null = null;
  #isConnected = false;
  #idleMs = 0;

  /** `first`: the datagram that it begins with. */
  constructor(facts: AcceptedFacts, first: Buffer, services: StreamServices, host: UdpSessionHost) {
    super(facts, services);
    this.#host = host;
    // Not one that a plugin would choose.
    this.#key = `\0udp ${facts.serverAddress} ${facts.serverPort} ${facts.peerAddress} ${facts.peerPort}`;
    this.#past = pastOf(services.memory.get(this.#key));
    this.#isConfirmed = this.#past !== null;
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
      this.#remember();
      this.#host.onConfirmed(this);
    }
    this.#forward(datagram);
  }

  /** Another client needs the place. */
  giveWay(): void {
    this.end(UNAVAILABLE);
  }

  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  /** The worker ends; the next one may go on with it. */
  handOver(): void {
    this.#isHandedOver = true;
    this.destroy();
  }

  protected override favourite(upstream: Upstream): UpstreamNode | null {
    const name = this.#past?.node;
    const node = upstream.nodes.find((each) => each.name === name && !each.isDown) ?? null;
    return node === null || upstream.isDrained(node) ? null : node;
  }

  protected connect(upstream: Upstream, node: UpstreamNode): void {
    this.#idleMs = upstream.config.timeout === undefined ? IDLE_MS : this.timeouts.idleMs;
    const socket = createSocket(isIPv6(node.address) ? "udp6" : "udp4");
    this.#node = socket;
    if (this.#past === null || this.#past.node !== node.name) return this.#connect(socket, node);
    socket.once("error", () => {
      // Somebody else has the port meanwhile.
      if (this.#node !== socket) return;
      this.#leaveNode();
      this.#node = createSocket(isIPv6(node.address) ? "udp6" : "udp4");
      this.#connect(this.#node, node);
    });
    socket.bind({ port: this.#past.localPort, exclusive: true }, () => {
      if (this.#node !== socket) return;
      socket.removeAllListeners("error");
      this.#connect(socket, node);
    });
  }

  #connect(socket: Socket, node: UpstreamNode): void {
    socket.on("error", this.#onNodeError);
    socket.on("connect", this.#onConnected);
    socket.on("message", this.#onReply);
    socket.connect(node.port, node.address);
  }

  readonly #onConnected = (): void => {
    if (this.isOver) return;
    this.connected();
    this.#isConnected = true;
    if (this.#isConfirmed) this.#remember();
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
    const now = this.services.deadlines.now();
    this.deadline = now + this.#idleMs;
    if (this.#isConfirmed && now - this.#rememberedAt > this.#idleMs * REMEMBER_SHARE) this.#remember();
  }

  #remember(): void {
    this.#rememberedAt = this.services.deadlines.now();
    const { port } = this.#node!.address();
    this.services.memory.set(this.#key, `${this.exchange.node!.name} ${port}`, this.#idleMs);
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
    if (this.#isConfirmed && !this.#isHandedOver) this.services.memory.delete(this.#key);
  }

  protected tellEnded(): void {
    this.#host.onEnded(this);
  }
}

function ignore(): void {}

function pastOf(text: unknown): Past | null {
  if (typeof text !== "string") return null;
  const [node, localPort] = text.split(" ");
  return { node, localPort: Number(localPort) };
}
