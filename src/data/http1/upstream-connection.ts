/**
 * One connection, over TCP or TLS, to a node of an upstream. It carries one exchange at a time.
 *
 * Promises: answers are parsed strictly, and a broken one ends the connection; it goes back to its owner for
 * another request only when request and answer are both complete, nothing follows the answer, and the peer
 * permits it; `hasSent` of an attempt is false as long as no byte of it can have left the machine; a head and
 * a small body that come in one tick leave in one write; what waits has a deadline.
 * Leaves to others: which node (`upstream/`), how many connections (`upstream/pool.ts`), retries.
 *
 * Reading goes through one buffer that all connections of the worker share (`onread`): a read is handled to
 * its end within the callback, body chunks are copied out, and what a slow consumer leaves is copied, too.
 */

import type { Socket } from "node:net";
import type { HeaderList } from "../../lib/headers.ts";
import { NEVER, type Deadlined, type Deadlines } from "../deadlines.ts";
import { UNKNOWN_LENGTH, type BodyConsumer, type UpstreamFailure } from "../transport.ts";
import { isIdempotent } from "../upstream/retry-policy.ts";
import { handshakeFault, isRefusal } from "../upstream/secure/faults.ts";
import { BodyDecoder } from "./body-decoder.ts";
import { FAILED, NEED_MORE, type HeadLimits } from "./head-parser.ts";
import { FREE_BYTES, LARGE_READ_BYTES, ReadTurn, type TurnReader } from "./read-turns.ts";
import { ResponseParser } from "./response-parser.ts";
import { lastChunkText, requestHeadText } from "./serializer.ts";
import { SocketWriter } from "./socket-writer.ts";
import { atTurnEnd, type TurnEnding } from "./turn-end.ts";
import type { UpstreamAttempt } from "./upstream-attempt.ts";

/** Chunks up to here are joined with the text before them: one string write beats a vector of buffers. */
const MAX_JOINED_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);
const CLOSED_EARLY = "the upstream closed the connection before its answer was complete";

/** Opens sockets: plain here, TLS behind the same face. */
export interface Connector {
  /** Starts to connect to an IP address. `onRead` gets each read; the buffer is valid during the call only. */
  open(address: string, port: number, onRead: (bytes: number, buffer: Buffer) => boolean): Socket;
  /** The event after which bytes can be written. */
  readonly readyEvent: "connect" | "secureConnect";
}

/** How connections are kept between requests. */
export interface KeepAlive {
  /** Idle connections per node and worker; 0: none. */
  size: number;
  idleTimeoutMs: number;
  /** Requests after which a connection is not used again; 0: unlimited. */
  requests: number;
}

export interface ConnectionOwner {
  /** The exchange is complete and the connection could carry another one. Keep it, or call `close`. */
  onIdle(connection: UpstreamConnection): void;
  /** A reused connection proved stale under an attempt that is `repeatable`: give it a fresh one. */
  onStale(attempt: UpstreamAttempt, stale: UpstreamConnection): void;
  /** It ended, or its socket was taken. Once. */
  onClosed(connection: UpstreamConnection): void;
}

const CONNECTING = 0;
const IDLE = 1;
const BUSY = 2;
/** The answer was 101 and the socket was not taken yet. */
const UPGRADED = 3;
const TAKEN = 4;
const CLOSED = 5;

export class UpstreamConnection implements Deadlined, BodyConsumer, TurnReader, TurnEnding {
  deadline = NEVER;
  /** Requests carried, the current one included. */
  requests = 0;
  /** Of the upstream whose exchange it carries; for the pool. */
  keepAlive: KeepAlive | null = null;
  readonly #socket: Socket;
  readonly #writer: SocketWriter;
  readonly #owner: ConnectionOwner;
  readonly #deadlines: Deadlines;
  readonly #parser: ResponseParser;
  readonly #decoder = new BodyDecoder(false);
  #state = CONNECTING;
  #attempt: UpstreamAttempt | null = null;

  /** Text of the request that was not handed to the socket yet. */
  #held = "";
  #isFlushScheduled = false;
  /** Body written before the connection stood, behind `#held`. */
  #queue: Buffer[] = [];
  #method = "";
  #requestLeft = 0;
  #isRequestChunked = false;
  #isRequestComplete = false;
  #isRequestEnding = false;
  #asksUpgrade = false;
  #isBlocked = false;
  #trailers = "";

  #isInBody = false;
  #isAnswerComplete = false;
  #answerTrailers: HeaderList | null = null;
  /** Read, but not yet taken by the consumer of the body. */
  #rest: Buffer | null = null;
  #isPaused = false;
  readonly #readTurn = new ReadTurn();
  /** Others have their turn; nothing is read until the next one. */
  #isYielding = false;
  /** The end of the connection came while something was kept back: it is heard after that. */
  #isEndHeld = false;
  /** Something came from the peer. */
  #hasRead = false;

  constructor(
    connector: Connector,
    address: string,
    port: number,
    limits: HeadLimits,
    deadlines: Deadlines,
    owner: ConnectionOwner,
  ) {
    this.#owner = owner;
    this.#deadlines = deadlines;
    this.#parser = new ResponseParser(limits);
    this.#socket = connector.open(address, port, (bytes, buffer) => this.#onRead(bytes, buffer));
    this.#socket.on(connector.readyEvent, () => this.#onConnect());
    this.#writer = new SocketWriter(this.#socket, () => this.#onDrain());
    this.#socket.on("end", () => this.#onEnd());
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#onError(error));
    // Without an end or an error before it: an answer that lasts until the end is not complete then.
    this.#socket.on("close", () => this.#fail("reset", CLOSED_EARLY));
    deadlines.add(this);
  }

  /** Gives the connection to an attempt: a new one that is still connecting, or an idle one. */
  begin(attempt: UpstreamAttempt): void {
    this.#attempt = attempt;
    this.requests++;
    this.#held = "";
    this.#isRequestComplete = false;
    this.#isRequestEnding = false;
    this.#isInBody = false;
    this.#isAnswerComplete = false;
    this.#answerTrailers = null;
    this.#rest = null;
    const now = this.#deadlines.now();
    if (this.#state === CONNECTING) {
      this.deadline = now + attempt.timeouts.connectMs;
    } else {
      this.#state = BUSY;
      attempt.connectedAt = now;
      this.deadline = NEVER;
    }
  }

  /** Keeps an idle connection until then. */
  idleUntil(deadline: number): void {
    this.deadline = deadline;
  }

  writeHead(method: string, target: string, headers: HeaderList, bodyLength: number): void {
    this.#held = requestHeadText(method, target, headers, bodyLength);
    this.#parser.begin(method);
    this.#method = method;
    this.#asksUpgrade = headers.has("upgrade");
    this.#isRequestChunked = bodyLength === UNKNOWN_LENGTH;
    this.#requestLeft = bodyLength === UNKNOWN_LENGTH ? 0 : bodyLength;
    if (this.#state !== BUSY) return;
    if (bodyLength !== 0) return this.#scheduleFlush();
    const attempt = this.#attempt!;
    if (attempt.isReused && isIdempotent(method)) attempt.repeatable = this.#held;
    this.#scheduleFlush();
  }

  /** Takes over an attempt from a stale connection; this one is still connecting. */
  repeat(attempt: UpstreamAttempt, from: UpstreamConnection): void {
    this.keepAlive = from.keepAlive;
    this.begin(attempt);
    this.#held = attempt.repeatable;
    attempt.repeatable = "";
    this.#parser.begin(from.#method);
    this.#method = from.#method;
    this.#asksUpgrade = from.#asksUpgrade;
    this.#isRequestEnding = true;
  }

  writeBody(chunk: Buffer): boolean {
    // As a chunk of its own it would end a chunked body.
    if (chunk.length === 0) return !this.#isBlocked;
    if (!this.#isRequestChunked && (this.#requestLeft -= chunk.length) < 0) {
      this.#fail("reset", "the request body is longer than announced");
      return true;
    }
    if (this.#state === CONNECTING) {
      this.#queue.push(chunk);
      return false;
    }
    return this.#send(chunk);
  }

  writeEnd(trailers: HeaderList | null): void {
    if (this.#requestLeft > 0) return this.#fail("reset", "the request body is shorter than announced");
    if (this.#isRequestChunked) this.#trailers = lastChunkText(trailers);
    this.#isRequestEnding = true;
    if (this.#state !== CONNECTING) this.#endRequest();
  }

  resumeBody(): void {
    if (this.#decoder.state !== "paused") return;
    this.#decoder.resume();
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null && rest.length > 0) this.#takeBody(rest, 0, rest.length);
    if (this.#state !== BUSY || this.#rest !== null) return;
    if (this.#isEndHeld) return this.#onEnd();
    this.#resumeReading();
    this.#awaitRead();
  }

  takeSocket(): { socket: Socket; rest: Buffer } {
    if (this.#state !== UPGRADED) throw new Error("takeSocket: the answer was not 101");
    const socket = this.#socket;
    const rest = this.#rest ?? NOTHING;
    this.#writer.detach();
    socket.removeAllListeners("error");
    socket.removeAllListeners("close");
    socket.removeAllListeners("end");
    socket.pause();
    this.#state = TAKEN;
    this.#leave();
    return { socket, rest };
  }

  /** Ends the connection; the handler of a running attempt hears nothing. Idempotent. */
  close(): void {
    if (this.#state === CLOSED || this.#state === TAKEN) return;
    this.#state = CLOSED;
    this.#socket.destroy();
    this.#leave();
  }

  onDeadline(): void {
    if (this.#attempt === null) return this.close();
    if (this.#state === CONNECTING) return this.#fail("connect-timeout", "no connection in time");
    if (this.#isBlocked) return this.#fail("send-timeout", "the upstream did not take the request in time");
    this.#fail("read-timeout", "no answer in time");
  }

  onBody(chunk: Buffer): boolean {
    const attempt = this.#attempt;
    return attempt === null || attempt.handler.onBody(chunk);
  }

  onEnd(trailers: HeaderList | null): void {
    this.#isAnswerComplete = true;
    this.#answerTrailers = trailers;
  }

  // Writing

  #onConnect(): void {
    if (this.#state !== CONNECTING) return;
    this.#state = BUSY;
    this.deadline = NEVER;
    const attempt = this.#attempt!;
    attempt.connectedAt = this.#deadlines.now();
    const queue = this.#queue;
    this.#queue = [];
    for (const chunk of queue) this.#send(chunk);
    if (this.#isRequestEnding) return this.#endRequest();
    this.#flush();
    if (queue.length > 0 && !this.#isBlocked && this.#attempt === attempt) attempt.handler.onWritable();
  }

  /** Sends one chunk of the body together with what is held before it. False: no more for now. */
  #send(chunk: Buffer): boolean {
    const isChunked = this.#isRequestChunked;
    if (isChunked) this.#held += `${chunk.length.toString(16)}\r\n`;
    if (this.#held !== "" && chunk.length <= MAX_JOINED_BYTES) {
      this.#held += chunk.toString("latin1");
      if (isChunked) this.#held += "\r\n";
      // More may come in this tick; a body that is complete by its length needs not wait.
      if (isChunked && !this.#isFlushScheduled) this.#scheduleFlush();
      return !isChunked || this.#held.length > MAX_JOINED_BYTES ? this.#flush() : true;
    }
    if (!isChunked && this.#held === "") return this.#write(chunk);
    this.#writer.cork();
    this.#flush();
    this.#write(chunk);
    const goesOn = isChunked ? this.#writeText("\r\n") : !this.#isBlocked;
    this.#writer.uncork();
    return goesOn;
  }

  #endRequest(): void {
    if (this.#isRequestComplete) return;
    this.#isRequestComplete = true;
    if (this.#isRequestChunked) this.#held += this.#trailers;
    if (this.#held !== "") this.#scheduleFlush();
    this.#awaitRead();
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    atTurnEnd(this);
  }

  onTurnEnd(): void {
    this.#isFlushScheduled = false;
    if (this.#state === BUSY) this.#flush();
  }

  #flush(): boolean {
    if (this.#held === "") return !this.#isBlocked;
    const text = this.#held;
    this.#held = "";
    return this.#writeText(text);
  }

  #writeText(text: string): boolean {
    if (this.#attempt !== null) this.#attempt.hasSent = true;
    return this.#noteWrite(this.#writer.text(text));
  }

  #write(chunk: Buffer): boolean {
    if (this.#attempt !== null) this.#attempt.hasSent = true;
    return this.#noteWrite(this.#writer.chunk(chunk));
  }

  #noteWrite(goesOn: boolean): boolean {
    if (!goesOn && this.#attempt !== null) {
      this.#isBlocked = true;
      this.deadline = this.#deadlines.now() + this.#attempt.timeouts.sendMs;
    }
    return goesOn;
  }

  #onDrain(): void {
    this.#isBlocked = false;
    const attempt = this.#attempt;
    if (attempt === null || this.#state !== BUSY) return;
    this.#awaitRead();
    if (!this.#isRequestComplete) attempt.handler.onWritable();
  }

  // Reading

  /** Sets the deadline of the next read: there is none while the request or the consumer holds things up. */
  #awaitRead(): void {
    const attempt = this.#attempt;
    if (attempt === null || this.#isBlocked) return;
    const isAwaited = (this.#isRequestComplete || this.#isInBody) && this.#rest === null && !this.#isYielding;
    this.deadline = isAwaited ? this.#deadlines.now() + attempt.timeouts.readMs : NEVER;
  }

  /** False: read no more until `resume`. */
  #onRead(bytes: number, buffer: Buffer): boolean {
    switch (this.#state) {
      case BUSY:
        // TLS goes on with what it has decrypted, paused or not.
        if (this.#rest !== null) this.#rest = Buffer.concat([this.#rest, buffer.subarray(0, bytes)]);
        else if (this.#isInBody) {
          this.#takeBody(buffer, 0, bytes);
          if (bytes >= LARGE_READ_BYTES) this.#yieldAfter(bytes);
        } else this.#takeHead(buffer, 0, bytes);
        return true;
      case UPGRADED:
        this.#rest = Buffer.concat([this.#rest ?? NOTHING, buffer.subarray(0, bytes)]);
        return true;
      case TAKEN:
        return this.#socket.push(Buffer.from(buffer.subarray(0, bytes)));
      default:
        // Bytes that nobody asked for: an answer to no request (RFC 9112 9.2).
        if (this.#attempt === null) this.close();
        else this.#fail("reset", "the upstream spoke before it was asked");
        return false;
    }
  }

  #takeHead(buffer: Buffer, from: number, to: number): void {
    const attempt = this.#attempt!;
    const parser = this.#parser;
    this.#hasRead = true;
    if (!attempt.hasSent) return this.#fail("reset", "the upstream spoke before it was asked");
    attempt.repeatable = "";
    let at = from;
    for (;;) {
      at = parser.feed(buffer, at, to);
      if (at === NEED_MORE) return this.#awaitRead();
      if (at === FAILED) return this.#fail("malformed", parser.error!.message);
      const { head } = parser;
      if (head.status >= 200) break;
      if (head.status === 101) return this.#upgrade(buffer, at, to);
      attempt.handler.onInformational(head);
      if (this.#attempt !== attempt) return;
      if (at === to) return this.#awaitRead();
    }
    this.#isInBody = true;
    attempt.handler.onHead(parser.head);
    if (this.#attempt !== attempt) return;
    this.#decoder.begin(parser.framing, parser.head.bodyLength, this);
    this.#takeBody(buffer, at, to);
  }

  #takeBody(buffer: Buffer, from: number, to: number): void {
    const attempt = this.#attempt;
    const decoder = this.#decoder;
    const at = decoder.feed(buffer, from, to);
    if (this.#attempt !== attempt) return;
    switch (decoder.state) {
      case "complete":
        return this.#complete(at < to);
      case "failed":
        return this.#fail("malformed", decoder.error!.message);
      case "paused":
        this.#rest = Buffer.from(buffer.subarray(at, to));
        this.#socket.pause();
        this.#isPaused = true;
        if (!this.#isBlocked) this.deadline = NEVER;
        return;
      default:
        this.#awaitRead();
    }
  }

  /** What sends as fast as it can must not keep the others waiting. */
  #yieldAfter(bytes: number): void {
    if (this.#decoder.bodyBytes < FREE_BYTES) return;
    this.#readTurn.count(bytes);
    if (this.#isYielding || this.#isPaused || this.#state !== BUSY) return;
    if (!this.#readTurn.isOver(this)) return;
    this.#isYielding = true;
    this.#socket.pause();
    this.#awaitRead();
  }

  onTurn(): void {
    if (!this.#isYielding) return;
    this.#isYielding = false;
    if (!this.#isPaused) this.#socket.resume();
    this.#awaitRead();
  }

  /** The consumer takes more. */
  #resumeReading(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#isYielding) return;
    if (this.#decoder.bodyBytes < FREE_BYTES || !this.#readTurn.isOverAfterPause(this)) this.#socket.resume();
    else this.#isYielding = true;
  }

  /** The answer is complete: the next one must be heard, whatever held up this one. */
  #hearAgain(): void {
    if (!this.#isPaused && !this.#isYielding) return;
    this.#isPaused = false;
    this.#isYielding = false;
    this.#socket.resume();
  }

  #upgrade(buffer: Buffer, from: number, to: number): void {
    if (!this.#asksUpgrade) return this.#fail("malformed", "101 without an upgrade in the request");
    this.#state = UPGRADED;
    this.deadline = NEVER;
    this.#rest = Buffer.from(buffer.subarray(from, to));
    this.#attempt!.handler.onHead(this.#parser.head);
  }

  /**
   * The answer is complete. `isMore`: bytes follow it. The connection goes back before the handler is told,
   * so that the next request of the same client may use it in this very tick.
   */
  #complete(isMore: boolean): void {
    const attempt = this.#attempt!;
    const trailers = this.#answerTrailers;
    // The end of a chunked body may wait for the end of the turn: without it the next head would be read as a part of that body.
    if (this.#isRequestComplete) this.#flush();
    attempt.connection = null;
    this.#attempt = null;
    if (this.#isRequestSent && this.#parser.keepAlive && !isMore && !this.#isBlocked) {
      this.#state = IDLE;
      this.deadline = NEVER;
      this.#hearAgain();
      this.#owner.onIdle(this);
    } else {
      this.close();
    }
    attempt.handler.onEnd(trailers);
  }

  /** All of it, whether or not `writeEnd` came already. */
  get #isRequestSent(): boolean {
    return this.#isRequestComplete || (!this.#isRequestChunked && this.#requestLeft === 0);
  }

  #onEnd(): void {
    if (this.#state === CONNECTING)
      return this.#fail("refused", "the upstream closed the connection during the TLS handshake");
    if (this.#state === BUSY && this.#rest !== null) {
      this.#isEndHeld = true;
      return;
    }
    if (this.#state === BUSY && this.#isInBody && !this.#isAnswerComplete) {
      const attempt = this.#attempt;
      this.#decoder.end();
      if (this.#attempt !== attempt) return;
      if (this.#isAnswerComplete) return this.#complete(false);
    }
    this.#fail("reset", CLOSED_EARLY);
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#state === CONNECTING) return this.#fail("refused", handshakeFault(error));
    if (this.#attempt !== null && !this.#hasRead && isRefusal(error)) {
      this.#attempt.hasSent = false;
      return this.#fail("refused", handshakeFault(error));
    }
    this.#fail("reset", error.code ?? error.message);
  }

  #fail(failure: UpstreamFailure, detail: string): void {
    const attempt = this.#attempt;
    const isStale = failure === "reset" && attempt !== null && attempt.repeatable !== "";
    this.close();
    if (isStale) this.#owner.onStale(attempt, this);
    else if (attempt !== null) attempt.handler.onError(failure, detail);
  }

  #leave(): void {
    this.deadline = NEVER;
    this.#deadlines.delete(this);
    if (this.#attempt !== null) this.#attempt.connection = null;
    this.#attempt = null;
    this.#rest = null;
    this.#isYielding = false;
    this.#queue = [];
    this.#held = "";
    this.#owner.onClosed(this);
  }
}
