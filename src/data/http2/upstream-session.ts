/**
 * One HTTP/2 connection to a node of an upstream, which many requests share, and all such connections of a worker.
 *
 * Promises: no more requests at the same time than the peer permits; a connection that says GOAWAY gets no new ones and
 * finishes what runs; one on which nothing is heard any more gets none either, and ends; an idle one closes in time; a node has at most `maxConnectionsPerNode` of them, whatever names clients
 * ask for.
 */

import type { ClientHttp2Session, ClientHttp2Stream, ClientSessionRequestOptions } from "node:http2";
import { connect as connectSocket, isIPv6, type Socket } from "node:net";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { UpstreamAttempt, type UpstreamTimeouts } from "../http1/upstream-attempt.ts";
import type { KeepAlive } from "../http1/upstream-connection.ts";
import type { UpstreamHandler, UpstreamTransport } from "../transport.ts";
import { handshakeFault } from "../upstream/secure/faults.ts";
import { MAX_HEAD_BYTES } from "./answer-fields.ts";
import { WITH_BLANKS } from "./field-blanks.ts";
import { Http2UpstreamAttempt } from "./upstream-attempt.ts";

/** Requests at the same time on one connection, whatever the peer permits; and until it has said so. */
const MAX_STREAMS = 100;
const STREAM_WINDOW_BYTES = 64 * 1024;
const CONNECTION_WINDOW_BYTES = 1024 * 1024;

/** As from upstreams that speak HTTP/1.1, and the status. */
const MAX_ANSWER_FIELDS = 257;

/** Who has not answered a request in time has as long for a PING. */
const PONG_MS = 5000;

/**
 * Frames that wait for a node that takes copies, and none of them: as many as a hundred copies have in one turn, and more.
 * Copies that are given up leave theirs behind, with nobody who would miss an answer.
 */
const MAX_WAITING_FRAMES = 1000;

/** Where a connection goes to, and how. */
export interface SessionTarget {
  /** Of the node, whose connections are bounded together: "grpc#10.0.0.1#80". */
  node: string;
  /** All that two connections must have in common to be interchangeable. */
  identity: string;
  address: string;
  port: number;
  /** Opens the socket of a connection with TLS, for ALPN "h2"; null: there is none. */
  secure: { openHttp2(address: string, port: number): Socket } | null;
  /** For copies of requests, which share no connection with requests. */
  isCopy: boolean;
}

export class UpstreamSession implements Deadlined {
  deadline = NEVER;
  readonly identity: string;
  readonly scheme: "http" | "https";
  readonly #isForCopies: boolean;
  isConnected = false;
  /** Why the connection failed; "" while it did not. */
  fault = "";
  /** Requests carried. */
  requests = 0;
  keepAlive: KeepAlive;
  readonly #session: ClientHttp2Session;
  #socket: Socket | null = null;
  readonly #attempts = new Set<Http2UpstreamAttempt>();
  readonly #deadlines: Deadlines;
  readonly #owner: SessionOwner;
  #isClosing = false;
  #idleDeadline = NEVER;
  /** Until then a doubt must be cleared, or the connection have ended. */
  #pongDeadline = NEVER;

  constructor(target: SessionTarget, keepAlive: KeepAlive, deadlines: Deadlines, owner: SessionOwner) {
    const { address, port, secure } = target;
    this.identity = target.identity;
    this.#isForCopies = target.isCopy;
    this.scheme = secure === null ? "http" : "https";
    this.keepAlive = keepAlive;
    this.#deadlines = deadlines;
    this.#owner = owner;
    const { connect } = process.getBuiltinModule("node:http2");
    const options = {
      createConnection: () =>
        (this.#socket = secure === null ? openPlain(address, port) : secure.openHttp2(address, port)),
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
      maxHeaderListPairs: MAX_ANSWER_FIELDS,
      maxSendHeaderBlockLength: MAX_HEAD_BYTES,
      // What clients repeat is passed on as it is: a throw in the middle of a stream would end the worker.
      strictSingleValueFields: false,
      ...WITH_BLANKS,
    };
    const session = connect(
      `${this.scheme}://${isIPv6(address) ? `[${address}]` : address}:${port}`,
      options,
    );
    this.#session = session;
    session.on("connect", () => this.#onConnect());
    session.on("error", (error: NodeJS.ErrnoException) => {
      this.fault ||= handshakeFault(error);
    });
    session.on("frameError", () => undefined);
    session.on("close", () => this.#onClose());
    deadlines.add(this);
  }

  get active(): number {
    return this.#attempts.size;
  }

  /** It has carried as many requests as it is to. */
  get isWorn(): boolean {
    const { requests } = this.keepAlive;
    return requests > 0 && this.requests >= requests;
  }

  /** It takes one more request. */
  get isUsable(): boolean {
    const session = this.#session;
    if (this.#isClosing || this.#pongDeadline !== NEVER || session.closed || session.destroyed) return false;
    const permitted = this.isConnected
      ? (session.remoteSettings?.maxConcurrentStreams ?? MAX_STREAMS)
      : MAX_STREAMS;
    return this.#attempts.size < Math.min(permitted, MAX_STREAMS);
  }

  begin(handler: UpstreamHandler, timeouts: UpstreamTimeouts): Http2UpstreamAttempt {
    this.requests++;
    this.#idleDeadline = NEVER;
    this.#arm();
    const attempt = new Http2UpstreamAttempt(this, handler, timeouts, this.#deadlines);
    this.#attempts.add(attempt);
    return attempt;
  }

  /** Null: the connection has ended since. */
  request(fields: string[], options: ClientSessionRequestOptions): ClientHttp2Stream | null {
    if (this.#session.closed || this.#session.destroyed) return null;
    return this.#session.request(fields, options);
  }

  /** The attempt is over, its stream too. */
  leave(attempt: Http2UpstreamAttempt): void {
    if (!this.#attempts.delete(attempt)) return;
    if (this.#isForCopies && (this.#session.state.outboundQueueSize ?? 0) > MAX_WAITING_FRAMES) this.doubt();
    if (this.#attempts.size > 0) return;
    // Nobody waits for it any more: whoever comes next had better try anew.
    if (!this.isConnected) this.close();
    else this.#owner.onIdle(this);
  }

  idleUntil(deadlineMs: number): void {
    this.#idleDeadline = deadlineMs;
    this.#arm();
  }

  /** It was not there in time: who comes next had better try anew, while others may still wait for this one. */
  giveUp(): void {
    this.#isClosing = true;
  }

  /** A request was not answered in time: is anybody there? What runs on a dead connection would all wait that long. */
  doubt(): void {
    if (this.#pongDeadline !== NEVER || !this.isConnected || this.#session.destroyed) return;
    this.#pongDeadline = this.#deadlines.now() + PONG_MS;
    this.#arm();
    this.#session.ping((error) => {
      if (error !== null) return;
      this.#pongDeadline = NEVER;
      this.#arm();
    });
  }

  /** Takes no more requests; what runs goes on. */
  close(): void {
    this.#isClosing = true;
    if (this.#attempts.size > 0) {
      this.#session.close();
      return;
    }
    this.#session.destroy();
    // Which waits for a write under way: for ever, where nobody reads.
    this.#idleDeadline = NEVER;
    this.#pongDeadline = this.#deadlines.now() + PONG_MS;
    this.#arm();
  }

  #arm(): void {
    this.deadline = Math.min(this.#idleDeadline, this.#pongDeadline);
  }

  onDeadline(nowMs: number): void {
    if (this.#pongDeadline <= nowMs) {
      this.fault ||= "the connection answers nothing any more";
      this.#session.destroy();
      this.#socket?.destroy();
      this.deadline = NEVER;
    } else if (this.#attempts.size === 0) this.close();
    else this.deadline = NEVER;
  }

  #onConnect(): void {
    // Node.js tells it of a session that was given up while its socket connected, too.
    if (this.#session.destroyed) return;
    this.isConnected = true;
    this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    for (const attempt of this.#attempts) attempt.onConnect();
  }

  #onClose(): void {
    this.#isClosing = true;
    this.deadline = NEVER;
    this.#deadlines.delete(this);
    this.#owner.onClosed(this);
  }
}

interface SessionOwner {
  /** Nothing runs on it. Keep it, or call `close`. */
  onIdle(session: UpstreamSession): void;
  onClosed(session: UpstreamSession): void;
}

export class UpstreamSessions {
  readonly #nodes = new Map<string, NodeSessions>();
  readonly #deadlines: Deadlines;
  readonly #maxPerNode: number;
  #keepsNone = false;

  constructor(deadlines: Deadlines, maxConnectionsPerNode: number) {
    this.#deadlines = deadlines;
    this.#maxPerNode = maxConnectionsPerNode;
  }

  /** Starts an attempt on a connection that takes one more request, or on a new one. */
  start(
    target: SessionTarget,
    handler: UpstreamHandler,
    timeouts: UpstreamTimeouts,
    keepAlive: KeepAlive,
  ): UpstreamTransport {
    const name = target.isCopy ? `copies#${target.node}` : target.node;
    let node = this.#nodes.get(name);
    if (node === undefined) {
      node = new NodeSessions(this.#deadlines, () => this.#nodes.delete(name));
      node.keepsNone = this.#keepsNone;
      this.#nodes.set(name, node);
    }
    const session = node.take(target, keepAlive, this.#maxPerNode);
    if (session !== null) return session.begin(handler, timeouts);
    const attempt = new UpstreamAttempt(null, handler, timeouts, false);
    attempt.failSoon(
      "overloaded",
      `${this.#maxPerNode} connections to ${target.address}:${target.port} are in use`,
    );
    return attempt;
  }

  count(): { open: number; idle: number } {
    let open = 0;
    let idle = 0;
    for (const { sessions } of this.#nodes.values()) {
      open += sessions.length;
      for (const { active } of sessions) if (active === 0) idle++;
    }
    return { open, idle };
  }

  /** For the drain of a worker. */
  closeIdle(): void {
    this.#keepsNone = true;
    for (const node of this.#nodes.values()) {
      node.keepsNone = this.#keepsNone;
      for (const session of node.sessions.slice()) session.close();
    }
  }
}

/** The connections to one node. */
class NodeSessions implements SessionOwner {
  readonly sessions: UpstreamSession[] = [];
  keepsNone = false;
  readonly #deadlines: Deadlines;
  readonly #onEmpty: () => void;

  constructor(deadlines: Deadlines, onEmpty: () => void) {
    this.#deadlines = deadlines;
    this.#onEmpty = onEmpty;
  }

  /** Null: the node has as many as it may, and none is idle. */
  take(target: SessionTarget, keepAlive: KeepAlive, maxSessions: number): UpstreamSession | null {
    let worn: UpstreamSession | null = null;
    for (const session of this.sessions) {
      if (session.identity !== target.identity || !session.isUsable) continue;
      session.keepAlive = keepAlive;
      if (!session.isWorn) return session;
      worn = session;
    }
    if (this.sessions.length >= maxSessions) {
      if (worn !== null) return worn;
      const idle = this.sessions.find(({ active }) => active === 0);
      if (idle === undefined) return null;
      idle.close();
    }
    const made = new UpstreamSession(target, keepAlive, this.#deadlines, this);
    this.sessions.push(made);
    return made;
  }

  onIdle(session: UpstreamSession): void {
    const { size, idleTimeoutMs } = session.keepAlive;
    if (this.keepsNone || size === 0 || session.isWorn) {
      session.close();
      return;
    }
    session.idleUntil(this.#deadlines.now() + idleTimeoutMs);
    const idle = this.sessions.filter(({ active }) => active === 0);
    if (idle.length > size) idle[0].close();
  }

  onClosed(session: UpstreamSession): void {
    const at = this.sessions.indexOf(session);
    if (at !== -1) this.sessions.splice(at, 1);
    if (this.sessions.length === 0) this.#onEmpty();
  }
}

function openPlain(address: string, port: number): Socket {
  return connectSocket({ host: address, port, noDelay: true, autoSelectFamily: false });
}
