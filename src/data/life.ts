/**
 * The life of a request, from its head to its last log line.
 *
 *     begin ─► match ─► rewrite ─► access ─► attempt ─► answer ─► end
 *        │       │         │          │         ▲  │       │
 *        └───────┴─ respond (an answer of the gateway) ────┘       │
 *                                               └─ retry ──┘
 *
 * What comes before the upstream is the list `STAGES`, run in order until one of them answers. All of it is
 * synchronous; a stage that returns a promise is awaited, and only then. `log` runs exactly once per exchange,
 * however it ends: answered, failed, or left by its client.
 */

import type { Socket } from "node:net";
import type { Answer } from "../plugin/exchange.ts";
import type { PhaseResult } from "../plugin/definition.ts";
import type { PluginLog } from "../plugin/host.ts";
import type { HttpConfig } from "../config/static-config.ts";
import type { AddressSet } from "../lib/address.ts";
import type {
  ClientHandler,
  ClientTransport,
  RequestHead,
  ResponseHead,
  UpstreamFailure,
} from "./transport.ts";
import type { Configuration, RouteEntry } from "./configuration/configuration.ts";
import type { AccessLog } from "./access-log.ts";
import type { Fallback } from "./fallback.ts";
import type { UpstreamNode } from "./upstream/node.ts";
import type { RequestLimit } from "./upstream/request-limit.ts";
import { reasonPhrase } from "../lib/status-codes.ts";
import { HeaderList } from "../lib/headers.ts";
import type { PathRules } from "../lib/uri.ts";
import { UNKNOWN_LENGTH } from "./transport.ts";
import { HttpExchange } from "./exchange/exchange.ts";
import { RequestBody } from "./exchange/request-body.ts";
import { BodyVariables, mayHaveBodyVariables } from "./exchange/body/body-variables.ts";
import { UpstreamAttempt } from "./exchange/attempt.ts";
import { Mirrors } from "./exchange/mirror.ts";
import { readRequest, RequestFacts } from "./exchange/request-facts.ts";
import { clientHeaders, dropForgedForwarding, upstreamHeaders } from "./exchange/forwarding.ts";
import { stripHopByHop } from "./http1/hop-by-hop.ts";
import { filterBody, runHandlers, type HeaderHandler } from "./pipeline/handlers.ts";
import { RouteMatch } from "./route/route-pattern.ts";
import { TriedNodes } from "./upstream/node.ts";
import { tunnel } from "./exchange/tunnel.ts";
import { httpDate } from "./exchange/http-date.ts";
import * as answers from "./exchange/answers.ts";

export interface LifeServices {
  configuration: Configuration;
  http: HttpConfig;
  pathRules: PathRules;
  /** Peers whose X-Forwarded-* are believed; null: no boundary is configured. */
  trusted: AddressSet | null;
  /** Value of the `Server` field. */
  serverName: string;
  accessLog: AccessLog | null;
  /** Takes requests that no route knows; null: they get 404. */
  fallback: Fallback | null;
  log: PluginLog;
  /** True while the worker must not take more work. */
  isOverloaded(): boolean;
  onBegin(): void;
  onEnd(x: HttpExchange): void;
}

/** What happens to a request before it goes upstream. A stage that returns an answer ends the list. */
const STAGES: readonly ((life: RequestLife, x: HttpExchange) => PhaseResult)[] = [
  (life, x) => life.match(x),
  (_, x) =>
    x.globalChain === null || x.globalChain.rewrite === null
      ? undefined
      : runHandlers(x.globalChain.rewrite, x),
  (_, x) => (x.chain === null || x.chain.rewrite === null ? undefined : runHandlers(x.chain.rewrite, x)),
  (life, x) => (x.consumer === null ? undefined : life.attachConsumer(x)),
  (life, x) => life.refuseBlocked(x),
  (_, x) =>
    x.globalChain === null || x.globalChain.access === null
      ? undefined
      : runHandlers(x.globalChain.access, x),
  (_, x) => (x.chain === null || x.chain.access === null ? undefined : runHandlers(x.chain.access, x)),
  (life, x) => life.proxy(x),
];

const NO_BODY = Buffer.alloc(0);

type AbortReason = Parameters<ClientHandler["onAbort"]>[0];

/** nginx's 499 for a client that left. */
const ABORT_STATUS: Readonly<Record<AbortReason, number>> = {
  closed: 499,
  malformed: 400,
  timeout: 408,
  "too-large": 413,
};

/** A TLS connection serves the hosts that its client certificate, or the lack of one, permits. */
function isAdmitted(x: HttpExchange): boolean {
  const { tls } = x.transport.connection;
  return tls === null || tls.admits(x.request.host, x.request.path);
}

export class RequestLife {
  readonly #services: LifeServices;
  readonly #found = new RouteMatch<RouteEntry>();
  readonly #mirrors = new Mirrors();
  /** Exchanges that switched protocols, and the client's socket of each. */
  readonly #tunnels = new Map<HttpExchange, Socket>();
  /** Requests between `begin` and `end`. */
  inFlight = 0;

  constructor(services: LifeServices) {
    this.#services = services;
  }

  // ── begin ────────────────────────────────────────────────────────────────────────────────────────────

  /** A request's head is complete: the `RequestListener` of every client transport. */
  begin(transport: ClientTransport, head: RequestHead): ClientHandler {
    const services = this.#services;
    const request = readRequest(head, services.pathRules);
    const x = new HttpExchange(
      transport,
      head,
      request ?? new RequestFacts(head, head.target, head.target, ""),
      performance.now(),
    );
    x.life = this;
    dropForgedForwarding(x, services.trusted);
    this.inFlight++;
    services.onBegin();
    if (head.bodyLength !== 0) x.body = new RequestBody(transport);
    if (services.isOverloaded()) this.respond(x, answers.OVERLOADED);
    else if (request === null || !isAdmitted(x)) this.respond(x, answers.BAD_REQUEST);
    else if (exceeds(head.bodyLength, services.http.maxBodyBytes)) this.respond(x, answers.TOO_LARGE);
    else this.#advance(x);
    return new ClientSide(this, x);
  }

  /** Runs the stages from where the exchange stands, until one answers, waits, or hands over to the upstream. */
  #advance(x: HttpExchange): void {
    try {
      while (x.stage < STAGES.length) {
        const result = STAGES[x.stage++](this, x);
        if (result === undefined) continue;
        if (result instanceof Promise) void this.#resume(x, result);
        else this.respond(x, result);
        return;
      }
    } catch (error) {
      this.#fail(x, error);
    }
  }

  async #resume(x: HttpExchange, pending: Promise<void | Answer>): Promise<void> {
    try {
      const answer = await pending;
      if (x.ended || x.answering) return;
      if (answer === undefined) this.#advance(x);
      else this.respond(x, answer);
    } catch (error) {
      this.#fail(x, error);
    }
  }

  // ── match, consumer ──────────────────────────────────────────────────────────────────────────────────

  /** Where conditions ask for the body, it is read first. */
  match(x: HttpExchange): PhaseResult {
    if (!this.#services.configuration.namesBodyVariables) return this.#match(x);
    if (x.body !== null && mayHaveBodyVariables(x.request)) return this.#matchWithBody(x);
    x.bodyVariables = new BodyVariables(x.request, null);
    return this.#match(x);
  }

  async #matchWithBody(x: HttpExchange): Promise<void | Answer> {
    const { maxBodyVariableBytes, maxGraphqlBytes } = this.#services.http;
    const body = await x.readBody(maxBodyVariableBytes);
    if (x.ended) return undefined;
    x.bodyVariables = new BodyVariables(x.request, body, maxGraphqlBytes);
    return this.#match(x);
  }

  #match(x: HttpExchange): PhaseResult {
    const { configuration } = this.#services;
    const found = this.#found;
    if (!configuration.router.match(x, found)) {
      x.globalChain = configuration.globalChain("");
      return this.refuseBlocked(x) ?? this.#unknownRoute(x);
    }
    const entry = found.value!;
    const compiled = configuration.compiled(entry, found.matchedUri, found.matchedHost);
    x.entry = entry;
    x.globalChain = configuration.globalChain(compiled.replacesGlobal);
    x.compiled = compiled;
    x.chain = compiled.chain;
    x.route = compiled.factsFor(found.matchedUri, found.matchedHost);
    x.parameterNames = found.paramNames;
    x.parameterValues = found.paramValues;
    return this.refuseBlocked(x);
  }

  /** Asked when the route is known, and again when the consumer and the address that plugins found are. */
  refuseBlocked(x: HttpExchange): Answer | undefined {
    const { blocks } = this.#services.configuration;
    return blocks === null ? undefined : blocks.answerFor(x, Date.now());
  }

  /** Global rules see requests that no route knows, too: they may answer. */
  #unknownRoute(x: HttpExchange): PhaseResult {
    const { fallback } = this.#services;
    if (fallback !== null) {
      x.compiled = fallback.take(x.host);
      return undefined;
    }
    const global = x.globalChain;
    if (global === null) return answers.NOT_FOUND;
    const rewritten = global.rewrite === null ? undefined : runHandlers(global.rewrite, x);
    if (rewritten === undefined && global.access === null) return answers.NOT_FOUND;
    return this.#unknownRouteAccess(x, rewritten);
  }

  async #unknownRouteAccess(x: HttpExchange, rewritten: PhaseResult): Promise<Answer> {
    const access = x.globalChain?.access ?? null;
    const answer = await rewritten;
    if (answer !== undefined) return answer;
    // What a handler takes is given back in the log phase, which is over when the client has left meanwhile.
    if (access === null || x.ended) return answers.NOT_FOUND;
    return (await runHandlers(access, x)) ?? answers.NOT_FOUND;
  }

  /** An authentication plugin found the consumer: its plugins join, and those that only it has rewrite now. */
  attachConsumer(x: HttpExchange): PhaseResult {
    if (x.entry === null) return undefined;
    const chain = this.#services.configuration.chainFor(x.entry, x.compiled!, x.consumer!.username);
    if (chain === x.chain) return undefined;
    x.chain = chain;
    return chain.consumerRewrite === null ? undefined : runHandlers(chain.consumerRewrite, x);
  }

  // ── upstream ─────────────────────────────────────────────────────────────────────────────────────────

  proxy(x: HttpExchange): PhaseResult {
    const reference = x.upstreamChoice ?? x.compiled!.upstream;
    if (reference === null) return answers.NO_UPSTREAM;
    const upstream = reference.get();
    if (upstream === null) return answers.BAD_GATEWAY;
    x.upstream = upstream;
    if (upstream.limit !== null) return this.#admit(x, upstream.limit);
    this.#filterRequestBody(x);
    return this.#tryNode(x);
  }

  /** As many requests run on the upstream as its limits say; others wait, or are turned away. */
  #admit(x: HttpExchange, limit: RequestLimit): PhaseResult {
    const isIn = limit.enter();
    return isIn instanceof Promise
      ? isIn.then((isLate) => this.#admitted(x, limit, isLate))
      : this.#admitted(x, limit, isIn);
  }

  #admitted(x: HttpExchange, limit: RequestLimit, isIn: boolean): PhaseResult {
    if (!isIn) return answers.OVERLOADED;
    if (x.ended) {
      limit.leave();
      return undefined;
    }
    x.limit = limit;
    this.#filterRequestBody(x);
    return this.#tryNode(x);
  }

  #filterRequestBody(x: HttpExchange): void {
    if (x.body === null) return;
    const handlers = [...(x.globalChain?.requestBody ?? []), ...(x.chain?.requestBody ?? [])];
    if (handlers.length > 0) x.body.setFilter((chunk, last) => filterBody(handlers, x, chunk, last));
  }

  /** Chooses a node and begins an attempt on it; the answer says why there is none. */
  #tryNode(x: HttpExchange): PhaseResult {
    const upstream = x.upstream!;
    const node = upstream.pick(x, x.tried);
    if (node === null) {
      if (x.attempts > 0) return answers.BAD_GATEWAY;
      return upstream.isUnresolved ? this.#waitForAddresses(x) : answers.NO_NODE;
    }
    const before = this.#beforeProxy(x, node);
    if (before === undefined) return this.#begin(x, node);
    if (before instanceof Promise)
      return before.then((answer) => answer ?? (x.ended ? undefined : this.#beginLate(x, node)));
    return before;
  }

  /** Plugins waited after the node was picked. What was taken out meanwhile gets nothing any more. */
  #beginLate(x: HttpExchange, node: UpstreamNode): PhaseResult {
    return x.upstream!.isDrained(node) ? this.#tryNode(x) : this.#begin(x, node);
  }

  /** The names of a new upstream are still being resolved: within the connect timeout, that is worth waiting for. */
  async #waitForAddresses(x: HttpExchange): Promise<void | Answer> {
    await x.upstream!.whenResolved();
    if (x.ended) return undefined;
    const current = (x.upstreamChoice ?? x.compiled!.upstream!).get();
    if (current !== null && current !== x.upstream) {
      // An edit took its place: what was waited for comes to the new one.
      x.upstream = current;
      if (current.isUnresolved) return this.#waitForAddresses(x);
    }
    return x.upstream!.isUnresolved ? answers.NO_NODE : this.#tryNode(x);
  }

  #beforeProxy(x: HttpExchange, node: UpstreamNode): PhaseResult {
    x.node = node;
    const global = x.globalChain === null ? null : x.globalChain.beforeProxy;
    const own = x.chain === null ? null : x.chain.beforeProxy;
    if (global === null) return own === null ? undefined : runHandlers(own, x);
    return runHandlers(own === null ? global : [...global, ...own], x);
  }

  #begin(x: HttpExchange, node: UpstreamNode): void {
    const upstream = x.upstream!;
    const attempt = new UpstreamAttempt(this, x, upstream, node);
    attempt.transport = upstream.connect(node, attempt, x.compiled!.timeout);
    // Together, and not before the attempt stands: what fails here must not end the one before it a second time.
    x.attempt = attempt;
    x.attempts++;
    x.upstreamStartedAt = performance.now();
    x.upstreamConnectedAt = 0;
    x.upstreamHeadAt = 0;
    x.upstreamEndedAt = 0;
    x.upstreamAddresses = x.attempts === 1 ? node.name : `${x.upstreamAddresses}, ${node.name}`;
    x.upstreamHost = upstream.hostFor(node, x.upstreamHostOverride ?? x.head.authority);
    x.upstreamScheme = upstream.scheme;
    const headers = upstreamHeaders(x, x.upstreamHost);
    if (this.#isUpgrade(x)) {
      headers.push("connection", "Connection", "Upgrade");
      headers.push("upgrade", "Upgrade", x.head.upgrade!);
    }
    const body = x.body;
    const bodyLength = body === null ? 0 : body.isFiltered ? UNKNOWN_LENGTH : x.head.bodyLength;
    const target = x.upstreamTarget ?? x.request.upstreamTarget();
    attempt.transport.writeHead(x.request.method, target, headers, bodyLength);
    if (x.mirrors !== null && x.attempts === 1) this.#mirrors.send(x, target, headers, bodyLength);
    if (body === null) attempt.transport.writeEnd(null);
    else body.pipeTo(attempt.transport);
  }

  #isUpgrade(x: HttpExchange): boolean {
    return x.head.upgrade !== null && x.compiled!.allowsUpgrade && x.head.bodyLength === 0;
  }

  onInformational(x: HttpExchange, head: ResponseHead): void {
    if (head.status === 100) return;
    stripHopByHop(head.headers);
    x.transport.writeInformational(head.status, head.headers);
  }

  /** The attempt failed: another node may be tried as long as nothing reached the client and a repeat is safe. */
  onUpstreamError(x: HttpExchange, failure: UpstreamFailure, detail: string): void {
    const attempt = x.attempt!;
    const upstream = attempt.upstream;
    attempt.detach();
    x.body?.unpipe();
    this.#finishAttempt(x, false);
    upstream.failed(attempt.node, failure);
    this.#services.log.warn("upstream failed", {
      failure,
      detail,
      node: attempt.node.name,
      route: x.route?.id ?? "",
    });
    if (x.answering) {
      x.transport.abort();
      this.#end(x);
      return;
    }
    const answer = answerFor(failure);
    const { status } = answer;
    x.upstreamStatuses = x.attempts === 1 ? String(status) : `${x.upstreamStatuses}, ${status}`;
    const isReplayable = x.body === null || x.body.isReplayable;
    const maySend = { method: x.request.method, hasSent: attempt.transport.hasSent, isReplayable };
    if (upstream.mayRetry(x.attempts, performance.now() - x.startedAt, maySend)) {
      x.tried = x.tried === TriedNodes.NONE ? new TriedNodes() : x.tried;
      x.tried.add(attempt.node);
      this.#retry(x, answer);
      return;
    }
    this.respond(x, answer);
  }

  /** `failed`: what the failure of the last attempt is answered with when no other can follow. */
  #retry(x: HttpExchange, failed: Answer): void {
    try {
      const result = this.#tryNode(x);
      if (result instanceof Promise) void this.#resume(x, result);
      else if (result !== undefined) this.respond(x, failed.status === 502 ? result : failed);
    } catch (error) {
      this.#fail(x, error);
    }
  }

  // ── answer from upstream ─────────────────────────────────────────────────────────────────────────────

  onUpstreamHead(x: HttpExchange, head: ResponseHead): void {
    x.upstreamHeadAt = performance.now();
    x.upstreamConnectedAt = x.attempt!.transport.connectedAt;
    x.upstreamStatuses = x.attempts === 1 ? String(head.status) : `${x.upstreamStatuses}, ${head.status}`;
    x.answering = true;
    x.attempt!.upstream.answered(x.attempt!.node, head.status, x.upstreamHeadAt - x.upstreamStartedAt);
    if (head.status === 101) {
      this.#switchProtocols(x, head);
      return;
    }
    x.responseLength = head.bodyLength;
    x.declaredLength = head.bodyLength === 0 ? declaredLength(head.headers) : null;
    clientHeaders(head.headers, this.#services.serverName);
    x.response.begin(head.status, head.reason, "upstream", head.headers);
    if (this.#services.http.showUpstreamStatus || head.status >= 500) {
      head.headers.push("x-apisix-upstream-status", "X-APISIX-Upstream-Status", x.upstreamStatuses);
    }
    try {
      const pending = this.#headerPhase(x);
      if (pending !== undefined) {
        void this.#writeHeadAfter(x, pending);
        return;
      }
    } catch (error) {
      this.#failHead(x, error);
      return;
    }
    this.#writeHead(x);
  }

  /** Runs the header phases; undefined when they are done, a promise while a plugin waits. */
  #headerPhase(x: HttpExchange): Promise<void> | undefined {
    const global = x.globalChain === null ? null : x.globalChain.responseHeaders;
    const own = x.chain === null ? null : x.chain.responseHeaders;
    if (global === null && own === null) return undefined;
    if (global === null) return runHeaderHandlers(own!, x, 0);
    return runHeaderHandlers(own === null ? global : [...global, ...own], x, 0);
  }

  /** Plugins wait: body chunks that arrive meanwhile are kept by `onUpstreamBody`, which asks for no more. */
  async #writeHeadAfter(x: HttpExchange, pending: Promise<void>): Promise<void> {
    x.held = [];
    try {
      await pending;
    } catch (error) {
      this.#failHead(x, error);
    }
    if (x.ended) return;
    const held = x.held;
    x.held = null;
    if (!this.#writeHead(x)) return;
    for (const chunk of held) this.onUpstreamBody(x, chunk);
    if (x.hasUpstreamEnded) this.onUpstreamEnd(x, x.heldTrailers);
    else x.attempt!.transport.resumeBody();
  }

  /** False: a plugin made a head of it that cannot be sent, and the exchange ended with an error. */
  #writeHead(x: HttpExchange): boolean {
    const response = x.response;
    x.filtersBody =
      (x.globalChain !== null && x.globalChain.responseBody !== null) ||
      (x.chain !== null && x.chain.responseBody !== null);
    const hasNoBody = x.head.method === "HEAD" || response.status === 204 || response.status === 304;
    const length = hasNoBody ? 0 : x.filtersBody ? UNKNOWN_LENGTH : x.responseLength;
    try {
      x.transport.writeHead(
        response.status,
        response.reason,
        response.headers,
        length,
        // What a plugin would make of the body of a GET is not known here.
        hasNoBody && !x.filtersBody ? x.declaredLength : null,
      );
      return true;
    } catch (error) {
      this.#failHead(x, error);
      return false;
    }
  }

  onUpstreamBody(x: HttpExchange, chunk: Buffer): boolean {
    if (x.ended) return true;
    if (x.held !== null) {
      x.held.push(Buffer.from(chunk));
      return false;
    }
    if (!x.filtersBody) return x.transport.writeBody(chunk);
    try {
      // Plugins may keep what they are given.
      const passed = this.#filterBody(x, Buffer.from(chunk), false);
      return passed.length === 0 || x.transport.writeBody(passed);
    } catch (error) {
      this.#fail(x, error);
      return true;
    }
  }

  onUpstreamEnd(x: HttpExchange, trailers: HeaderList | null): void {
    if (x.ended) return;
    if (x.held !== null) {
      x.hasUpstreamEnded = true;
      x.heldTrailers = trailers;
      return;
    }
    if (x.filtersBody) {
      try {
        const last = this.#filterBody(x, NO_BODY, true);
        if (last.length > 0) x.transport.writeBody(last);
      } catch (error) {
        this.#fail(x, error);
        return;
      }
    }
    x.attempt!.detach();
    this.#finishAttempt(x, true);
    x.transport.writeEnd(trailers);
    this.#end(x, x.upstreamEndedAt);
  }

  /** Throws what a plugin throws: without its share the answer would be another one, and look whole. */
  #filterBody(x: HttpExchange, chunk: Buffer, last: boolean): Buffer {
    const global = x.globalChain === null ? null : x.globalChain.responseBody;
    const own = x.chain === null ? null : x.chain.responseBody;
    const passed = global === null ? chunk : filterBody(global, x, chunk, last);
    return own === null ? passed : filterBody(own, x, passed, last);
  }

  #switchProtocols(x: HttpExchange, head: ResponseHead): void {
    const attempt = x.attempt!;
    if (!this.#isUpgrade(x)) {
      attempt.abort();
      this.#finishAttempt(x, false);
      x.answering = false;
      this.respond(x, answers.BAD_GATEWAY);
      return;
    }
    x.response.begin(101, head.reason, "upstream", head.headers);
    try {
      x.transport.writeHead(101, head.reason, head.headers, 0, null);
    } catch (error) {
      this.#failHead(x, error);
      return;
    }
    attempt.detach();
    const client = x.transport.takeSocket();
    this.#tunnels.set(x, client.socket);
    tunnel(client, attempt.transport.takeSocket(), this.#services.http.tunnelIdleTimeoutMs, () => {
      this.#tunnels.delete(x);
      this.#finishAttempt(x, true);
      this.#end(x);
    });
  }

  #finishAttempt(x: HttpExchange, ok: boolean): void {
    const attempt = x.attempt!;
    x.upstreamEndedAt = performance.now();
    attempt.upstream.finished(
      attempt.node,
      (x.upstreamHeadAt || x.upstreamEndedAt) - x.upstreamStartedAt,
      ok,
    );
  }

  // ── answer of the gateway ────────────────────────────────────────────────────────────────────────────

  /** Answers in the gateway's own name. The header and body phases run for this answer as for any other. */
  respond(x: HttpExchange, answer: Answer): void {
    if (x.ended || x.answering) return;
    x.answering = true;
    const headers = new HeaderList();
    headers.push("date", "Date", httpDate());
    headers.push("server", "Server", this.#services.serverName);
    x.response.begin(answer.status, reasonPhrase(answer.status), "gateway", headers);
    if (answer.headers !== undefined) {
      for (const name of Object.keys(answer.headers)) headers.set(name, answer.headers[name]);
    }
    if (answer.body !== undefined && !headers.has("content-type")) {
      headers.push("content-type", "Content-Type", answers.contentTypeOf(answer.body));
    }
    headers.delete("content-length");
    if (x.upstreamStatuses !== "" && (answer.status >= 500 || this.#services.http.showUpstreamStatus)) {
      headers.push("x-apisix-upstream-status", "X-APISIX-Upstream-Status", x.upstreamStatuses);
    }
    try {
      const pending = this.#headerPhase(x);
      if (pending !== undefined) {
        void this.#writeAnswerAfter(x, answer, pending);
        return;
      }
    } catch (error) {
      this.#services.log.error("plugin failed", { phase: "responseHeaders", error: String(error) });
    }
    this.#writeAnswer(x, answer);
  }

  async #writeAnswerAfter(x: HttpExchange, answer: Answer, pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } catch (error) {
      this.#services.log.error("plugin failed", { phase: "responseHeaders", error: String(error) });
    }
    if (!x.ended) this.#writeAnswer(x, answer);
  }

  #writeAnswer(x: HttpExchange, answer: Answer): void {
    const response = x.response;
    try {
      let body = answers.bodyBytes(answer.body);
      if (
        (x.globalChain !== null && x.globalChain.responseBody !== null) ||
        (x.chain !== null && x.chain.responseBody !== null)
      ) {
        body = this.#filterBody(x, typeof body === "string" ? Buffer.from(body) : body, true);
      }
      x.transport.writeAnswer(response.status, response.reason, response.headers, body);
    } catch (error) {
      this.#failHead(x, error);
      return;
    }
    this.#end(x);
  }

  /**
   * The head of the answer is not written, and what plugins made of it (a line end in a value, say) cannot be: a
   * bare 500 that no plugin has touched takes its place. Nothing may be thrown here: the caller is often a socket.
   */
  #failHead(x: HttpExchange, error: unknown): void {
    if (x.ended) return;
    this.#reportFault(x, error);
    this.#abandonAttempt(x, true);
    x.held = null;
    const headers = new HeaderList();
    headers.push("date", "Date", httpDate());
    headers.push("server", "Server", this.#services.serverName);
    headers.push("content-type", "Content-Type", "application/json");
    x.response.discard();
    x.response.begin(500, reasonPhrase(500), "gateway", headers);
    x.transport.writeAnswer(500, x.response.reason, headers, answers.bodyBytes(answers.INTERNAL_ERROR.body));
    this.#end(x);
  }

  /** Ends an attempt that runs; `ok`: it is not the node's fault. */
  #abandonAttempt(x: HttpExchange, ok: boolean): void {
    if (x.attempt === null || x.upstreamEndedAt !== 0) return;
    x.attempt.abort();
    this.#finishAttempt(x, ok);
  }

  #reportFault(x: HttpExchange, error: unknown): void {
    this.#services.log.error("request failed", {
      route: x.route?.id ?? "",
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }

  /** A plugin threw, or something of ours did: the request fails, nothing else. */
  #fail(x: HttpExchange, error: unknown): void {
    this.#reportFault(x, error);
    this.#abandonAttempt(x, false);
    if (x.answering) {
      x.transport.abort();
      this.#end(x);
    } else {
      this.respond(x, answers.INTERNAL_ERROR);
    }
  }

  /** More body came than a plugin allows: nothing of it goes on, and its upstream attempt ends. */
  onBodyTooLong(x: HttpExchange): void {
    if (x.ended) return;
    x.body!.abort();
    this.#abandonAttempt(x, true);
    if (x.answering) {
      x.transport.abort();
      this.#end(x);
    } else {
      this.respond(x, answers.TOO_LARGE);
    }
  }

  /** A block came: what it is to close of the open tunnels is closed. */
  closeBlocked(): void {
    const { blocks } = this.#services.configuration;
    if (blocks === null) return;
    for (const [x, socket] of this.#tunnels) if (blocks.closes(x, Date.now())) socket.destroy();
  }

  /** A plugin's wish: nothing is waited for any longer. Joined sockets are no exchange of the gateway's any more. */
  cutOff(x: HttpExchange, answer: Answer): void {
    if (x.ended || x.response.status === 101) return;
    x.body?.abort();
    this.#abandonAttempt(x, true);
    x.held = null;
    if (x.answering) {
      x.transport.abort();
      this.#end(x);
    } else {
      this.respond(x, answer);
    }
  }

  // ── end ──────────────────────────────────────────────────────────────────────────────────────────────

  /** A plugin threw on a part of the request's body. */
  onBodyFault(x: HttpExchange, error: unknown): void {
    if (x.ended) return;
    x.body!.abort();
    this.#fail(x, error);
  }

  /** The client left, or broke the framing of its body; what its transport then told it is what is logged. */
  onClientAbort(x: HttpExchange, reason: AbortReason): void {
    if (x.ended) return;
    x.body?.abort();
    this.#abandonAttempt(x, true);
    if (x.response.status === 0) x.response.status = ABORT_STATUS[reason];
    x.answering = true;
    this.#end(x);
  }

  #end(x: HttpExchange, now = performance.now()): void {
    if (x.ended) return;
    x.endedAt = now;
    x.ended = true;
    this.inFlight--;
    if (x.limit !== null) x.limit.leave();
    // An answer may come before the whole body: what is left of it goes nowhere, and copies would wait for it.
    if (x.mirrors !== null) x.body?.abort();
    if (x.globalChain !== null && x.globalChain.log !== null) this.#log(x.globalChain.log, x);
    if (x.chain !== null && x.chain.log !== null) this.#log(x.chain.log, x);
    this.#services.accessLog?.write(x);
    this.#services.onEnd(x);
  }

  #log(handlers: readonly ((ctx: HttpExchange) => void)[], x: HttpExchange): void {
    for (const handler of handlers) {
      try {
        handler(x);
      } catch (error) {
        this.#services.log.error("plugin failed", { phase: "log", error: String(error) });
      }
    }
  }
}

/** The exchange as its client transport sees it. */
class ClientSide implements ClientHandler {
  readonly #life: RequestLife;
  readonly #exchange: HttpExchange;

  constructor(life: RequestLife, exchange: HttpExchange) {
    this.#life = life;
    this.#exchange = exchange;
  }

  onBody(chunk: Buffer): boolean {
    const body = this.#exchange.body;
    if (body === null) return true;
    try {
      if (body.receivedBytes + chunk.length <= body.limitBytes) return body.onChunk(chunk);
      this.#life.onBodyTooLong(this.#exchange);
    } catch (error) {
      this.#life.onBodyFault(this.#exchange, error);
    }
    return true;
  }

  onEnd(trailers: HeaderList | null): void {
    try {
      this.#exchange.body?.onEnd(trailers);
    } catch (error) {
      this.#life.onBodyFault(this.#exchange, error);
    }
  }

  onWritable(): void {
    this.#exchange.attempt?.transport.resumeBody();
  }

  onAbort(reason: AbortReason): void {
    this.#life.onClientAbort(this.#exchange, reason);
  }
}

function runHeaderHandlers(
  handlers: readonly HeaderHandler[],
  x: HttpExchange,
  from: number,
): Promise<void> | undefined {
  for (let i = from; i < handlers.length; i++) {
    const pending = handlers[i](x);
    if (pending instanceof Promise) return pending.then(() => runHeaderHandlers(handlers, x, i + 1));
  }
  return undefined;
}

/** 504 for whoever took too long, 503 where our own limit of connections was reached, 502 for the rest. */
function answerFor(failure: UpstreamFailure): Answer {
  if (failure.endsWith("timeout")) return answers.GATEWAY_TIMEOUT;
  return failure === "overloaded" ? answers.NO_UPSTREAM : answers.BAD_GATEWAY;
}

function exceeds(bodyLength: number, limitBytes: number): boolean {
  return limitBytes > 0 && bodyLength > limitBytes;
}

function declaredLength(headers: HeaderList): number | null {
  const text = headers.get("content-length");
  return text === undefined ? null : Number(text);
}
