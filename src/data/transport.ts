/**
 * The two faces between the exchange (which knows phases, routes and plugins) and the wire.
 *
 * `ClientTransport` is one request on a client connection, `UpstreamTransport` one attempt on an upstream
 * connection. HTTP/1 implements both in `http1/`; HTTP/2 comes behind the same faces. Everything is
 * callbacks on long-lived objects, not Node streams: a small answer passes through in one tick without an
 * event, a closure or an intermediate buffer.
 *
 * Back-pressure is the same everywhere: `onBody` and `writeBody` return false for "no more for now"; the
 * consumer then calls `resumeBody()`, the transport calls `onWritable()`. Chunks handed over are never
 * reused by the giver.
 */

import type { Socket } from "node:net";
import type { HeaderList } from "../lib/headers.ts";
import type { TlsConnection } from "./tls/tls-connection.ts";

/** Body length that is not known in advance: chunked, or delimited by the end of the connection. */
export const UNKNOWN_LENGTH = -1;

export interface RequestHead {
  method: string;
  /** Origin form, as received ("/a%2Fb?x=1"), or "*" for OPTIONS. An absolute form was taken apart before. */
  target: string;
  /** The one validated host, lower case, with port if one was sent ("a.com:9080"); "" when none (HTTP/1.0). */
  authority: string;
  /** The same in the letters of the client, as upstreams are told. */
  sentAuthority: string;
  /** All fields as received, `host` (already the one that counts) and hop-by-hop ones included. */
  headers: HeaderList;
  version: "1.0" | "1.1" | "2";
  /** Exact, 0 for none, or `UNKNOWN_LENGTH`. */
  bodyLength: number;
  /** Lower-case protocol of a permitted `Upgrade` ("websocket"), else null. */
  upgrade: string | null;
  expectsContinue: boolean;
  /** Bytes of the head on the wire, for `$request_length`. */
  headBytes: number;
}

/** Takes the body of a message, of a client's request or of an upstream's answer. */
export interface BodyConsumer {
  /**
   * One chunk, at least one byte. False: stop until `resumeBody()`. Of an upstream's answer it is lent for the time of the
   * call: whoever keeps it makes a copy.
   */
  onBody(chunk: Buffer): boolean;
  /** The body is complete; called exactly once, also for empty bodies, unless `onAbort`/`onError` comes. */
  onEnd(trailers: HeaderList | null): void;
}

/** One request from a client: what the exchange can do with it. */
export interface ClientTransport {
  readonly connection: ClientConnection;
  /** Bytes of the answer written so far, head included. */
  readonly bytesSent: number;
  /** Body bytes of the answer written so far. */
  readonly bodyBytesSent: number;
  /** Bytes of the request read so far, head included. */
  readonly bytesReceived: number;

  /** Starts the body: sends the pending 100 Continue if the client waits for one, then calls `handler`. */
  readBody(): void;
  resumeBody(): void;
  /**
   * The body is one side of a conversation (a call of gRPC): it may come as slowly as it likes, as long as one side says
   * something within the time that tunnels have. Over HTTP/2; elsewhere it changes nothing.
   */
  holdOpen(): void;
  /** 1xx other than 100 and 101. Ignored for HTTP/1.0. */
  writeInformational(status: number, headers: HeaderList): void;
  /**
   * Starts the answer. `headers` must hold no hop-by-hop, `content-length` or `transfer-encoding` field: the
   * framing is the transport's, from `bodyLength` (`UNKNOWN_LENGTH` = chunked, or close for HTTP/1.0).
   * `keepLength` writes that content-length for HEAD and 304, where no body follows (null: write none).
   */
  writeHead(
    status: number,
    reason: string,
    headers: HeaderList,
    bodyLength: number,
    keepLength: number | null,
  ): void;
  /** The chunk is the transport's for the time of the call only. */
  writeBody(chunk: Buffer): boolean;
  /** Completes the answer. A request body that is still flowing is drained within bounds, or the connection closes. */
  writeEnd(trailers: HeaderList | null): void;
  /** A whole answer at once: the fast way for what the gateway itself says. */
  writeAnswer(status: number, reason: string, headers: HeaderList, body: Buffer | string): void;
  /** Breaks off so that the client notices an incomplete answer. Idempotent. */
  abort(): void;
  /** After `writeHead(101, …)`: the raw socket and what was read beyond the head. The transport lets go of it. */
  takeSocket(): { socket: Socket; rest: Buffer };
}

/** What the exchange is told by its client transport. */
export interface ClientHandler extends BodyConsumer {
  onWritable(): void;
  /** The client is gone or broke the framing of its body before the answer was complete. Once, and the last call. */
  onAbort(reason: "closed" | "malformed" | "timeout" | "too-large"): void;
}

/** The connection that a request came on: facts that plugins and variables read. */
export interface ClientConnection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** Address that the PROXY protocol announced; the same as `remoteAddress` when there was none. */
  readonly proxyProtocolAddress: string | null;
  readonly scheme: "http" | "https";
  /** Null for cleartext. */
  readonly tls: TlsConnection | null;
  /** Serial number on this worker, and how many requests it has carried, this one included. */
  readonly serial: number;
  readonly requests: number;
}

/** Called by a client transport for every request whose head is complete and valid. */
export type RequestListener = (transport: ClientTransport, head: RequestHead) => ClientHandler;

/** One attempt at an upstream. Writes before the connection stands are queued. */
export interface UpstreamTransport {
  /** True once a byte of this request may have left the machine: the limit of a safe retry. */
  readonly hasSent: boolean;
  /** `performance.now()` at which the connection stood (or was taken from the pool); 0 before. */
  readonly connectedAt: number;
  /** Starts the request. The framing is the transport's, from `bodyLength`, as in `ClientTransport.writeHead`. */
  writeHead(method: string, target: string, headers: HeaderList, bodyLength: number): void;
  writeBody(chunk: Buffer): boolean;
  writeEnd(trailers: HeaderList | null): void;
  resumeBody(): void;
  /** Ends the attempt; the connection is not reused. The handler hears nothing more. Idempotent. */
  abort(): void;
  /** After a 101: the raw socket and what was read beyond the head. The transport lets go of it. */
  takeSocket(): { socket: Socket; rest: Buffer };
}

export interface ResponseHead {
  status: number;
  reason: string;
  headers: HeaderList;
  version: "1.0" | "1.1" | "2";
  /** Exact, 0 for none (HEAD, 204, 304 too), or `UNKNOWN_LENGTH`. */
  bodyLength: number;
}

export type UpstreamFailure =
  | "refused" // connect failed at once
  | "connect-timeout"
  | "reset" // closed or reset before the answer was complete
  | "send-timeout"
  | "read-timeout"
  | "malformed" // the answer broke the protocol
  | "overloaded"; // pool limits reached

export interface UpstreamHandler extends BodyConsumer {
  /** 1xx except 101. */
  onInformational(head: ResponseHead): void;
  /** The final head (or 101). `onBody`/`onEnd` follow, in the same tick for small answers. */
  onHead(head: ResponseHead): void;
  onWritable(): void;
  /** Failed before `onEnd`. Once, and the last call. */
  onError(failure: UpstreamFailure, detail: string): void;
}
