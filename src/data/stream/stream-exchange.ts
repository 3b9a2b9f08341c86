/**
 * One connection of a stream route as plugins, balancers and logs see it: an exchange whose request is empty.
 *
 * `stream-session.ts` writes what happens into it. What only makes sense for requests (bodies, mirrors, consumers) does
 * nothing here; `cutOff` closes the connection.
 */

import { HeaderList } from "../../lib/headers.ts";
import type {
  Answer,
  AnswerBody,
  ClientFacts,
  ExchangeRequest,
  ExchangeResponse,
  LateText,
  RouteFacts,
  WholeAnswer,
  ZoneWish,
} from "../../plugin/exchange.ts";
import type { UpstreamHandle } from "../../plugin/host.ts";
import type { StreamExchange, StreamFacts } from "../../plugin/stream.ts";
import type { TlsConnection } from "../tls/tls-connection.ts";
import type { UpstreamNode } from "../upstream/node.ts";
import { readStreamVariable } from "./stream-variables.ts";

/** What is known of a connection when it is accepted. */
export interface AcceptedFacts {
  readonly serial: number;
  readonly protocol: "TCP" | "UDP";
  readonly listenAddress: string;
  readonly peerAddress: string;
  readonly peerPort: number;
  readonly serverAddress: string;
  readonly serverPort: number;
  /** By the PROXY header; null: there was none, or it named nobody. */
  readonly announced: { readonly address: string; readonly port: number } | null;
  /** The announcement counts: the peer may say who its client is. */
  readonly isAnnouncementTrusted: boolean;
  /** Null: no TLS ends here. */
  readonly tls: TlsConnection | null;
}

/** What the life of the connection does for its exchange. */
export interface ExchangeOwner {
  peek(length: number): Promise<Buffer | null>;
  cutOff(status: number): void;
}

/** Variables that plugins set on one connection. */
const MAX_VARIABLES = 256;

export class StreamConnectionExchange implements StreamExchange {
  readonly facts: AcceptedFacts;
  readonly client: ClientFacts;
  readonly request: ExchangeRequest = {
    method: "",
    path: "",
    query: "",
    headers: new HeaderList(),
    host: "",
    target: "",
    version: "1.1",
  };
  readonly response: ExchangeResponse;
  readonly stream: StreamFacts & { status: number };
  readonly consumer = null;
  readonly startedAt: number;
  route: RouteFacts | null = null;
  ended = false;
  endedAt = 0;
  bytesReceived = 0;
  bytesSent = 0;
  upstreamBytesReceived = 0;
  upstreamBytesSent = 0;
  upstreamTarget = null;
  upstreamHostOverride = null;
  upstreamChoice: UpstreamHandle | null = null;
  zoneWish: ZoneWish | null = null;
  deadlineAt = Infinity;
  callType = null;
  /** Of the last attempt. */
  node: UpstreamNode | null = null;
  /** Of all attempts, as `$upstream_addr` has them. */
  upstreamAddresses = "";
  /** How long the connection to the node took; undefined: none stood. */
  connectMs: number | undefined = undefined;
  upstreamLatencyMs: number | undefined = undefined;
  readonly #owner: ExchangeOwner;
  #variables: Map<string, string | LateText | undefined> | null = null;

  constructor(facts: AcceptedFacts, owner: ExchangeOwner, startedAt: number) {
    this.facts = facts;
    this.#owner = owner;
    this.startedAt = startedAt;
    const announced = facts.isAnnouncementTrusted ? facts.announced : null;
    this.client = {
      address: announced?.address ?? facts.peerAddress,
      port: announced?.port ?? facts.peerPort,
      peerAddress: facts.peerAddress,
      peerPort: facts.peerPort,
      scheme: facts.tls === null ? "http" : "https",
    };
    this.response = { status: 0, headers: new HeaderList(), source: null, trailers: null };
    const { protocol, listenAddress } = facts;
    this.stream = { protocol, listenAddress, status: 0, peek: (length) => owner.peek(length) };
  }

  get latencyMs(): number {
    return (this.endedAt || performance.now()) - this.startedAt;
  }

  get nodeAddress(): string {
    return this.node?.address ?? "";
  }

  variable(name: string): string | undefined {
    const set = this.#variables?.get(name);
    if (set !== undefined) return typeof set === "string" ? set : set.text();
    return readStreamVariable(this, name);
  }

  setVariable(name: string, value: string | LateText | undefined): void {
    this.#variables ??= new Map();
    if (this.#variables.size < MAX_VARIABLES || this.#variables.has(name)) this.#variables.set(name, value);
  }

  answer(status: number, body?: AnswerBody, headers?: Record<string, string>): Answer {
    return { status, body, headers };
  }

  cutOff(answer: Answer): void {
    this.#owner.cutOff(answer.status);
  }

  readBody(): Promise<Buffer | null> {
    return Promise.resolve(null);
  }

  readAnswer(): Promise<WholeAnswer> {
    return Promise.resolve({ body: null, trailers: null });
  }

  replaceBody(): void {}
  setConsumer(): void {}
  limitBody(): void {}
  mirrorTo(): void {}
  skipPlugin(): void {}
  isSkipped(): boolean {
    return false;
  }
}
