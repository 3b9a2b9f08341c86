/**
 * One HTTP/1.1 connection from a client: reads requests, keeps their order, watches the time, and decides when
 * the connection ends.
 *
 * Promises: a request is parsed when the answer before it is complete (what a client sends ahead waits, up to
 * a bound, then reading stops); a client that shut down its sending side still gets its answer; a malformed
 * request gets its 4xx or 5xx, and the connection is closed so that this answer is not lost to a reset; every
 * wait has a deadline. Leaves to `Http1ClientTransport` the framing of answers, to the exchange everything else.
 *
 * States: HEAD (idle, or a head is coming) → REQUEST (an exchange has it) → perhaps DRAIN (answered; the rest of
 * its body is thrown away) → HEAD. LINGER: the last answer is out, we wait for the client to close. GONE: closed,
 * or the socket belongs to someone else.
 */

import type { Socket } from "node:net";
import { type Deadlined, NEVER } from "../deadlines.ts";
import { matchHttp2Preface } from "../listen/detect.ts";
import { type ByteReader, readWith, releaseReader } from "../listen/shared-read.ts";
import type { BodyConsumer } from "../transport.ts";
import { BodyDecoder } from "./body-decoder.ts";
import { BodyPace } from "./body-pace.ts";
import { Http1ClientTransport, type TransportOwner } from "./client-transport.ts";
import type { ConnectionFacts, ConnectionHost } from "./connection-host.ts";
import { errorAnswerText } from "./error-answer.ts";
import { abortReason, ERRORS, type ProtocolError } from "./errors.ts";
import { FAILED, NEED_MORE } from "./head-parser.ts";
import { Output } from "./output.ts";
import { RequestParser } from "./request-parser.ts";
import { CONTINUE } from "./serializer.ts";
import { WriteWatch } from "./write-watch.ts";

/** Bytes that a client may send ahead of its turn before we stop reading. */
const READ_AHEAD_BYTES = 16 * 1024;
/** Rest of a body that is read and thrown away to keep the connection, and how long. */
const DRAIN_BYTES = 256 * 1024;
const DRAIN_MS = 5000;
/** How long we wait for a client to close after our last answer, and how much it may still send. */
const LINGER_MS = 5000;
const LINGER_BYTES = 1024 * 1024;

const HEAD = 0;
const REQUEST = 1;
const DRAIN = 2;
const LINGER = 3;
const GONE = 4;

const NO_BYTES: Buffer = Buffer.alloc(0);
const NOWHERE: BodyConsumer = { onBody: () => true, onEnd: () => undefined };

export class Http1ClientConnection implements TransportOwner, ByteReader, Deadlined {
  deadline = NEVER;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly proxyProtocolAddress: string | null;
  readonly scheme: "http" | "https";
  readonly serial: number;
  requests = 0;
  readonly output: Output;
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  readonly #parser: RequestParser;
  readonly #decoder = new BodyDecoder(true);
  readonly #pace = new BodyPace();
  #state = HEAD;
  #current: Http1ClientTransport | null = null;
  /** Read, but its turn has not come. */
  #rest: Buffer | null = null;
  #isPaused = false;
  #isPumping = false;
  /** What `#pump` works on, for a socket that is taken away in the middle of it. */
  #pumped = NO_BYTES;
  #pumpedAt = 0;
  #pumpedTo = 0;
  #isDraining = false;
  #hasInputEnded = false;
  #lingerBytes = 0;
  #readDeadline = NEVER;
  readonly #writes: WriteWatch;

  constructor(socket: Socket, host: ConnectionHost, facts: ConnectionFacts) {
    this.#host = host;
    this.remoteAddress = socket.remoteAddress ?? "";
    this.remotePort = socket.remotePort ?? 0;
    this.localAddress = socket.localAddress ?? "";
    this.localPort = socket.localPort ?? 0;
    this.serial = facts.serial;
    this.scheme = facts.scheme;
    this.proxyProtocolAddress = facts.proxyProtocolAddress ?? this.remoteAddress;
    this.#parser = new RequestParser(host.http);
    this.#writes = new WriteWatch(host.http.sendTimeoutMs);
    this.#socket = readWith(socket, this);
    this.output = new Output(this.#socket);
    this.#socket.on("drain", this.#onDrain);
    this.#socket.on("end", this.#onEnd);
    this.#socket.on("error", this.#onError);
    this.#socket.on("close", this.#onClose);
    host.deadlines.add(this);
    this.#awaitHead();
  }

  /** No further request is taken: an idle connection closes now, a busy one after its answer. */
  drain(): void {
    this.#isDraining = true;
    if (this.#isIdle) this.#close();
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  get #isIdle(): boolean {
    return this.#state === HEAD && !this.#parser.hasBegun && this.#rest === null;
  }

  // ---------------------------------------------------------------- reading

  onBytes(buffer: Buffer, length: number): boolean {
    if (this.#state === LINGER) {
      this.#lingerBytes += length;
      if (this.#lingerBytes > LINGER_BYTES) this.#socket.destroy();
      return true;
    }
    if (this.#state === GONE) return false;
    if (this.#rest !== null) {
      this.#rest = Buffer.concat([this.#rest, buffer.subarray(0, length)]);
      // A partial preface of HTTP/2 waits for more; a request whose turn has not come does not mind the look.
      if (this.#state === HEAD) this.#pumpRest();
    } else {
      const taken = this.#pump(buffer, length);
      if (taken < length && this.#state < LINGER) this.#rest = Buffer.from(buffer.subarray(taken, length));
    }
    this.#isPaused = this.#mustPause();
    return !this.#isPaused;
  }

  #mustPause(): boolean {
    if (this.#state >= LINGER) return false;
    return this.#decoder.state === "paused" || (this.#rest !== null && this.#rest.length >= READ_AHEAD_BYTES);
  }

  /** Goes on with what was read before, and reads again once that is used up. */
  #pumpRest(): void {
    if (this.#isPumping) return;
    while (this.#rest !== null && this.#state < LINGER) {
      const rest: Buffer = this.#rest;
      this.#rest = null;
      const taken = this.#pump(rest, rest.length);
      if (taken === 0) {
        this.#rest = rest;
        break;
      }
      if (taken < rest.length && this.#state < LINGER) this.#rest = rest.subarray(taken);
    }
    if (this.#isPaused && this.#state !== GONE && !this.#mustPause()) {
      this.#isPaused = false;
      this.#socket.resume();
    }
    if (this.#hasInputEnded && this.#rest === null) this.#inputEnded();
  }

  /** Takes as many bytes of `buffer[0, to)` as have their turn. Answers and pauses happen on the way. */
  #pump(buffer: Buffer, to: number): number {
    this.#isPumping = true;
    this.#pumped = buffer;
    this.#pumpedTo = to;
    this.output.hold();
    let at = 0;
    while (at < to) {
      const before = at;
      if (this.#state === HEAD) at = this.#takeHead(buffer, at, to);
      else if (this.#state === REQUEST || this.#state === DRAIN) at = this.#takeBody(buffer, at, to);
      else break;
      if (at === before) break;
    }
    this.#isPumping = false;
    this.#pumped = NO_BYTES;
    this.output.release();
    return at;
  }

  #takeHead(buffer: Buffer, from: number, to: number): number {
    if (this.output.isBlocked) return from;
    const parser = this.#parser;
    if (this.requests === 0 && !parser.hasBegun && this.#host.onHttp2 !== null) {
      const match = matchHttp2Preface(buffer, from, to);
      if (match === "partial") return from;
      if (match === "yes") {
        this.#handOver(this.#host.onHttp2, Buffer.from(buffer.subarray(from, to)));
        return to;
      }
    }
    const hadBegun = parser.hasBegun;
    const end = parser.feed(buffer, from, to);
    if (end === NEED_MORE) {
      if (!hadBegun) this.#awaitUntil(this.#host.deadlines.now() + this.#host.http.headerTimeoutMs);
      return to;
    }
    if (end === FAILED) {
      this.#refuse(parser.error!);
      return to;
    }
    this.#pumpedAt = end;
    this.#begin();
    return end;
  }

  #begin(): void {
    const { head } = this.#parser;
    const { maxBodyBytes } = this.#host.http;
    if (maxBodyBytes > 0 && head.bodyLength > maxBodyBytes) {
      this.#refuse(ERRORS.bodyTooLarge);
      return;
    }
    this.requests++;
    this.#state = REQUEST;
    this.#awaitUntil(NEVER);
    const transport = new Http1ClientTransport(this, head);
    this.#current = transport;
    try {
      transport.handler = this.#host.onRequest(transport, head);
    } catch (fault) {
      this.#host.onFault(fault);
      this.#failRequest(transport, ERRORS.internal);
      return;
    }
    if (transport.isBodyWanted && transport.isOpen) this.startBody(transport);
  }

  #takeBody(buffer: Buffer, from: number, to: number): number {
    const decoder = this.#decoder;
    const transport = this.#current;
    if (this.#state === REQUEST && !transport!.isBodyWanted) return from;
    if (decoder.state !== "flowing") return from;
    const end = decoder.feed(buffer, from, to);
    // Calls to the exchange change all of this object's state: it is read anew from here on.
    if (transport !== null) transport.bytesReceived += end - from;
    const now = this.#host.deadlines.now();
    this.#pace.received(end - from, now);
    switch (decoder.state as BodyDecoder["state"]) {
      case "failed":
        this.#bodyFailed(decoder.error ?? ERRORS.truncated);
        return to;
      case "complete":
        this.#bodyComplete();
        break;
      case "paused":
        this.#pace.pause(now);
        break;
      default:
        if (this.#state === DRAIN && decoder.bodyBytes > DRAIN_BYTES) this.#linger();
    }
    return end;
  }

  // ---------------------------------------------------------------- the request's body

  startBody(transport: Http1ClientTransport): void {
    if (transport !== this.#current || this.#state !== REQUEST) return;
    const { framing, head } = this.#parser;
    if (transport.expectsContinue && !transport.isHeadWritten) {
      transport.isContinued = true;
      transport.bytesSent += CONTINUE.length;
      this.output.text(CONTINUE);
      this.output.flush();
    }
    if (framing !== "none") {
      const now = this.#host.deadlines.now();
      this.#pace.begin(now);
      this.#awaitUntil(this.#pace.nextCheckMs(now, this.#host.http));
    }
    this.#decoder.begin(framing, head.bodyLength, transport.handler!, this.#host.http.maxBodyBytes);
    if (this.#decoder.state !== "complete") this.#pumpRest();
  }

  resumeBody(transport: Http1ClientTransport): void {
    if (transport !== this.#current || this.#decoder.state !== "paused") return;
    this.#pace.resume(this.#host.deadlines.now());
    this.#decoder.resume();
    this.#pumpRest();
  }

  #bodyComplete(): void {
    if (this.#state === DRAIN) this.#nextRequest();
    else if (this.#state === REQUEST) this.#awaitUntil(NEVER);
  }

  #bodyFailed(error: ProtocolError): void {
    const transport = this.#current;
    if (this.#state === REQUEST && transport !== null) this.#failRequest(transport, error);
    else if (this.#state === DRAIN) this.#linger();
  }

  /** Nothing certain follows on this connection: says so to the client, if it can be said, and to the exchange. */
  #failRequest(transport: Http1ClientTransport, error: ProtocolError): void {
    const handler = transport.handler;
    transport.isOpen = false;
    this.#current = null;
    this.#decoder.abandon();
    if (transport.isHeadWritten) this.#reset(transport);
    else this.#answerError(error);
    handler?.onAbort(abortReason(error));
  }

  // ---------------------------------------------------------------- the answer

  keepsAliveAfter(transport: Http1ClientTransport): boolean {
    return (
      this.#parser.keepAlive &&
      !this.#isDraining &&
      !this.#hasInputEnded &&
      this.requests < this.#host.http.maxRequestsPerConnection &&
      // The client may or may not send its body now: RFC 9110 10.1.1 leaves only a close.
      (!transport.expectsContinue || transport.isContinued)
    );
  }

  answerComplete(transport: Http1ClientTransport): void {
    if (transport !== this.#current) return;
    this.#current = null;
    this.output.flush();
    const isBodyComplete =
      this.#parser.framing === "none" || (transport.isBodyWanted && this.#decoder.state === "complete");
    if (!transport.keepsAlive) {
      this.#decoder.abandon();
      const isClientClosing = !this.#parser.keepAlive || this.#hasInputEnded;
      if (isClientClosing && isBodyComplete && this.#rest === null && !this.#isPumping) this.#close();
      else this.#linger();
    } else if (isBodyComplete) {
      this.#nextRequest();
    } else this.#drainBody(transport.isBodyWanted);
  }

  /** The answer came before the whole body: what is left of it must be read before the next request can be. */
  #drainBody(isStarted: boolean): void {
    const { framing, head } = this.#parser;
    if (isStarted) this.#decoder.redirect(NOWHERE);
    else this.#decoder.begin(framing, head.bodyLength, NOWHERE);
    if (this.#decoder.bytesLeft > DRAIN_BYTES) {
      this.#linger();
      return;
    }
    this.#state = DRAIN;
    this.#awaitUntil(this.#host.deadlines.now() + DRAIN_MS);
    this.#pumpRest();
  }

  #nextRequest(): void {
    this.#parser.reset();
    this.#state = HEAD;
    if (this.#isDraining && this.#rest === null) {
      this.#linger();
      return;
    }
    this.#awaitHead();
    this.#pumpRest();
  }

  breakOff(transport: Http1ClientTransport): void {
    if (transport !== this.#current) return;
    transport.isOpen = false;
    this.#current = null;
    this.#decoder.abandon();
    this.#reset(transport);
  }

  #reset(transport: Http1ClientTransport): void {
    this.#state = GONE;
    this.#rest = null;
    // A plain FIN would look like the regular end of such an answer.
    if (transport.endsWithConnection) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  outputBlocked(): void {
    this.#writes.begin(this.#socket.writableLength, this.#host.deadlines.now());
    this.#arm();
  }

  readonly #onDrain = (): void => {
    this.#writes.end();
    this.#arm();
    const transport = this.#current;
    if (transport !== null && transport.isOpen) transport.handler?.onWritable();
    else if (this.#state === HEAD) this.#pumpRest();
  };

  // ---------------------------------------------------------------- the end

  release(transport: Http1ClientTransport): { socket: Socket; rest: Buffer } {
    this.output.release();
    const ahead = this.#isPumping
      ? Buffer.from(this.#pumped.subarray(this.#pumpedAt, this.#pumpedTo))
      : NO_BYTES;
    const rest = this.#rest === null ? ahead : Buffer.concat([ahead, this.#rest]);
    if (transport === this.#current) this.#letGo();
    return { socket: this.#socket, rest };
  }

  #handOver(next: (socket: Socket, rest: Buffer) => void, rest: Buffer): void {
    this.#letGo();
    next(this.#socket, rest);
  }

  #letGo(): void {
    this.#state = GONE;
    this.#current = null;
    this.#rest = null;
    this.#decoder.abandon();
    releaseReader(this.#socket);
    this.#socket.off("drain", this.#onDrain);
    this.#socket.off("end", this.#onEnd);
    this.#socket.off("error", this.#onError);
    this.#socket.off("close", this.#onClose);
    this.#forget();
  }

  #refuse(error: ProtocolError): void {
    this.#host.onRefused(error);
    this.#answerError(error);
  }

  #answerError(error: ProtocolError): void {
    this.output.text(errorAnswerText(error));
    this.#linger();
  }

  /**
   * Ends our side, but goes on reading for a while: closing a socket with unread bytes sends a reset, which
   * can make the client lose the answer that it has not read yet.
   */
  #linger(): void {
    if (this.#state >= LINGER) return;
    this.#state = LINGER;
    this.#rest = null;
    this.output.release();
    this.#socket.end();
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#socket.resume();
    }
    if (this.#hasInputEnded) this.#socket.destroySoon();
    else this.#awaitUntil(this.#host.deadlines.now() + LINGER_MS);
  }

  /** Nothing is expected any more: closes as soon as everything is sent. */
  #close(): void {
    this.#state = LINGER;
    this.#rest = null;
    this.#socket.destroySoon();
    this.#awaitUntil(this.#host.deadlines.now() + LINGER_MS);
  }

  readonly #onEnd = (): void => {
    this.#hasInputEnded = true;
    if (this.#rest === null) this.#inputEnded();
  };

  /** "close" follows; what the error was changes nothing for a client that is gone. */
  readonly #onError = (): void => undefined;

  /** The client ended its side, and everything that it sent before has had its turn. */
  #inputEnded(): void {
    switch (this.#state) {
      case HEAD:
      case DRAIN:
      case LINGER:
        this.#close();
        break;
      case REQUEST: {
        const transport = this.#current!;
        const isBodyMissing =
          this.#parser.framing !== "none" && !(transport.isBodyWanted && this.#decoder.state === "complete");
        // Half a request never becomes a whole one; a whole one gets its answer.
        if (isBodyMissing) this.#socket.destroy();
        break;
      }
      default:
    }
  }

  readonly #onClose = (): void => {
    const transport = this.#current;
    this.#state = GONE;
    this.#rest = null;
    this.#current = null;
    this.#decoder.abandon();
    this.#forget();
    if (transport === null) return;
    transport.isOpen = false;
    transport.handler?.onAbort("closed");
  };

  #forget(): void {
    this.deadline = NEVER;
    this.#host.deadlines.delete(this);
    this.#host.onClosed(this);
  }

  // ---------------------------------------------------------------- time

  #awaitHead(): void {
    this.#awaitUntil(this.#host.deadlines.now() + this.#host.http.idleTimeoutMs);
  }

  #awaitUntil(deadlineMs: number): void {
    this.#readDeadline = deadlineMs;
    this.#arm();
  }

  #arm(): void {
    this.deadline = Math.min(this.#readDeadline, this.#writes.deadline);
  }

  onDeadline(nowMs: number): void {
    if (this.#writes.deadline <= nowMs) {
      if (this.#writes.isStuck(this.#socket.writableLength, nowMs)) {
        this.#timeOutRequest(ERRORS.sendTimeout);
        return;
      }
      this.#arm();
    }
    if (this.#readDeadline > nowMs) return;
    switch (this.#state) {
      case HEAD:
        if (this.#socket.writableLength > 0) this.#watchWrites(nowMs);
        else if (this.#parser.hasBegun) this.#refuse(ERRORS.headTimeout);
        else this.#close();
        break;
      case REQUEST:
        if (this.#pace.isTooSlow(nowMs, this.#host.http)) this.#timeOutRequest(ERRORS.bodyTimeout);
        else this.#awaitUntil(this.#pace.nextCheckMs(nowMs, this.#host.http));
        break;
      case DRAIN:
        this.#linger();
        break;
      default:
        if (this.#socket.writableLength > 0) this.#watchWrites(nowMs);
        else this.#socket.destroy();
    }
  }

  /** The last answers are still on their way to a slow reader: their deadline is that of writing. */
  #watchWrites(nowMs: number): void {
    this.outputBlocked();
    this.#awaitUntil(nowMs + LINGER_MS);
  }

  #timeOutRequest(error: ProtocolError): void {
    const transport = this.#current;
    if (transport !== null) this.#failRequest(transport, error);
    else this.#socket.destroy();
  }
}
