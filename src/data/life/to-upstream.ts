/** A request on its way to a node of its upstream: the choice, the attempt, and the next one if that fails. */

import { performance } from "node:perf_hooks";
import type { PhaseResult } from "../../plugin/definition.ts";
import type { Answer } from "../../plugin/exchange.ts";
import * as answers from "../exchange/answers.ts";
import { UpstreamAttempt } from "../exchange/attempt.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { upstreamHeaders } from "../exchange/forwarding.ts";
import { Mirrors } from "../exchange/mirror.ts";
import { filterBody, runHandlers } from "../pipeline/handlers.ts";
import type { UpstreamFailure } from "../transport.ts";
import { TriedNodes, type UpstreamNode } from "../upstream/node.ts";
import type { Answering } from "./answering.ts";
import { beginCall, tellTimeLeft } from "./call-deadline.ts";
import type { Ending } from "./ending.ts";
import { isUpgrade, type FromUpstream } from "./from-upstream.ts";
import type { LifeServices } from "./services.ts";
import type { RequestLimit } from "../upstream/request-limit.ts";

export class ToUpstream {
  readonly #services: LifeServices;
  readonly #answers: FromUpstream;
  readonly #answering: Answering;
  readonly #ending: Ending;
  readonly #mirrors = new Mirrors();
  readonly #resume: (x: HttpExchange, pending: Promise<void | Answer>) => void;

  /** `resume`: what waits in the middle of a retry goes on as a stage would. */
  constructor(
    services: LifeServices,
    parts: { answers: FromUpstream; answering: Answering; ending: Ending },
    resume: (x: HttpExchange, pending: Promise<void | Answer>) => void,
  ) {
    this.#services = services;
    this.#answers = parts.answers;
    this.#answering = parts.answering;
    this.#ending = parts.ending;
    this.#resume = resume;
  }

  proxy(x: HttpExchange): PhaseResult {
    const reference = x.upstreamChoice ?? x.compiled!.upstream;
    if (reference === null) return answers.NO_UPSTREAM;
    const upstream = reference.get();
    if (upstream === null) return answers.BAD_GATEWAY;
    x.upstream = upstream;
    if (upstream.isHttp2 && x.callTimer === null && !beginCall(x)) return answers.DEADLINE_EXCEEDED;
    if (upstream.limit !== null) return this.#admit(x, upstream.limit);
    this.#filterRequestBody(x);
    return this.#tryNode(x);
  }

  /** As many requests run on the upstream as its limits say; others wait, or are turned away. */
  #admit(x: HttpExchange, limit: RequestLimit): PhaseResult {
    const isIn = limit.enter(x);
    return isIn instanceof Promise
      ? isIn.then((isLate) => this.#admitted(x, limit, isLate))
      : this.#admitted(x, limit, isIn);
  }

  #admitted(x: HttpExchange, limit: RequestLimit, isIn: boolean): PhaseResult {
    if (!isIn) return answers.OVERLOADED;
    if (isOver(x)) {
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
      return before.then((answer) => answer ?? (isOver(x) ? undefined : this.#beginLate(x, node)));
    return before;
  }

  /** Plugins waited after the node was picked. What was taken out meanwhile gets nothing any more. */
  #beginLate(x: HttpExchange, node: UpstreamNode): PhaseResult {
    return x.upstream!.isDrained(node) ? this.#tryNode(x) : this.#begin(x, node);
  }

  /** The names of a new upstream are still being resolved: within the connect timeout, that is worth waiting for. */
  async #waitForAddresses(x: HttpExchange): Promise<void | Answer> {
    await x.upstream!.whenResolved();
    if (isOver(x)) return undefined;
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
    const attempt = new UpstreamAttempt(this, this.#answers, x, upstream, node);
    const host = upstream.hostFor(node, x.upstreamHostOverride ?? x.head.authority);
    attempt.transport = upstream.connect(node, attempt, x.compiled!.timeout, host);
    // Together, and not before the attempt stands: what fails here must not end the one before it a second time.
    x.attempt = attempt;
    x.attempts++;
    x.upstreamStartedAt = performance.now();
    x.upstreamConnectedAt = 0;
    x.upstreamHeadAt = 0;
    x.upstreamEndedAt = 0;
    x.upstreamAddresses = x.attempts === 1 ? node.name : `${x.upstreamAddresses}, ${node.name}`;
    x.upstreamHost = host;
    x.upstreamScheme = upstream.scheme;
    const headers = upstreamHeaders(x, x.upstreamHost);
    if (upstream.isHttp2) tellTimeLeft(x, headers);
    if (isUpgrade(x)) {
      headers.push("connection", "Connection", "Upgrade");
      headers.push("upgrade", "Upgrade", x.head.upgrade!);
    }
    const body = x.body;
    const bodyLength = body === null ? 0 : body.lengthOr(x.head.bodyLength);
    const target = x.upstreamTarget ?? x.request.upstreamTarget();
    attempt.transport.writeHead(x.request.method, target, headers, bodyLength);
    if (x.mirrors !== null && x.attempts === 1) this.#mirrors.send(x, target, headers, bodyLength);
    if (body === null) attempt.transport.writeEnd(null);
    else body.pipeTo(attempt.transport);
  }

  /** The attempt failed: another node may be tried as long as nothing reached the client and a repeat is safe. */
  onError(x: HttpExchange, failure: UpstreamFailure, detail: string): void {
    const attempt = x.attempt!;
    const upstream = attempt.upstream;
    attempt.detach();
    x.body?.unpipe();
    this.#ending.finishAttempt(x, false);
    const { hasSent } = attempt.transport;
    const isUnseen = failure === "reset" && !hasSent && !x.isRepeated;
    // Over HTTP/2 the node has said so, and is well.
    if (!isUnseen || !upstream.isHttp2) upstream.failed(attempt.node, failure);
    this.#services.log.warn("upstream failed", {
      failure,
      detail,
      node: attempt.node.name,
      route: x.route?.id ?? "",
    });
    const answer = answerFor(failure);
    if (x.answering) {
      this.#answering.breakOff(x, answer);
      return;
    }
    const { status } = answer;
    x.upstreamStatuses = x.attempts === 1 ? String(status) : `${x.upstreamStatuses}, ${status}`;
    const isReplayable = x.body === null || x.body.isReplayable;
    const maySend = { method: x.request.method, hasSent, isReplayable };
    x.isRepeated ||= isUnseen;
    if (upstream.mayRetry(x.attempts, performance.now() - x.startedAt, maySend)) {
      x.tried = x.tried === TriedNodes.NONE ? new TriedNodes() : x.tried;
      x.tried.add(attempt.node);
      this.#retry(x, answer);
      return;
    }
    if (isUnseen && isReplayable) this.#repeat(x, attempt.node);
    else this.#answering.respond(x, answer);
  }

  /**
   * The node did not look at the request, as its connection was about to end (GOAWAY), say. That is no failure which
   * `retries` counts: it is sent to the same node once more.
   */
  #repeat(x: HttpExchange, node: UpstreamNode): void {
    try {
      this.#begin(x, node);
    } catch (error) {
      this.#answering.fail(x, error);
    }
  }

  /** `failed`: what the failure of the last attempt is answered with when no other can follow. */
  #retry(x: HttpExchange, failed: Answer): void {
    try {
      const result = this.#tryNode(x);
      if (result instanceof Promise) this.#resume(x, result);
      else if (result !== undefined) this.#answering.respond(x, failed.status === 502 ? result : failed);
    } catch (error) {
      this.#answering.fail(x, error);
    }
  }
}

/** While something was waited for, the client left, or a plugin cut the request off and its answer is on its way. */
function isOver(x: HttpExchange): boolean {
  return x.ended || x.answering;
}

/** 504 for whoever took too long, 503 where our own limit of connections was reached, 502 for the rest. */
function answerFor(failure: UpstreamFailure): Answer {
  if (failure.endsWith("timeout")) return answers.GATEWAY_TIMEOUT;
  return failure === "overloaded" ? answers.NO_UPSTREAM : answers.BAD_GATEWAY;
}
