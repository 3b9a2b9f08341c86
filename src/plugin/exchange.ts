/**
 * What a plugin sees of one request and its answer (`ctx`), whatever protocol carries it.
 *
 * An exchange belongs to one request and is never recycled. After its `log` phase it is ended: late writes
 * to it change nothing, and what an asynchronous handler returns then is ignored.
 */

import type { HeaderList } from "../lib/headers.ts";
import type { UpstreamHandle } from "./host.ts";
import type { StreamFacts } from "./stream.ts";

/** A text that is made whenever somebody reads it: for what few configurations ask for. */
export interface LateText {
  text(): string;
}

export interface Exchange {
  readonly client: ClientFacts;
  readonly request: ExchangeRequest;
  readonly response: ExchangeResponse;
  /** Of a connection of a stream route: there is no request then, and `request` is empty. Absent: a request. */
  readonly stream?: StreamFacts;
  /** The matched route; null while none is (global rules run for unknown routes too). */
  readonly route: RouteFacts | null;
  /** Set by authentication plugins, through `setConsumer`. */
  readonly consumer: ConsumerFacts | null;
  /** `performance.now()` when the head was complete. */
  readonly startedAt: number;
  readonly ended: boolean;
  /** Milliseconds from `startedAt` to the end (so far, before the end). */
  readonly latencyMs: number;
  /** Milliseconds that the upstream took; undefined when none answered. */
  readonly upstreamLatencyMs: number | undefined;
  /** Bytes on the wire, heads included. */
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Address of the node of the last attempt; "" when there was none. */
  readonly nodeAddress: string;
  /**
   * Origin form to send upstream instead of the request's own path and query, which keep what the client asked
   * for. Null: none is set. Whoever sets it makes sure that it begins with "/" and is fit for a request line.
   */
  upstreamTarget: string | null;
  /** Goes upstream as `Host` where the upstream would get the client's (`pass_host: pass`). Null: none is set. */
  upstreamHostOverride: string | null;
  /** Where the request goes in the place of its route's upstream, until it goes there. Null: nowhere else. */
  upstreamChoice: UpstreamHandle | null;
  /** The zone whose nodes the request should go to. Null: any. */
  zoneWish: ZoneWish | null;
  /**
   * When the upstream's answer has to be there, as `performance.now()`; Infinity: whenever. Upstreams of gRPC are told
   * what is left. Whoever makes it earlier ends the exchange himself, if it takes longer.
   */
  deadlineAt: number;
  /**
   * Set by plugins that carry gRPC in another way: the client reads of a failed call what it would read of gRPC, status and
   * message in the header of an answer of this content type without a body. Null: as the protocol has it.
   */
  callType: string | null;

  /** Value of a variable by its name without `$` (`remote_addr`, `arg_x`, `http_x`, ...); undefined when it has none. */
  variable(name: string): string | undefined;
  /** Sets a variable of the exchange (`ctx.var` of APISIX); seen by later phases, conditions and logs. */
  setVariable(name: string, value: string | LateText | undefined): void;
  /** Ends the request with this answer when a handler returns it. An object body becomes JSON. */
  answer(status: number, body?: AnswerBody, headers?: Record<string, string>): Answer;
  /** Attaches the consumer that an authentication plugin found. */
  setConsumer(consumer: ConsumerFacts): void;
  /**
   * Whole request body, up to `limitBytes` and to `cardea.http.max_buffered_body_size`: null when it is longer. Waits; the
   * body stays to be forwarded.
   */
  readBody(limitBytes: number): Promise<Buffer | null>;
  /** This body goes upstream in the place of the request's, which should have been read. Not after the access phase. */
  replaceBody(body: Buffer): void;
  /**
   * The whole of an upstream's answer, for a handler of `responseHeaders` that waits for it: its head is held back until then,
   * so status and fields may follow from the body and the trailers. The body goes on to the body phase all the same.
   */
  readAnswer(limitBytes: number): Promise<WholeAnswer>;
  /** A request body that proves longer than this is cut off: 413, or the end of an answer that has begun. */
  limitBody(limitBytes: number): void;
  /**
   * A copy of the request goes there, too, as it first goes upstream; what it answers is thrown away. `target`: origin
   * form of the copy; null: that of the request. The copy neither delays nor fails the request: what cannot be sent at
   * once is dropped, beyond bounds all of it. `onEnd` is told once what became of it.
   */
  mirrorTo(upstream: UpstreamHandle, target: string | null, onEnd: (outcome: MirrorOutcome) => void): void;
  /** Ends the exchange now, whatever it waits for: with this answer, or by breaking off one that has begun. */
  cutOff(answer: Answer): void;
  /** From now on the plugin of this name does nothing for this request, if it is one that can be skipped. */
  skipPlugin(name: string): void;
  isSkipped(name: string): boolean;
}

/** An upstream's answer without its head. */
export interface WholeAnswer {
  /** Null: it is longer than was asked for, and not complete. */
  readonly body: Buffer | null;
  /** What goes to the client; may be changed. Null: there are none. */
  readonly trailers: HeaderList | null;
}

export interface ZoneWish {
  readonly zone: string;
  /** No node of another zone serves; else those do when none of this one is healthy. */
  readonly isOnly: boolean;
}

/** "dropped": it was too much to send, or there was nowhere to send it to. */
export type MirrorOutcome = "answered" | "failed" | "dropped";

export type AnswerBody = string | Buffer | object;

/** What a handler returns to end the request. Made by `ctx.answer`. */
export interface Answer {
  readonly status: number;
  readonly body: AnswerBody | undefined;
  readonly headers: Record<string, string> | undefined;
}

export interface ClientFacts {
  /** The client's address after PROXY protocol and real-ip; writable for real-ip. */
  address: string;
  /** 0: not known. */
  port: number;
  /** The address of the TCP peer. */
  readonly peerAddress: string;
  readonly peerPort: number;
  readonly scheme: "http" | "https";
}

export interface ExchangeRequest {
  /** Changing these changes what goes upstream. */
  method: string;
  /** Normalised, decoded path without query: what the router matched. */
  path: string;
  /** Query without "?", as sent. */
  query: string;
  readonly headers: HeaderList;
  /** Host without port, lower case; "" if none. */
  readonly host: string;
  /** As received, query included. */
  readonly target: string;
  readonly version: "1.0" | "1.1" | "2";
}

export interface ExchangeResponse {
  /** 0 until there is an answer. Writable until the head is sent. */
  status: number;
  readonly headers: HeaderList;
  /** Where the answer comes from: null until there is one. */
  readonly source: "upstream" | "gateway" | null;
  /**
   * What came behind the body of an upstream's answer, there when `responseBody` gets its last chunk; null: nothing did.
   * The client gets what stands here then, if its protocol and the answer have room for it.
   */
  trailers: HeaderList | null;
}

export interface RouteFacts {
  readonly id: string;
  readonly name: string | undefined;
  readonly serviceId: string | undefined;
  readonly serviceName: string | undefined;
  readonly pluginConfigId: string | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
  /** The `uri` entry and the `host` entry that matched; "" when the route names no host. */
  readonly matchedUri: string;
  readonly matchedHost: string;
}

export interface ConsumerFacts {
  readonly username: string;
  readonly groupId: string | undefined;
  readonly credentialId: string | undefined;
  readonly labels: Readonly<Record<string, string>> | undefined;
}
