/**
 * One request and its answer, as an object: the facts that the life of a request (`life.ts`) moves along and
 * that plugins see as `ctx`. It holds state and answers questions; it starts nothing.
 *
 * Every field exists from construction, so that all exchanges share one hidden class. An exchange is never
 * recycled: an asynchronous plugin may hold it long after its end.
 */

import { performance } from "node:perf_hooks";
import type {
  Answer,
  AnswerBody,
  ClientFacts,
  ConsumerFacts,
  Exchange,
  ExchangeResponse,
  MirrorOutcome,
  RouteFacts,
  LateText,
  WholeAnswer,
  ZoneWish,
} from "../../plugin/exchange.ts";
import type { ClientTransport, RequestHead } from "../transport.ts";
import type { CompiledRoute } from "../configuration/compiled-route.ts";
import type { RouteEntry } from "../configuration/route-table.ts";
import type { UpstreamReference } from "../configuration/upstream-reference.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import type { Answering } from "../life/answering.ts";
import type { UpstreamAttempt } from "./attempt.ts";
import type { MirrorWish } from "./mirror.ts";
import type { BodyVariables } from "./body/body-variables.ts";
import { PendingAnswer } from "./pending-answer.ts";
import { RequestBody } from "./request-body.ts";
import type { RequestLimit } from "../upstream/request-limit.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { TriedNodes, type UpstreamNode } from "../upstream/node.ts";
import { HeaderList } from "../../lib/headers.ts";
import type { RequestFacts } from "./request-facts.ts";
import { reasonPhrase } from "../../lib/status-codes.ts";
import { readVariable } from "./variables.ts";

export class HttpExchange implements Exchange {
  readonly transport: ClientTransport;
  readonly head: RequestHead;
  readonly client: ClientFacts;
  readonly request: RequestFacts;
  readonly response: ResponseFacts = new ResponseFacts();
  readonly startedAt: number;

  /** Where `life.ts` stands: index into its list of stages. */
  stage = 0;
  ended = false;
  /** The head of the answer is on its way: nothing may replace it any more. */
  answering = false;

  entry: RouteEntry | null = null;
  compiled: CompiledRoute | null = null;
  /** Facts of the match; plugins see it as `ctx.route`. */
  route: RouteFacts | null = null;
  /** Path parameters of the match (`$uri_param_*`): names and, at the same index, values. */
  parameterNames: readonly string[] = [];
  parameterValues: readonly string[] = [];
  consumer: ConsumerFacts | null = null;
  /** Chains of this request: the global rules' and the route's (with the consumer's plugins, once there is one). */
  globalChain: PluginChain | null = null;
  chain: PluginChain | null = null;

  /** A plugin's choice in the place of the route's upstream. */
  upstreamChoice: UpstreamReference | null = null;
  zoneWish: ZoneWish | null = null;
  upstream: Upstream | null = null;
  /** Of the upstream, while the request counts there. */
  limit: RequestLimit | null = null;
  /** Copies that go out with the first attempt; null: none. */
  mirrors: MirrorWish[] | null = null;
  /** Set once the life of the request has begun. */
  life: Answering | null = null;
  /** Chosen for the coming attempt; plugins see it as `$balancer_ip` in `beforeProxy`. */
  node: UpstreamNode | null = null;
  /** Nodes that failed this request. */
  tried: TriedNodes = TriedNodes.NONE;
  attempt: UpstreamAttempt | null = null;
  /** Attempts so far; their addresses and statuses for `$upstream_addr` and `$upstream_status`. */
  attempts = 0;
  /** An attempt that nobody looked at was made once more: the next one is a failure. */
  isRepeated = false;
  upstreamAddresses = "";
  upstreamStatuses = "";
  upstreamHost = "";
  upstreamHostOverride: string | null = null;
  upstreamScheme = "http";
  /** `performance.now()` of the current attempt: begun, connected, head received, complete; 0 when not yet. */
  upstreamStartedAt = 0;
  upstreamConnectedAt = 0;
  upstreamHeadAt = 0;
  upstreamEndedAt = 0;
  upstreamTarget: string | null = null;
  deadlineAt = Infinity;
  callType: string | null = null;
  /** Runs while the client of a call waits only so long. */
  callTimer: NodeJS.Timeout | null = null;

  body: RequestBody | null = null;
  /** Set where the configuration names variables of the body. */
  bodyVariables: BodyVariables | null = null;
  /** Of the upstream's answer: body length, and the length that it declared for a body that it does not send. */
  responseLength = 0;
  declaredLength: number | null = null;
  filtersBody = false;
  /** The upstream's answer is one of gRPC, with its status in the trailers; its head has been sent. */
  isGrpcAnswer = false;
  isHeadSent = false;
  /** Chunks that arrived while a plugin's header phase waited; null: none waits. */
  held: Buffer[] | null = null;
  heldTrailers: HeaderList | null = null;
  /** A plugin waits for all of the answer; null: none does. */
  wholeAnswer: PendingAnswer | null = null;
  hasUpstreamEnded = false;
  /** `performance.now()` of the end; 0 before. */
  endedAt = 0;
  #skipped: string[] | null = null;
  #variables: Map<string, string | LateText | undefined> | null = null;

  constructor(transport: ClientTransport, head: RequestHead, request: RequestFacts, startedAt: number) {
    this.transport = transport;
    this.head = head;
    this.request = request;
    this.client = new ClientAddress(transport);
    this.startedAt = startedAt;
  }

  variable(name: string): string | undefined {
    if (this.#variables !== null && this.#variables.has(name)) {
      const value = this.#variables.get(name);
      return typeof value === "object" ? value.text() : value;
    }
    return readVariable(this, name);
  }

  setVariable(name: string, value: string | LateText | undefined): void {
    this.#variables ??= new Map();
    this.#variables.set(name, value);
  }

  answer(status: number, body?: AnswerBody, headers?: Record<string, string>): Answer {
    return { status, body, headers };
  }

  /** Tells the upstream who it is, and that nobody else is: what a client put there goes. */
  setConsumer(consumer: ConsumerFacts): void {
    this.consumer = consumer;
    const { headers } = this.request;
    headers.put("x-consumer-username", "X-Consumer-Username", consumer.username);
    if (consumer.credentialId !== undefined) headers.set("X-Credential-Identifier", consumer.credentialId);
    else headers.delete("x-credential-identifier");
    const customId = consumer.labels?.custom_id;
    if (customId !== undefined) headers.set("X-Consumer-Custom-ID", customId);
    else headers.delete("x-consumer-custom-id");
  }

  readBody(limitBytes: number): Promise<Buffer | null> {
    if (this.body === null) return Promise.resolve(Buffer.alloc(0));
    // A body is there when the life has begun.
    return this.body.readWhole(Math.min(limitBytes, this.life!.maxWholeBytes));
  }

  replaceBody(body: Buffer): void {
    this.body = new RequestBody(this.transport, body);
  }

  readAnswer(limitBytes: number): Promise<WholeAnswer> {
    if (this.response.source !== "upstream") return Promise.resolve({ body: null, trailers: null });
    const pending = new PendingAnswer(limitBytes);
    this.wholeAnswer = pending;
    for (const chunk of this.held ?? []) pending.takes(chunk.length);
    if (this.hasUpstreamEnded) pending.complete(this.held!, this.heldTrailers);
    else if (this.held !== null && this.held.length > 0) this.attempt!.transport.resumeBody();
    return pending.promise;
  }

  limitBody(limitBytes: number): void {
    if (this.body !== null) this.body.limitBytes = limitBytes;
  }

  mirrorTo(
    upstream: UpstreamReference,
    target: string | null,
    onEnd: (outcome: MirrorOutcome) => void,
  ): void {
    this.mirrors ??= [];
    this.mirrors.push({ upstream, target, onEnd, call: null });
  }

  cutOff(answer: Answer): void {
    this.life?.cutOff(this, answer);
  }

  skipPlugin(name: string): void {
    this.#skipped ??= [];
    this.#skipped.push(name);
  }

  isSkipped(name: string): boolean {
    return this.#skipped !== null && this.#skipped.includes(name);
  }

  get latencyMs(): number {
    return (this.endedAt || performance.now()) - this.startedAt;
  }

  get upstreamLatencyMs(): number | undefined {
    return this.upstreamEndedAt === 0 ? undefined : this.upstreamEndedAt - this.upstreamStartedAt;
  }

  get bytesReceived(): number {
    return this.transport.bytesReceived;
  }

  get bytesSent(): number {
    return this.transport.bytesSent;
  }

  get nodeAddress(): string {
    return this.node === null ? "" : this.node.address;
  }

  // What the router asks.
  get path(): string {
    return this.request.routingPath;
  }

  get method(): string {
    return this.request.method;
  }

  get host(): string {
    return this.request.host;
  }

  get rawHost(): string {
    return this.head.authority;
  }

  get clientAddress(): string {
    return this.client.address;
  }
}

class ClientAddress implements ClientFacts {
  address: string;
  port: number;
  readonly #transport: ClientTransport;

  constructor(transport: ClientTransport) {
    const connection = transport.connection;
    this.#transport = transport;
    this.address = connection.proxyProtocolAddress ?? connection.remoteAddress;
    this.port = connection.remotePort;
  }

  get peerAddress(): string {
    return this.#transport.connection.remoteAddress;
  }

  get peerPort(): number {
    return this.#transport.connection.remotePort;
  }

  get scheme(): "http" | "https" {
    return this.#transport.connection.scheme;
  }
}

/**
 * Until there is an answer, `headers` gathers what plugins want in it; most requests never ask for the list.
 */
class ResponseFacts implements ExchangeResponse {
  status = 0;
  source: "upstream" | "gateway" | null = null;
  trailers: HeaderList | null = null;
  #headers: HeaderList | null = null;
  #begunStatus = 0;
  #reason = "";

  get headers(): HeaderList {
    return (this.#headers ??= new HeaderList());
  }

  /** As the answer came with it; another status brings its own. */
  get reason(): string {
    return this.status === this.#begunStatus ? this.#reason : reasonPhrase(this.status);
  }

  /** Nothing of the answer so far holds: `begin` takes over nothing. */
  discard(): void {
    this.#headers = null;
  }

  /** The answer is here with its own fields: those that plugins set before replace them. */
  begin(status: number, reason: string, source: "upstream" | "gateway", headers: HeaderList): void {
    const early = this.#headers;
    this.status = status;
    this.#begunStatus = status;
    this.#reason = reason;
    this.source = source;
    this.#headers = headers;
    if (early === null) return;
    for (let i = 0; i < early.length; i++) {
      if (early.names.indexOf(early.names[i]) === i) headers.set(early.rawNames[i], early.values[i]);
      else headers.push(early.names[i], early.rawNames[i], early.values[i]);
    }
  }
}
