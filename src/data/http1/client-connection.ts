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
import type { TlsConnection } from "../tls/tls-connection.ts";
import { BodyDecoder } from "./body-decoder.ts";
import { BodyPace } from "./body-pace.ts";
import { Http1ClientTransport, type TransportOwner } from "./client-transport.ts";
import type { ConnectionFacts, ConnectionHost } from "./connection-host.ts";
import { errorAnswerText } from "./error-answer.ts";
import { abortReason, ERRORS, type ProtocolError } from "./errors.ts";
import { FAILED, NEED_MORE } from "./head-parser.ts";
import { type InputOwner, InputQueue } from "./input-queue.ts";
import { Output } from "./output.ts";
import { SocketWriter } from "./socket-writer.ts";
import { RequestParser } from "./request-parser.ts";
import { CONTINUE } from "./serializer.ts";
import { WriteWatch } from "./write-watch.ts";

/** Rest of a body that is read and thrown away to keep the connection, and how long. */
const DRAIN_BYTES = 256 * 1024;
const DRAIN_MS = 5000;
/** How long we wait for a client to close after our last answer, and how much it may still send. */
const LINGER_MS = 5000;
const LINGER_BYTES = 1024 * 1024;

/**
 * While draining: how long an idle connection may still bring a request, which is answered with `Connection: close`.
 * Closing at once would meet requests that are on their way already, and reset them.
 */
const DRAIN_IDLE_MS = 1000;

const HEAD = 0;
const REQUEST = 1;
const DRAIN = 2;
const LINGER = 3;
const GONE = 4;

const NOWHERE: BodyConsumer = { onBody: () => true, onEnd: () => undefined };

export class Http1ClientConnection implements TransportOwner, ByteReader, InputOwner, Deadlined {
  deadline = NEVER;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly proxyProtocolAddress: string | null;
  readonly scheme: "http" | "https";
  readonly tls: TlsConnection | null;
  readonly serial: number;
  requests = 0;
  readonly output: Output;
  readonly #host: ConnectionHost;
  readonly #socket: Socket;
  readonly #parser: RequestParser;
  readonly #decoder = new BodyDecoder(true);
  readonly #pace = new BodyPace();
  readonly #input = new InputQueue(this);
  #state = HEAD;
  #current: Http1ClientTransport | null = null;
  #isDraining = false;
  #hasInputEnded = false;
  #lingerBytes = 0;
  #readDeadline = NEVER;
  readonly #writer: SocketWriter;
  readonly #writes: WriteWatch;

  constructor(socket: Socket, host: ConnectionHost, facts: ConnectionFacts) {
    this.#host = host;
    this.remoteAddress = socket.remoteAddress ?? "";
    this.remotePort = socket.remotePort ?? 0;
    this.localAddress = socket.localAddress ?? "";
    this.localPort = socket.localPort ?? 0;
    this.serial = facts.serial;
    this.scheme = facts.scheme;
    this.tls = facts.tls;
    this.proxyProtocolAddress = facts.proxyProtocolAddress ?? this.remoteAddress;
    this.#parser = new RequestParser(host.http);
    this.#writes = new WriteWatch(host.http.sendTimeoutMs);
    this.#socket = readWith(socket, this);
    this.#writer = new SocketWriter(this.#socket, this.#onDrain);
    this.output = new Output(this.#writer);
    this.#socket.on("end", this.#onEnd);
    this.#socket.on("error", this.#onError);
    this.#socket.on("close", this.#onClose);
    host.deadlines.add(this);
    this.#awaitHead();
  }

  /** The next answer is the last: one that runs, or that of a request which comes within `DRAIN_IDLE_MS`. */
  drain(): void {
    this.#isDraining = true;
    if (this.#isIdle) this.#awaitHead();
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.output.release();
    this.#socket.destroy();
  }

  get #isIdle(): boolean {
    return this.#state === HEAD && !this.#parser.hasBegun && this.#input.isEmpty;
  }

  // ---------------------------------------------------------------- reading

  onBytes(buffer: Buffer, length: number): boolean {
    if (this.#state === LINGER) {
      this.#lingerBytes += length;
      if (this.#lingerBytes > LINGER_BYTES) this.#socket.destroy();
      return true;
    }
    if (this.#state === GONE) return false;
    return this.#input.offer(buffer, length);
  }

  /** Looks again at what was kept, after a change that may have made it its turn. */
  #goOn(): void {
    if (this.#input.isStepping) return;
    this.#input.goOn(this.#socket);
    if (this.#hasInputEnded && this.#input.isEmpty) this.#inputEnded();
  }

  get isInputUnwanted(): boolean {
    return this.#decoder.state === "paused";
  }

  onInputBegin(): void {
    this.output.hold();
  }

  onInputEnd(): void {
    this.output.release();
  }

  takeInput(buffer: Buffer, from: number, to: number): number {
    if (this.#state === HEAD) return this.#takeHead(buffer, from, to);
    return this.#state === REQUEST || this.#state === DRAIN ? this.#takeBody(buffer, from, to) : from;
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
    this.#input.takenTo = end;
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
      if (transport.isBodyWanted && transport.isOpen) this.startBody(transport);
    } catch (fault) {
      this.#onFault(transport, fault);
    }
  }

  /** An exchange threw: its request ends here, the connection and the worker go on. */
  #onFault(transport: Http1ClientTransport | null, fault: unknown): void {
    this.#host.onFault(fault);
    if (transport !== null && transport === this.#current) this.#failRequest(transport, ERRORS.internal);
  }

  #takeBody(buffer: Buffer, from: number, to: number): number {
    const decoder = this.#decoder;
    const transport = this.#current;
    if (this.#state === REQUEST && !transport!.isBodyWanted) return from;
    if (decoder.state !== "flowing") return from;
    let end = to;
    try {
      end = decoder.feed(buffer, from, to);
    } catch (fault) {
      this.#onFault(transport, fault);
      return to;
    }
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
    if (this.#decoder.state !== "complete") this.#goOn();
  }

  resumeBody(transport: Http1ClientTransport): void {
    if (transport !== this.#current || this.#decoder.state !== "paused") return;
    this.#pace.resume(this.#host.deadlines.now());
    this.#decoder.resume();
    this.#goOn();
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
    this.output.flushSoon();
    // Wanted by a listener that has not returned yet, it has not begun: the decoder still tells of the body before it.
    const isBodyBegun = transport.isBodyWanted && transport.handler !== null;
    const isBodyComplete =
      this.#parser.framing === "none" || (isBodyBegun && this.#decoder.state === "complete");
    if (!transport.keepsAlive) {
      this.#decoder.abandon();
      const isClientClosing = !this.#parser.keepAlive || this.#hasInputEnded;
      if (isClientClosing && isBodyComplete && this.#input.isEmpty && !this.#input.isStepping) this.#close();
      else this.#linger();
    } else if (isBodyComplete) {
      this.#nextRequest();
    } else this.#drainBody(isBodyBegun);
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
    this.#goOn();
  }

  #nextRequest(): void {
    this.#parser.reset();
    this.#state = HEAD;
    this.#awaitHead();
    // What was sent ahead waits until the exchange that ends here has run its log phase: a limit of requests at the
    // same time would count both.
    if (this.#input.isEmpty) this.#goOn();
    else queueMicrotask(() => this.#goOn());
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
    this.#input.turnOff();
    // Answers to earlier requests may still wait in the output of this tick.
    this.output.release();
    // A plain FIN would look like the regular end of such an answer.
    // Over TLS the missing close_notify tells (RFC 8446 6.1), and such a socket has no reset.
    if (transport.endsWithConnection && this.tls === null) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  outputBlocked(): void {
    this.#writes.begin(this.#writer.unsentBytes, this.#host.deadlines.now());
    this.#arm();
  }

  readonly #onDrain = (): void => {
    this.#writes.end();
    this.#arm();
    const transport = this.#current;
    if (transport !== null && transport.isOpen) transport.handler?.onWritable();
    else if (this.#state === HEAD) this.#goOn();
  };

  // ---------------------------------------------------------------- the end

  release(transport: Http1ClientTransport): { socket: Socket; rest: Buffer } {
    this.output.release();
    const rest = this.#input.takeRest();
    if (transport === this.#current) {
      this.#letGo();
      // A tunnel is a connection of its listener to its end: it counts, and a drain waits for it.
      this.#socket.once("close", this.#onHandedOverClose);
    }
    return { socket: this.#socket, rest };
  }

  readonly #onHandedOverClose = (): void => this.#host.onClosed(this);

  #handOver(next: NonNullable<ConnectionHost["onHttp2"]>, rest: Buffer): void {
    this.#letGo();
    // The next owner first: at no time does nobody count the connection.
    next(this.#socket, rest, this);
    this.#host.onClosed(this);
  }

  #letGo(): void {
    this.#state = GONE;
    this.#current = null;
    this.#input.turnOff();
    this.#decoder.abandon();
    releaseReader(this.#socket);
    this.#writer.detach();
    this.#socket.off("end", this.#onEnd);
    this.#socket.off("error", this.#onError);
    this.#socket.off("close", this.#onClose);
    this.#stopWaiting();
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
    this.#input.turnOff();
    this.output.release();
    this.#socket.end();
    this.#input.goOn(this.#socket);
    if (this.#hasInputEnded) this.#socket.destroySoon();
    else this.#awaitUntil(this.#host.deadlines.now() + LINGER_MS);
  }

  /** Nothing is expected any more: closes as soon as everything is sent. */
  #close(): void {
    this.#state = LINGER;
    this.#input.turnOff();
    this.output.release();
    this.#socket.destroySoon();
    this.#awaitUntil(this.#host.deadlines.now() + LINGER_MS);
  }

  readonly #onEnd = (): void => {
    this.#hasInputEnded = true;
    if (this.#input.isEmpty) this.#inputEnded();
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
    this.#input.turnOff();
    this.#current = null;
    this.#decoder.abandon();
    this.#stopWaiting();
    this.#host.onClosed(this);
    if (transport === null) return;
    transport.isOpen = false;
    transport.handler?.onAbort("closed");
  };

  #stopWaiting(): void {
    this.deadline = NEVER;
    this.#host.deadlines.delete(this);
  }

  // ---------------------------------------------------------------- time

  #awaitHead(): void {
    const { idleTimeoutMs } = this.#host.http;
    const waitMs = this.#isDraining ? Math.min(idleTimeoutMs, DRAIN_IDLE_MS) : idleTimeoutMs;
    this.#awaitUntil(this.#host.deadlines.now() + waitMs);
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
      if (this.#writes.isStuck(this.#writer.unsentBytes, nowMs)) {
        this.#timeOutRequest(ERRORS.sendTimeout);
        return;
      }
      this.#arm();
    }
    if (this.#readDeadline > nowMs) return;
    switch (this.#state) {
      case HEAD:
        if (this.#writer.unsentBytes > 0) this.#watchWrites(nowMs);
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
        if (this.#writer.unsentBytes > 0) this.#watchWrites(nowMs);
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
