/**
 * One request on an HTTP/2 connection of a client: the `ClientTransport` over one stream of `node:http2`.
 *
 * Promises: an answer has the length that its head announced, or the stream is reset; a body that its client did not
 * complete never looks complete; after the end of the answer, or of the stream, every call does nothing.
 * Leaves to `Http2ClientConnection`: which requests are taken, and the fate of the connection.
 */

import type { ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { HttpConfig } from "../../config/static-config.ts";
import type { HeaderList } from "../../lib/headers.ts";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { BodyPace, type PaceLimits } from "../http1/body-pace.ts";
import { abortReason, ERRORS, type ProtocolError } from "../http1/errors.ts";
import { WriteWatch } from "../http1/write-watch.ts";
import {
  type ClientConnection,
  type ClientHandler,
  type ClientTransport,
  type RequestHead,
  UNKNOWN_LENGTH,
} from "../transport.ts";
import { asObject, fieldBytes, headFields, trailerFields } from "./answer-fields.ts";
import { respondError } from "./error-answer.ts";
import { isProtocolError, readTrailers } from "./head.ts";
import { isGrpcType } from "./request-fields.ts";
import { gatherWhilePaused, giveGathered } from "./small-frames.ts";

/** RFC 9113 section 7. */
const NO_ERROR = 0;

const BROKEN_OFF = new Error("the answer was broken off");

/** Progress of a slow reader is seen by the piece. */
const PIECE_BYTES = 64 * 1024;

const EMPTY_SECTION: readonly string[] = [];

/** What a transport needs of its connection. */
export interface StreamOwner extends ClientConnection {
  readonly http: HttpConfig;
  /** Of bodies that are one side of a conversation. */
  readonly heldOpen: PaceLimits;
  readonly deadlines: Deadlines;
  onFault(fault: unknown): void;
  /** The client, or its faults, ended a request that was under way. */
  requestBroken(): void;
  /** A whole answer is written. */
  requestAnswered(): void;
  /** Bytes wait in the socket, and some have left it since then: who waits behind them is not stuck. */
  isMoving(sinceMs: number): boolean;
  /** A part of an answer's body is on its way. */
  answerSent(bytes: number): void;
  streamClosed(): void;
}

/** The listeners below are shared by all streams: none is built per request. */
const TRANSPORT = Symbol("transport");

type BoundStream = ServerHttp2Stream & { [TRANSPORT]: Http2ClientTransport };

export class Http2ClientTransport implements ClientTransport, Deadlined {
  deadline = NEVER;
  readonly connection: StreamOwner;
  bytesSent = 0;
  bodyBytesSent = 0;
  bytesReceived: number;
  /** Null until the request listener has returned it. */
  handler: ClientHandler | null = null;
  /** The answer is not complete and the stream stands. */
  isOpen = true;
  readonly #stream: BoundStream;
  readonly #method: string;
  readonly #headers: HeaderList;
  readonly #bodyLength: number;
  readonly #expectsContinue: boolean;
  readonly #pace = new BodyPace();
  readonly #writes: WriteWatch;
  #paceLimits: PaceLimits;
  #readDeadline = NEVER;
  /** When the answer is written: by then the stream has closed. */
  #closeDeadline = NEVER;
  #isBodyWanted = false;
  #isBodyComplete: boolean;
  #bodyBytes = 0;
  #trailers: HeaderList | null = null;
  #isHeadWritten = false;
  /** Of the answer's body: what is missing, `UNKNOWN_LENGTH`, or 0 where none follows. */
  #left = 0;
  #hasTrailerSection = false;
  #answerTrailers: readonly string[] = EMPTY_SECTION;
  #isWatched = false;

  constructor(connection: StreamOwner, stream: ServerHttp2Stream, head: RequestHead) {
    this.connection = connection;
    this.#stream = stream as BoundStream;
    this.#stream[TRANSPORT] = this;
    this.#method = head.method;
    this.#headers = head.headers;
    this.#bodyLength = head.bodyLength;
    this.#isBodyComplete = head.bodyLength === 0;
    this.#expectsContinue = head.expectsContinue;
    this.bytesReceived = head.headBytes;
    this.#paceLimits = connection.http;
    this.#writes = new WriteWatch(connection.http.sendTimeoutMs);
    if (head.bodyLength !== 0) gatherWhilePaused(stream);
    stream.on("aborted", onAborted);
    stream.on("close", onClose);
    stream.on("drain", onDrain);
  }

  /** The request listener has returned. */
  begin(handler: ClientHandler): void {
    this.handler = handler;
    if (this.#isBodyWanted) this.#startBody();
  }

  // ---------------------------------------------------------------- the request's body

  readBody(): void {
    if (!this.isOpen || this.#isBodyWanted) return;
    this.#isBodyWanted = true;
    if (this.handler !== null) this.#startBody();
  }

  #startBody(): void {
    if (!this.isOpen) return;
    if (this.#bodyLength === 0) {
      this.#tell(onEmptyBody, null);
      return;
    }
    const stream = this.#stream;
    if (this.#expectsContinue && !this.#isHeadWritten && !stream.closed)
      stream.additionalHeaders({ ":status": 100 });
    const now = this.connection.deadlines.now();
    this.#pace.begin(now);
    this.#readDeadline = this.#pace.nextCheckMs(now, this.#paceLimits);
    this.#watch();
    stream.on("trailers", onTrailers);
    stream.on("end", onEnd);
    giveGathered(stream);
    stream.on("data", onData);
  }

  holdOpen(): void {
    this.#paceLimits = this.connection.heldOpen;
  }

  resumeBody(): void {
    if (!this.isOpen || !this.#isBodyWanted || this.#isBodyComplete) return;
    this.#pace.resume(this.connection.deadlines.now());
    giveGathered(this.#stream);
    this.#stream.resume();
  }

  onData(chunk: Buffer): void {
    if (!this.isOpen) return;
    this.bytesReceived += chunk.length;
    this.#bodyBytes += chunk.length;
    const { maxBodyBytes } = this.connection.http;
    if (maxBodyBytes > 0 && this.#bodyBytes > maxBodyBytes) {
      this.fail(ERRORS.bodyTooLarge);
      return;
    }
    this.#pace.received(chunk.length, this.connection.deadlines.now());
    this.#tell(onChunk, chunk);
  }

  onTrailers(fields: readonly string[]): void {
    if (!this.isOpen) return;
    const trailers = readTrailers(fields, this.connection.http);
    if (trailers !== null && isProtocolError(trailers)) this.fail(trailers);
    else this.#trailers = trailers;
  }

  /** Also comes after a reset, when it means nothing. */
  onEnd(): void {
    if (!this.isOpen || this.#isBodyComplete || this.#stream.aborted) return;
    if (this.#bodyLength !== UNKNOWN_LENGTH && this.#bodyBytes !== this.#bodyLength) {
      this.fail(ERRORS.truncated);
      return;
    }
    this.#isBodyComplete = true;
    this.#readDeadline = NEVER;
    this.#arm();
    this.#tell(onBodyEnd, null);
  }

  /** An exchange that throws ends here; the connection and the worker go on. */
  #tell(what: (transport: Http2ClientTransport, chunk: Buffer | null) => void, chunk: Buffer | null): void {
    try {
      what(this, chunk);
    } catch (fault) {
      this.connection.onFault(fault);
      this.fail(ERRORS.internal);
    }
  }

  /** `handler.onBody`, and no more until it asks. */
  give(chunk: Buffer): void {
    if (this.handler!.onBody(chunk)) return;
    this.#stream.pause();
    this.#pace.pause(this.connection.deadlines.now());
  }

  giveEnd(): void {
    this.handler!.onEnd(this.#trailers);
  }

  /** Nothing certain follows on this stream: says so to the client, if it can be said, and to the exchange. */
  fail(error: ProtocolError): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    if (this.#isHeadWritten || this.#stream.closed) this.#reset();
    else {
      respondError(this.#stream, error, isCall(this.#headers));
      this.#letGo();
    }
    this.handler?.onAbort(abortReason(error));
  }

  // ---------------------------------------------------------------- the answer

  writeInformational(status: number, headers: HeaderList): void {
    if (!this.isOpen || this.#isHeadWritten || this.#stream.closed) return;
    const fields = headFields(status, headers, -1);
    this.bytesSent += fieldBytes(fields);
    this.#stream.additionalHeaders(asObject(fields));
  }

  /** HTTP/2 has no reason phrases. */
  writeHead(
    status: number,
    _reason: string,
    headers: HeaderList,
    bodyLength: number,
    keepLength: number | null,
  ): void {
    if (!this.isOpen || this.#isHeadWritten) return;
    const mayHaveBody = this.#method !== "HEAD" && status !== 204 && status !== 205 && status !== 304;
    let length = -1;
    if (this.#method === "HEAD" || status === 304) length = keepLength ?? -1;
    else if (mayHaveBody && bodyLength !== UNKNOWN_LENGTH) length = bodyLength;
    const fields = headFields(status, headers, length);
    this.#left = mayHaveBody ? bodyLength : 0;
    this.#hasTrailerSection = this.#left === UNKNOWN_LENGTH;
    const stream = this.#stream;
    // Its end is told in a moment.
    if (stream.closed || stream.destroyed) return;
    stream.respond(fields, {
      endStream: this.#left === 0,
      waitForTrailers: this.#hasTrailerSection,
    });
    if (this.#hasTrailerSection) stream.on("wantTrailers", onWantTrailers);
    this.#isHeadWritten = true;
    this.bytesSent += fieldBytes(fields);
  }

  writeBody(chunk: Buffer): boolean {
    if (!this.isOpen || !this.#isHeadWritten || chunk.length === 0 || this.#left === 0) return true;
    if (this.#left !== UNKNOWN_LENGTH) {
      if (chunk.length > this.#left) {
        this.abort();
        return true;
      }
      this.#left -= chunk.length;
    }
    // The lender takes it back before it is sent.
    return this.#write(Buffer.from(chunk));
  }

  #write(bytes: Buffer): boolean {
    this.bodyBytesSent += bytes.length;
    this.bytesSent += bytes.length;
    this.connection.answerSent(bytes.length);
    if (this.#paceLimits === this.connection.heldOpen)
      this.#pace.received(0, this.connection.deadlines.now());
    if (this.#stream.write(bytes)) return true;
    this.#watchWrites();
    return false;
  }

  writeEnd(trailers: HeaderList | null): void {
    if (!this.isOpen || !this.#isHeadWritten) return;
    if (this.#left > 0) {
      this.abort();
      return;
    }
    if (this.#hasTrailerSection && trailers !== null) {
      this.#answerTrailers = trailerFields(trailers);
      this.bytesSent += fieldBytes(this.#answerTrailers);
    }
    this.#finish();
  }

  writeAnswer(status: number, reason: string, headers: HeaderList, body: Buffer | string): void {
    if (!this.isOpen || this.#isHeadWritten) return;
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    this.writeHead(status, reason, headers, bytes.length, bytes.length);
    if (!this.#isHeadWritten) return;
    if (this.#left > 0) {
      this.#left = 0;
      for (let at = 0; at < bytes.length; at += PIECE_BYTES)
        this.#write(bytes.subarray(at, at + PIECE_BYTES));
    }
    this.#finish();
  }

  #finish(): void {
    this.isOpen = false;
    this.connection.requestAnswered();
    this.#stream.end();
    this.#letGo();
  }

  onWantTrailers(): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    stream.sendTrailers(asObject(this.#answerTrailers));
    // Node.js sends them in the next turn: closed now, the stream would end without them, and a call of gRPC that its server ends
    // before its client without its status.
    if (!this.#hasClientEnded) setImmediate(closeStream, stream);
  }

  /** The answer is written: what is left of the body is not read, and its sender is told to stop (RFC 9113 8.1). */
  #letGo(): void {
    const stream = this.#stream;
    this.#readDeadline = NEVER;
    if (!this.#hasClientEnded && !this.#hasTrailerSection) closeWhenSent(stream);
    if (stream.destroyed) return;
    // Its frames may wait behind others in a socket that nobody reads.
    this.#closeDeadline = this.connection.deadlines.now() + this.connection.http.sendTimeoutMs;
    if (stream.writableLength > 0) this.#watchWrites();
    else this.#watch();
  }

  /** A length of 0 says that there is no body, and not that the stream has ended. */
  get #hasClientEnded(): boolean {
    return this.#isBodyComplete && (this.#bodyLength !== 0 || this.#stream.endAfterHeaders);
  }

  abort(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#reset();
  }

  /** With INTERNAL_ERROR. `close(code)` would end the body first, and a part of it could look whole. */
  #reset(): void {
    this.#stream.destroy(BROKEN_OFF);
  }

  onDrain(): void {
    this.#writes.end();
    this.#arm();
    if (this.isOpen) this.handler?.onWritable();
  }

  takeSocket(): { socket: Socket; rest: Buffer } {
    throw new Error("takeSocket: a stream of HTTP/2 has no socket of its own");
  }

  // ---------------------------------------------------------------- the end

  /** The client reset the stream, broke its rules, or left. */
  onAborted(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.connection.requestBroken();
    // A paused stream would never end. Not now: Node.js goes on with it after this event.
    process.nextTick(destroyStream, this.#stream);
    this.handler?.onAbort("closed");
  }

  onClose(): void {
    this.deadline = NEVER;
    this.connection.deadlines.delete(this);
    this.onAborted();
    this.connection.streamClosed();
  }

  // ---------------------------------------------------------------- time

  #watchWrites(): void {
    this.#writes.begin(this.#stream.writableLength, this.connection.deadlines.now());
    this.#watch();
  }

  #watch(): void {
    this.#arm();
    if (this.#isWatched || this.#stream.destroyed) return;
    this.#isWatched = true;
    this.connection.deadlines.add(this);
  }

  #arm(): void {
    this.deadline = Math.min(this.#readDeadline, this.#writes.deadline, this.#closeDeadline);
  }

  onDeadline(nowMs: number): void {
    const { http } = this.connection;
    const unsent = this.#stream.writableLength;
    if (this.#writes.deadline <= nowMs && this.#writes.isStuck(unsent, nowMs)) {
      if (this.connection.isMoving(nowMs - http.sendTimeoutMs)) {
        this.#writes.end();
        this.#writes.begin(unsent, nowMs);
        this.#arm();
      } else if (this.isOpen) this.fail(ERRORS.sendTimeout);
      else this.#reset();
      return;
    }
    if (this.#readDeadline <= nowMs) {
      if (this.#pace.isTooSlow(nowMs, this.#paceLimits)) {
        this.fail(ERRORS.bodyTimeout);
        return;
      }
      this.#readDeadline = this.#pace.nextCheckMs(nowMs, this.#paceLimits);
    }
    if (this.#closeDeadline <= nowMs) {
      if (unsent === 0 && !this.connection.isMoving(nowMs - http.sendTimeoutMs)) {
        this.#reset();
        return;
      }
      this.#closeDeadline = nowMs + http.sendTimeoutMs;
    }
    this.#arm();
  }
}

function isCall(headers: HeaderList): boolean {
  const type = headers.get("content-type");
  return type !== undefined && isGrpcType(type);
}

/** `close` at once would leave a stream that cannot be reset any more when its client does not take the answer. */
export function closeWhenSent(stream: ServerHttp2Stream): void {
  if (stream.writableFinished) stream.close(NO_ERROR);
  else stream.on("finish", onFinish);
}

function onFinish(this: ServerHttp2Stream): void {
  closeStream(this);
}

function closeStream(stream: ServerHttp2Stream): void {
  if (!stream.closed) stream.close(NO_ERROR);
}

function destroyStream(stream: ServerHttp2Stream): void {
  stream.destroy();
}

function onData(this: BoundStream, chunk: Buffer): void {
  this[TRANSPORT].onData(chunk);
}

function onEnd(this: BoundStream): void {
  this[TRANSPORT].onEnd();
}

function onTrailers(this: BoundStream, _headers: unknown, _flags: number, fields: string[]): void {
  this[TRANSPORT].onTrailers(fields);
}

function onWantTrailers(this: BoundStream): void {
  this[TRANSPORT].onWantTrailers();
}

function onDrain(this: BoundStream): void {
  this[TRANSPORT].onDrain();
}

function onAborted(this: BoundStream): void {
  this[TRANSPORT].onAborted();
}

function onClose(this: BoundStream): void {
  this[TRANSPORT].onClose();
}

function onChunk(transport: Http2ClientTransport, chunk: Buffer | null): void {
  transport.give(chunk!);
}

function onBodyEnd(transport: Http2ClientTransport): void {
  transport.giveEnd();
}

function onEmptyBody(transport: Http2ClientTransport): void {
  transport.handler!.onEnd(null);
}
