/**
 * One TCP connection of a stream route: its two sockets. Waits for first bytes while plugins look, connects to the node that
 * `stream-life.ts` chose, and joins the two until both are closed or silent.
 *
 * Every wait has a deadline: plugins for the client's first bytes, the connect, and silence in both directions.
 */

import type { Socket } from "node:net";
import { NEVER } from "../deadlines.ts";
import { cutOff } from "../listen/socket-ends.ts";
import type { UpstreamNode } from "../upstream/node.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { FirstBytes } from "./first-bytes.ts";
import { proxyHeader } from "./proxy-header.ts";
import { Relay, type RelayHost, type RelaySide } from "./relay.ts";
import type { AcceptedFacts } from "./stream-exchange.ts";
import { CLIENT_FAULT, CLOSED, NODE_FAULT, StreamLife, type StreamServices } from "./stream-life.ts";

export interface SessionHost {
  readonly proxyProtocolToUpstream: boolean;
  /** So many bytes passed from that side to the other. */
  onBytes(from: RelaySide, length: number): void;
  onEnded(session: StreamSession): void;
}

/** How long plugins wait for the client's first bytes, all their questions together, as nginx has it. */
const PREREAD_MS = 30_000;
/** What TLS to a node is done under when the client named no server, as APISIX has it. */
const NAMELESS = "apisix_backend";

export class StreamSession extends StreamLife implements RelayHost {
  readonly #client: Socket;
  readonly #host: SessionHost;
  readonly #first: FirstBytes;
  #node: Socket | null = null;
  #relay: Relay | null = null;
  #idleMs = 0;
  /** Until when plugins may wait for first bytes; 0: none has asked. */
  #peekDeadline = 0;
  /** What went wrong with a socket, before both were closed; 0: nothing. */
  #fault = 0;

  /** `rest`: what was read of the client already. Begins with `begin`. */
  constructor(
    client: Socket,
    rest: Buffer | null,
    facts: AcceptedFacts,
    services: StreamServices,
    host: SessionHost,
  ) {
    super(facts, services);
    this.#client = client;
    this.#host = host;
    this.#first = new FirstBytes(client, rest);
    client.on("error", this.#onClientError);
    client.on("close", this.#onClientClose);
  }

  peek(length: number): Promise<Buffer | null> {
    if (this.isOver || this.#relay !== null) return Promise.resolve(null);
    if (this.#peekDeadline === 0) this.#peekDeadline = this.services.deadlines.now() + PREREAD_MS;
    this.deadline = this.#peekDeadline;
    return this.#first.peek(length);
  }

  protected connect(upstream: Upstream, node: UpstreamNode): void {
    const name = this.exchange.facts.tls?.hello.serverName ?? NAMELESS;
    const { socket, readyEvent } = upstream.openRaw(node, name);
    this.#node = socket;
    socket.on("error", this.#onNodeError);
    socket.once(readyEvent, this.#onConnected);
  }

  readonly #onConnected = (): void => {
    if (this.isOver) return;
    const { exchange } = this;
    const node = this.#node!;
    this.connected();
    this.nodeIsThere();
    node.off("error", this.#onNodeError);
    this.#client.off("error", this.#onClientError);
    this.#client.off("close", this.#onClientClose);
    if (this.#host.proxyProtocolToUpstream) node.write(proxyHeader(exchange));
    const first = this.#first.take();
    if (first.length > 0) node.write(first);
    this.#idleMs = this.timeouts.idleMs;
    this.onBytes("client", first.length);
    this.#relay = new Relay(this.#client, node, this);
    this.#relay.start();
  };

  readonly #onNodeError = (error: Error): void => {
    if (this.isOver) return;
    const fields = { node: this.exchange.node!.name, error: error.message };
    this.services.log.warn("connection to a node failed", fields);
    this.#leaveNode();
    this.failed("refused");
  };

  #leaveNode(): void {
    const socket = this.#node!;
    this.#node = null;
    // Whatever it still says is of the attempt that was.
    socket.off("error", this.#onNodeError);
    socket.on("error", ignore);
    socket.destroy();
  }

  onBytes(from: RelaySide, length: number): void {
    const { exchange } = this;
    if (from === "client") {
      exchange.bytesReceived += length;
      exchange.upstreamBytesSent += length;
    } else {
      exchange.bytesSent += length;
      exchange.upstreamBytesReceived += length;
    }
    this.#host.onBytes(from, length);
    this.deadline = this.services.deadlines.now() + this.#idleMs;
  }

  onBroken(side: RelaySide): void {
    if (this.#fault === 0) this.#fault = side === "client" ? CLIENT_FAULT : NODE_FAULT;
  }

  onEnd(): void {
    this.end(this.#fault === 0 ? CLOSED : this.#fault);
  }

  onDeadline(): void {
    if (this.#relay !== null) this.end(NODE_FAULT);
    else if (this.#first.isAwaited) {
      this.deadline = NEVER;
      this.#first.giveUp();
    } else if (this.#node !== null) {
      this.#leaveNode();
      this.failed("connect-timeout");
    } else this.deadline = NEVER;
  }

  readonly #onClientError = (): void => {
    this.#fault = CLIENT_FAULT;
  };

  /** Before a node stands; after that, the relay looks. */
  readonly #onClientClose = (): void => this.onEnd();

  protected release(): void {
    this.#first.giveUp();
    if (this.#relay !== null) return this.#relay.cut();
    cutOff(this.#client);
    if (this.#node !== null) cutOff(this.#node);
  }

  protected tellEnded(): void {
    this.#host.onEnded(this);
  }
}

function ignore(): void {}
