/**
 * One attempt at an upstream over HTTP/2: the `UpstreamTransport` over one stream of a session that others share.
 *
 * Promises: an answer that broke off never looks complete; `hasSent` is false again when the upstream says that it has not
 * looked at the request (REFUSED_STREAM, GOAWAY), so that it may be sent once more; after its end every call does nothing.
 * Leaves to `UpstreamSession` the connection.
 */

import type { ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { HeaderList } from "../../lib/headers.ts";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { ERRORS } from "../http1/errors.ts";
import { MAX_INFORMATIONAL } from "../http1/response-parser.ts";
import type { UpstreamTimeouts } from "../http1/upstream-attempt.ts";
import {
  type UpstreamFailure,
  type UpstreamHandler,
  type UpstreamTransport,
  UNKNOWN_LENGTH,
} from "../transport.ts";
import { handshakeFault } from "../upstream/secure/faults.ts";
import { asObject, trailerFields } from "./answer-fields.ts";
import { withoutBlanks } from "./field-blanks.ts";
import { readAnswer, requestFields } from "./request-fields.ts";
import type { UpstreamSession } from "./upstream-session.ts";

/** RFC 9113 section 7. */
const NO_ERROR = 0;
const REFUSED_STREAM = 7;
/** Flag of the frame that ends a stream. */
const END_STREAM = 1;

/** `close(code)` of a stream would end the request's body first, and a part of it could look whole. */
const BROKEN_OFF = new Error("the request was broken off");

/** Also what comes of a node that speaks HTTP/1.1. */
const NO_HTTP2 = "the node breaks HTTP/2, or does not speak it (ERR_HTTP2_ERROR)";

/** Smaller parts of a request are gathered, into slabs. */
const SMALL_BYTES = 512;
const SLAB_BYTES = 4096;

const EMPTY_SECTION: readonly string[] = [];

/** The listeners below are shared by all streams. */
const ATTEMPT = Symbol("attempt");

type BoundStream = ClientHttp2Stream & { [ATTEMPT]: Http2UpstreamAttempt };

export class Http2UpstreamAttempt implements UpstreamTransport, Deadlined {
  deadline = NEVER;
  hasSent = false;
  connectedAt = 0;
  readonly #session: UpstreamSession;
  readonly #handler: UpstreamHandler;
  readonly #timeouts: UpstreamTimeouts;
  readonly #deadlines: Deadlines;
  #stream: BoundStream | null = null;
  #method = "";
  #isOver = false;
  #isReleased = false;
  #isRequestComplete = false;
  #isBlocked = false;
  /** Small parts of the request that are not written yet. */
  #slab: Buffer | null = null;
  #gathered = 0;
  /** A write is under way whose end calls `#onWritten`. */
  #isWriteWatched = false;
  #onWritten: (() => void) | null = null;
  #isPaused = false;
  #hasTrailerSection = false;
  #requestTrailers: readonly string[] = EMPTY_SECTION;
  #answerLength = UNKNOWN_LENGTH;
  #received = 0;
  #informational = 0;
  /** The peer said END_STREAM: "end" alone also comes after a reset with NO_ERROR. */
  hasEnded = false;
  #trailers: HeaderList | null = null;
  #fault = "";

  constructor(
    session: UpstreamSession,
    handler: UpstreamHandler,
    timeouts: UpstreamTimeouts,
    deadlines: Deadlines,
  ) {
    this.#session = session;
    this.#handler = handler;
    this.#timeouts = timeouts;
    this.#deadlines = deadlines;
    deadlines.add(this);
    if (session.isConnected) this.onConnect();
    else this.deadline = deadlines.now() + timeouts.connectMs;
  }

  /** The connection stands: what was written goes out. */
  onConnect(): void {
    this.connectedAt = this.#deadlines.now();
    if (this.#stream !== null) this.hasSent = true;
    this.#await();
  }

  // ---------------------------------------------------------------- the request

  writeHead(method: string, target: string, headers: HeaderList, bodyLength: number): void {
    if (this.#isOver || this.#stream !== null) return;
    const fields = requestFields(this.#session.scheme, method, target, headers, bodyLength);
    this.#method = method;
    this.#isRequestComplete = bodyLength === 0;
    this.#hasTrailerSection = bodyLength === UNKNOWN_LENGTH;
    const stream = this.#session.request(fields, {
      endStream: this.#isRequestComplete,
      waitForTrailers: this.#hasTrailerSection,
    }) as BoundStream | null;
    if (stream === null) {
      process.nextTick(failUnsent, this);
      return;
    }
    stream[ATTEMPT] = this;
    stream.push = push;
    this.#stream = stream;
    this.hasSent = this.#session.isConnected;
    stream.on("headers", onInformational);
    stream.on("response", onResponse);
    stream.on("trailers", onTrailers);
    stream.on("drain", onDrain);
    stream.on("error", onError);
    stream.on("close", onClose);
    if (this.#hasTrailerSection) stream.on("wantTrailers", onWantTrailers);
    this.#await();
  }

  writeBody(chunk: Buffer): boolean {
    const stream = this.#stream;
    if (this.#isOver || stream === null || this.#isRequestComplete) return true;
    if (chunk.length < SMALL_BYTES && stream.writableLength > 0) return this.#gather(chunk);
    this.#writeGathered();
    return this.#write(chunk);
  }

  #write(chunk: Buffer): boolean {
    if (this.#stream!.write(chunk)) return true;
    this.#isBlocked = true;
    this.#await();
    return false;
  }

  /** While others wait for their turn: as a write of its own each small part would cost a hundred times what it holds. */
  #gather(chunk: Buffer): boolean {
    if (this.#onWritten === null) {
      this.#onWritten = () => {
        this.#isWriteWatched = false;
        if (!this.#isOver && !this.#isRequestComplete) this.#writeGathered();
      };
    }
    if (!this.#isWriteWatched) {
      // Its end is the time for those that follow.
      this.#isWriteWatched = true;
      if (this.#stream!.write(chunk, this.#onWritten)) return true;
      this.#isBlocked = true;
      this.#await();
      return false;
    }
    const takesMore = this.#gathered + chunk.length <= SLAB_BYTES || this.#writeGathered();
    this.#slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.#gathered += chunk.copy(this.#slab, this.#gathered);
    return takesMore;
  }

  #writeGathered(): boolean {
    if (this.#gathered === 0) return true;
    const bytes = this.#slab!.subarray(0, this.#gathered);
    this.#slab = null;
    this.#gathered = 0;
    return this.#write(bytes);
  }

  writeEnd(trailers: HeaderList | null): void {
    const stream = this.#stream;
    if (this.#isOver || stream === null || this.#isRequestComplete) return;
    this.#writeGathered();
    this.#isRequestComplete = true;
    if (trailers !== null && this.#hasTrailerSection) this.#requestTrailers = trailerFields(trailers);
    stream.end();
    this.#await();
  }

  onWantTrailers(): void {
    if (this.#stream !== null && !this.#stream.destroyed && !this.#stream.closed)
      this.#stream.sendTrailers(asObject(this.#requestTrailers));
  }

  onDrain(): void {
    this.#isBlocked = false;
    this.#await();
    if (!this.#isOver) this.#handler.onWritable();
  }

  // ---------------------------------------------------------------- the answer

  onInformational(fields: readonly string[]): void {
    if (this.#isOver) return;
    const head = readAnswer(fields, true, this.#method);
    if (head === null || head.status === 101) this.fail("malformed", "an informational answer that is none");
    else if (++this.#informational > MAX_INFORMATIONAL)
      this.fail("malformed", ERRORS.tooManyInformational.message);
    else this.#handler.onInformational(head);
  }

  onResponse(flags: number, fields: readonly string[]): void {
    if (this.#isOver) return;
    const head = readAnswer(fields, (flags & END_STREAM) !== 0, this.#method);
    if (head === null) {
      this.fail("malformed", "an answer with fields that are none");
      return;
    }
    this.#answerLength = head.bodyLength;
    this.#await();
    // Not before: the head is told in a later tick than it came in, and its body must not overtake it.
    this.#stream!.on("end", onEnd);
    this.#stream!.on("data", onData);
    this.#handler.onHead(head);
  }

  onData(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#received += chunk.length;
    if (this.#handler.onBody(chunk)) {
      this.#await();
      return;
    }
    this.#isPaused = true;
    this.#stream!.pause();
    this.#await();
  }

  resumeBody(): void {
    if (this.#isOver || !this.#isPaused) return;
    this.#isPaused = false;
    this.#await();
    this.#stream!.resume();
  }

  onTrailers(fields: readonly string[]): void {
    if (this.#isOver) return;
    const trailers = new HeaderList();
    // Checked again on their way out.
    for (let i = 0; i + 1 < fields.length; i += 2) trailers.add(fields[i], withoutBlanks(fields[i + 1]));
    this.#trailers = trailers;
  }

  /** Also comes after a reset, when it means nothing. */
  onEnd(): void {
    const stream = this.#stream!;
    if (this.#isOver || !this.hasEnded || stream.rstCode !== NO_ERROR) return;
    if (this.#answerLength > 0 && this.#received !== this.#answerLength) {
      this.fail("reset", "the answer ended before it was complete");
      return;
    }
    this.#isOver = true;
    this.deadline = NEVER;
    // What its window has no room for would hold the stream for ever.
    if (!this.#isRequestComplete || stream.writableLength > 0) stream.destroy(BROKEN_OFF);
    this.#handler.onEnd(this.#trailers);
  }

  onError(error: NodeJS.ErrnoException): void {
    // A stream whose connection never stood says only that it was cancelled.
    const { cause } = error;
    this.#fault =
      cause instanceof Error
        ? handshakeFault(cause)
        : error.code === "ERR_HTTP2_ERROR"
          ? NO_HTTP2
          : (error.code ?? error.message);
  }

  onClose(): void {
    const stream = this.#stream!;
    if (!this.#isOver) {
      if (stream.rstCode === REFUSED_STREAM) this.hasSent = false;
      this.fail(
        this.#session.isConnected ? "reset" : "refused",
        this.#session.fault || this.#fault || "the upstream ended the request before its answer was complete",
      );
    }
    this.#release();
  }

  // ---------------------------------------------------------------- the end

  abort(): void {
    if (this.#isOver) return;
    this.#end();
  }

  fail(failure: UpstreamFailure, detail: string): void {
    if (this.#isOver) return;
    this.#end();
    this.#handler.onError(failure, detail);
  }

  #end(): void {
    this.#isOver = true;
    this.deadline = NEVER;
    const stream = this.#stream;
    if (stream === null) this.#release();
    else stream.destroy(BROKEN_OFF);
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.deadline = NEVER;
    this.#deadlines.delete(this);
    this.#session.leave(this);
  }

  takeSocket(): { socket: Socket; rest: Buffer } {
    throw new Error("takeSocket: a stream of HTTP/2 has no socket of its own");
  }

  // ---------------------------------------------------------------- time

  /** As over HTTP/1.1: an answer is waited for once the request is out; what our side holds up is not the upstream's. */
  #await(): void {
    if (this.#isOver) return;
    if (!this.#session.isConnected) return;
    if (this.#isBlocked) this.deadline = this.#deadlines.now() + this.#timeouts.sendMs;
    else if (this.#isPaused || !this.#isRequestComplete) this.deadline = NEVER;
    else this.deadline = this.#deadlines.now() + this.#timeouts.readMs;
  }

  onDeadline(): void {
    this.deadline = NEVER;
    if (!this.#session.isConnected) {
      this.#session.giveUp();
      this.fail("connect-timeout", "no connection in time");
      return;
    }
    this.#session.doubt();
    if (this.#isBlocked) this.fail("send-timeout", "the upstream did not take the request in time");
    else this.fail("read-timeout", "no answer in time");
  }
}

function failUnsent(attempt: Http2UpstreamAttempt): void {
  attempt.fail("reset", "the connection ended before the request was sent");
}

/** Node.js closes a stream before it ends what a reset has cut off, and after it has ended what is whole. */
function push(this: BoundStream, chunk: Buffer | null): boolean {
  if (chunk === null && !this.closed) this[ATTEMPT].hasEnded = true;
  return Readable.prototype.push.call(this, chunk);
}

function onInformational(this: BoundStream, _: unknown, _flags: number, fields: string[]): void {
  this[ATTEMPT].onInformational(fields);
}

function onResponse(this: BoundStream, _: unknown, flags: number, fields: string[]): void {
  this[ATTEMPT].onResponse(flags, fields);
}

function onData(this: BoundStream, chunk: Buffer): void {
  this[ATTEMPT].onData(chunk);
}

function onTrailers(this: BoundStream, _: unknown, _flags: number, fields: string[]): void {
  this[ATTEMPT].onTrailers(fields);
}

function onWantTrailers(this: BoundStream): void {
  this[ATTEMPT].onWantTrailers();
}

function onEnd(this: BoundStream): void {
  this[ATTEMPT].onEnd();
}

function onDrain(this: BoundStream): void {
  this[ATTEMPT].onDrain();
}

function onError(this: BoundStream, error: NodeJS.ErrnoException): void {
  this[ATTEMPT].onError(error);
}

function onClose(this: BoundStream): void {
  this[ATTEMPT].onClose();
}
