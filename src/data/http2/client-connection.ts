/**
 * One HTTP/2 connection of a client, over a session of `node:http2`: takes its requests, bounds what it may do,
 * and decides when it ends.
 *
 * Promises: the same requests reach the exchange as over HTTP/1.1, each as a stream of its own; what a client can send
 * for nothing (resets, pings, settings, empty frames, endless header blocks) is bounded, and beyond it the connection
 * ends; every wait has a deadline; a drain says GOAWAY and lets what runs finish.
 * Leaves to nghttp2 the framing, HPACK and flow control, to `Http2ClientTransport` one request and its answer.
 */

import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Http2Config, HttpConfig } from "../../config/static-config.ts";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import type { PaceLimits } from "../http1/body-pace.ts";
import type { ConnectionFacts, ConnectionHost, OpenConnection } from "../http1/connection-host.ts";
import { ERRORS, type ProtocolError } from "../http1/errors.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import type { RequestHead } from "../transport.ts";
import { Http2ClientTransport, type StreamOwner } from "./client-transport.ts";
import { MAX_HEAD_BYTES } from "./answer-fields.ts";
import { WITH_BLANKS } from "./field-blanks.ts";
import { FrameBudget } from "./frame-budget.ts";
import { isProtocolError, readHead } from "./head.ts";
import { queuedBytes } from "./queued-bytes.ts";
import { RefusedStream } from "./refused-stream.ts";
import { isGrpcType } from "./request-fields.ts";

/** RFC 9113 section 7. */
const ENHANCE_YOUR_CALM = 11;
/** Flag of the frame that ends a stream. */
const END_STREAM = 1;

/** Requests that a client may break off: a browser drops a page full of pictures at once, but not for ever. */
const BREAK_BURST = 200;
const BREAKS_PER_SECOND = 33;
/** Many calls on one connection, some of which are cancelled, are no flood: each answer permits one more. */
const MAX_EARNED_BREAKS = 1000;
/**
 * nghttp2 counts every RST_STREAM, also of who has its answer and says that it sends no more of its request, as clients of gRPC do:
 * it is left to bound frames that reach nobody here.
 */
const RESET_BURST = 10_000;
const RESETS_PER_SECOND = 10_000;
/** PING and SETTINGS, each of which is answered. */
const CONTROL_BURST = 100;
const CONTROLS_PER_SECOND = 10;
/** Clients of gRPC measure the path with a PING for every flight of an answer: as many bytes of it permit one more. */
const BYTES_PER_CONTROL = 16 * 1024;
const MAX_EARNED_CONTROLS = 10_000;

/** What clients may send ahead: on one stream, and on all of a connection together. */
const STREAM_WINDOW_BYTES = 64 * 1024;
const CONNECTION_WINDOW_BYTES = 1024 * 1024;

/** Size of a header list counts so much more for each field than ours does (RFC 9113 10.5.1). */
const FIELD_OVERHEAD_BYTES = 32;
/** Cookies come in crumbs and count as one field afterwards. */
const PAIRS_PER_FIELD = 2;
const PSEUDO_FIELDS = 8;

/** How long we wait for a client to close after the last answer. */
const LINGER_MS = 5000;

export class Http2ClientConnection implements StreamOwner, OpenConnection, Deadlined {
  deadline = NEVER;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly proxyProtocolAddress: string | null;
  readonly scheme: "http" | "https";
  readonly tls: TlsConnection | null;
  readonly serial: number;
  readonly http: HttpConfig;
  readonly deadlines: Deadlines;
  requests = 0;
  readonly heldOpen: PaceLimits;
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  readonly #session: ServerHttp2Session;
  readonly #breaks: FrameBudget;
  readonly #controls: FrameBudget;
  #earnedBreaks = 0;
  #earnedControls = 0;
  #queuedBytes = 0;
  #movedAtMs = 0;
  #streams = 0;
  #isClosing = false;
  #isCalmed = false;

  /** Bytes that were read already stand in the socket again (`unshift`). */
  constructor(socket: Socket, host: ConnectionHost, limits: Http2Config, facts: ConnectionFacts) {
    const { http, deadlines } = host;
    this.#host = host;
    this.#socket = socket;
    this.http = http;
    this.heldOpen = { bodyTimeoutMs: http.tunnelIdleTimeoutMs, minBodyBytesPerSecond: 0 };
    this.deadlines = deadlines;
    this.remoteAddress = socket.remoteAddress ?? "";
    this.remotePort = socket.remotePort ?? 0;
    this.localAddress = socket.localAddress ?? "";
    this.localPort = socket.localPort ?? 0;
    this.proxyProtocolAddress = facts.proxyProtocolAddress ?? this.remoteAddress;
    this.scheme = facts.scheme;
    this.tls = facts.tls;
    this.serial = facts.serial;
    const now = deadlines.now();
    this.#breaks = new FrameBudget(BREAK_BURST, BREAKS_PER_SECOND, now);
    this.#controls = new FrameBudget(CONTROL_BURST, CONTROLS_PER_SECOND, now);
    socket.on("error", ignore);
    socket.on("close", this.#onClose);
    socket.on("end", this.#onEnd);
    const session = process.getBuiltinModule("node:http2").performServerHandshake(socket, {
      settings: {
        enablePush: false,
        maxConcurrentStreams: limits.maxConcurrentStreams,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxHeaderListSize: http.maxHeaderBytes + FIELD_OVERHEAD_BYTES * (http.maxHeaders + PSEUDO_FIELDS),
      },
      maxSendHeaderBlockLength: MAX_HEAD_BYTES,
      maxHeaderListPairs: http.maxHeaders * PAIRS_PER_FIELD + PSEUDO_FIELDS,
      maxSessionRejectedStreams: limits.maxConcurrentStreams,
      maxSessionInvalidFrames: CONTROL_BURST,
      streamResetBurst: RESET_BURST,
      streamResetRate: RESETS_PER_SECOND,
      // What upstreams repeat is passed on as it is.
      strictSingleValueFields: false,
      ...WITH_BLANKS,
    });
    this.#session = session;
    session.on("error", ignore);
    session.on("frameError", ignore);
    session.on("stream", this.#onStream);
    session.on("ping", this.#onControl);
    session.on("remoteSettings", this.#onControl);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    deadlines.add(this);
    this.#awaitRequest();
  }

  /** Says GOAWAY: what runs finishes, what comes later goes to another connection. */
  drain(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#session.close();
    if (this.#streams === 0) this.deadline = this.deadlines.now() + LINGER_MS;
  }

  destroy(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  onFault(fault: unknown): void {
    this.#host.onFault(fault);
  }

  readonly #onStream = (
    stream: ServerHttp2Stream,
    _headers: unknown,
    flags: number,
    fields?: readonly string[],
  ): void => {
    stream.on("error", ignore);
    // Reset before it was looked at.
    if (stream.destroyed || stream.closed) {
      this.requestBroken();
      return;
    }
    this.#streams++;
    this.deadline = NEVER;
    const hasEnded = (flags & END_STREAM) !== 0;
    const head = readHead(fields!, hasEnded, this.http);
    if (isProtocolError(head)) this.#refuse(stream, head, hasEnded, isCall(fields!));
    else if (this.http.maxBodyBytes > 0 && head.bodyLength > this.http.maxBodyBytes)
      this.#refuse(stream, ERRORS.bodyTooLarge, hasEnded, isCall(fields!));
    else this.#begin(stream, head);
  };

  #begin(stream: ServerHttp2Stream, head: RequestHead): void {
    this.requests++;
    // An empty body has an end, too, which would keep the stream: Node.js reads it once the stream has closed, unless nobody
    // ever asked. Read now, it would have the stream destroyed before its last write is done, which makes an error of it
    // each time (a tenth of the CPU of a request).
    if (head.bodyLength === 0) stream.pause();
    const transport = new Http2ClientTransport(this, stream, head);
    try {
      transport.begin(this.#host.onRequest(transport, head));
    } catch (fault) {
      this.#host.onFault(fault);
      transport.fail(ERRORS.internal);
    }
    if (this.requests >= this.http.maxRequestsPerConnection) this.drain();
  }

  #refuse(stream: ServerHttp2Stream, error: ProtocolError, hasEnded: boolean, isCall: boolean): void {
    this.#host.onRefused(error);
    // eslint-disable-next-line no-new -- it lives by its listener on the stream
    new RefusedStream(this, stream, error, { hasEnded, isCall });
  }

  streamClosed(): void {
    if (--this.#streams > 0) return;
    if (this.#isClosing) this.deadline = this.deadlines.now() + LINGER_MS;
    else this.#awaitRequest();
  }

  requestBroken(): void {
    if (this.#earnedBreaks > 0) this.#earnedBreaks--;
    else if (!this.#breaks.take(this.deadlines.now())) this.#calm();
  }

  requestAnswered(): void {
    if (this.#earnedBreaks < MAX_EARNED_BREAKS) this.#earnedBreaks++;
  }

  isMoving(sinceMs: number): boolean {
    const bytes = queuedBytes(this.#socket);
    if (bytes !== this.#queuedBytes) {
      this.#queuedBytes = bytes;
      this.#movedAtMs = this.deadlines.now();
    }
    return bytes > 0 && this.#movedAtMs > sinceMs;
  }

  answerSent(bytes: number): void {
    const earned = this.#earnedControls + 1 + bytes / BYTES_PER_CONTROL;
    this.#earnedControls = Math.min(earned, MAX_EARNED_CONTROLS);
  }

  readonly #onControl = (): void => {
    if (this.#earnedControls >= 1) this.#earnedControls--;
    else if (!this.#controls.take(this.deadlines.now())) this.#calm();
  };

  /** It does too much for nothing: the connection ends, with the reason. */
  #calm(): void {
    if (this.#isCalmed) return;
    this.#isCalmed = true;
    this.#isClosing = true;
    this.deadline = this.deadlines.now() + LINGER_MS;
    // Not from within a call of nghttp2.
    process.nextTick(endWithReason, this.#session);
  }

  /** Who ends its side has left, as nginx sees it: what runs for it is broken off. */
  readonly #onEnd = (): void => this.destroy();

  readonly #onClose = (): void => {
    this.deadline = NEVER;
    this.deadlines.delete(this);
    this.#host.onClosed(this);
  };

  #awaitRequest(): void {
    this.deadline = this.deadlines.now() + this.http.idleTimeoutMs;
  }

  onDeadline(): void {
    if (this.#isClosing) this.destroy();
    else this.drain();
  }
}

/** The fields may be wrong in every way. */
function isCall(fields: readonly string[]): boolean {
  const at = fields.indexOf("content-type");
  return at !== -1 && at % 2 === 0 && isGrpcType(fields[at + 1] ?? "");
}

function endWithReason(session: ServerHttp2Session): void {
  if (!session.destroyed) session.destroy(new Error("more frames than a client may send"), ENHANCE_YOUR_CALM);
}

/** "close" follows; what the error was changes nothing for a client that is gone. */
function ignore(): void {
  // Nothing to do.
}
