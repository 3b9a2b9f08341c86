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
 *
 * Here is what comes before the upstream. The rest of the way stands in `life/`: `to-upstream.ts`, `from-upstream.ts`,
 * `answering.ts` (in the gateway's own name), `ending.ts`, and `client-side.ts` for what the client does meanwhile.
 */

import { performance } from "node:perf_hooks";
import type { Answer } from "../plugin/exchange.ts";
import type { PhaseResult } from "../plugin/definition.ts";
import type { RouteEntry } from "./configuration/route-table.ts";
import * as answers from "./exchange/answers.ts";
import { BodyVariables, mayHaveBodyVariables } from "./exchange/body/body-variables.ts";
import { HttpExchange } from "./exchange/exchange.ts";
import { dropForgedForwarding } from "./exchange/forwarding.ts";
import { RequestBody } from "./exchange/request-body.ts";
import { readRequest, RequestFacts } from "./exchange/request-facts.ts";
import { Answering } from "./life/answering.ts";
import { beginCall } from "./life/call-deadline.ts";
import { ClientSide } from "./life/client-side.ts";
import { Ending } from "./life/ending.ts";
import { FromUpstream } from "./life/from-upstream.ts";
import type { LifeServices } from "./life/services.ts";
import { ToUpstream } from "./life/to-upstream.ts";
import { Tunnels } from "./life/tunnels.ts";
import { runHandlers } from "./pipeline/handlers.ts";
import { RouteMatch } from "./route/route-pattern.ts";
import type { ClientHandler, ClientTransport, RequestHead } from "./transport.ts";

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

/** A TLS connection serves the hosts that its client certificate, or the lack of one, permits. */
function isAdmitted(x: HttpExchange): boolean {
  const { tls } = x.transport.connection;
  return tls === null || tls.admits(x.request.host, x.request.path);
}

/**
 * Clients of HTTP/2 try names of one certificate on one connection, and another connection after a 421 (RFC 9110 15.5.20):
 * for the name that the connection is about, another one would change nothing.
 */
function refusalOf({ version }: RequestHead, isOfOther: boolean): Answer {
  return version === "2" && isOfOther ? answers.MISDIRECTED : answers.BAD_REQUEST;
}

export class RequestLife {
  readonly #services: LifeServices;
  readonly #found = new RouteMatch<RouteEntry>();
  readonly #ending: Ending;
  readonly #answering: Answering;
  readonly #answers: FromUpstream;
  readonly #upstream: ToUpstream;
  readonly #tunnels: Tunnels;

  constructor(services: LifeServices) {
    this.#services = services;
    this.#ending = new Ending(services);
    this.#answering = new Answering(services, this.#ending);
    this.#tunnels = new Tunnels(services);
    this.#answers = new FromUpstream(services, this.#answering, this.#ending, this.#tunnels);
    const parts = { answers: this.#answers, answering: this.#answering, ending: this.#ending };
    this.#upstream = new ToUpstream(services, parts, (x, pending) => void this.#resume(x, pending));
  }

  /** Requests between `begin` and the end of their log phase. */
  get inFlight(): number {
    return this.#ending.inFlight;
  }

  /** A block came: what it is to close of the open tunnels is closed. */
  closeBlocked(): void {
    this.#tunnels.closeBlocked();
  }

  /** The worker ends in so many milliseconds: what would not end by itself is told before. */
  drainTunnels(timeoutMs: number): void {
    this.#tunnels.drain(timeoutMs);
  }

  /** The last stage. */
  proxy(x: HttpExchange): PhaseResult {
    return this.#upstream.proxy(x);
  }

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
    x.life = this.#answering;
    dropForgedForwarding(x, services.trusted);
    this.#ending.begin();
    if (head.bodyLength !== 0) x.body = new RequestBody(transport);
    if (services.isOverloaded()) this.#answering.respond(x, answers.OVERLOADED);
    else if (request === null) this.#answering.respond(x, answers.BAD_REQUEST);
    else if (!isAdmitted(x)) this.#refuseForCertificate(x, head);
    else if (exceeds(head.bodyLength, services.http.maxBodyBytes))
      this.#answering.respond(x, answers.TOO_LARGE);
    else if (head.version === "2" && !beginCall(x)) this.#answering.respond(x, answers.DEADLINE_EXCEEDED);
    else this.#advance(x);
    return new ClientSide(x, this.#answering, this.#ending);
  }

  #refuseForCertificate(x: HttpExchange, head: RequestHead): void {
    const { serverName, verdict } = x.transport.connection.tls!;
    const { host, path } = x.request;
    this.#services.log.info("a request is refused by the rules for client certificates", {
      host,
      path,
      server_name: serverName,
      verified: verdict,
    });
    this.#answering.respond(x, refusalOf(head, host !== serverName));
  }

  /** Runs the stages from where the exchange stands, until one answers, waits, or hands over to the upstream. */
  #advance(x: HttpExchange): void {
    try {
      while (x.stage < STAGES.length) {
        const result = STAGES[x.stage++](this, x);
        if (result === undefined) continue;
        if (result instanceof Promise) void this.#resume(x, result);
        else this.#answering.respond(x, result);
        return;
      }
    } catch (error) {
      this.#answering.fail(x, error);
    }
  }

  async #resume(x: HttpExchange, pending: Promise<void | Answer>): Promise<void> {
    try {
      const answer = await pending;
      if (x.ended || x.answering) return;
      if (answer === undefined) this.#advance(x);
      else this.#answering.respond(x, answer);
    } catch (error) {
      this.#answering.fail(x, error);
    }
  }

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
      x.globalChain = configuration.globalRules.chain("");
      return this.refuseBlocked(x) ?? this.#unknownRoute(x);
    }
    const entry = found.value!;
    const compiled = configuration.compiled(entry, found.matchedUri, found.matchedHost);
    x.entry = entry;
    x.globalChain = configuration.globalRules.chain(compiled.replacesGlobal);
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
}

function exceeds(bodyLength: number, limitBytes: number): boolean {
  return limitBytes > 0 && bodyLength > limitBytes;
}
