/**
 * The plugins of one route (or of the global rules), compiled: per phase the handlers in the order in which
 * they run, or null when no plugin has that phase, which costs a request one comparison.
 */

import type { Answer, Exchange } from "../../plugin/exchange.ts";
import type { PhaseResult, PluginHandlers } from "../../plugin/definition.ts";
import type { StreamExchange } from "../../plugin/stream.ts";
import type { BodyHandler, Handler, HeaderHandler, LogHandler } from "./handlers.ts";
import type { HelloHandler } from "../tls/handshake.ts";
import type { CompiledExpression } from "../../lib/expression.ts";

/** One plugin in a chain. */
export interface ChainLink {
  name: string;
  /** Already resolved: `_meta.priority`, else the plugin's own. */
  priority: number;
  isAuth: boolean;
  /** Another plugin may have run in its place (`ctx.isSkipped`). */
  canBeSkipped: boolean;
  /** Comes from a consumer or its group alone: its rewrite runs after authentication. */
  fromConsumer: boolean;
  handlers: PluginHandlers;
  /** `_meta.filter`. */
  filter: CompiledExpression | null;
  /** `_meta.error_response`. */
  errorResponse: string | object | null;
}

export class PluginChain {
  readonly isEmpty: boolean;
  /** Before there is a request: a plugin with `_meta.filter`, which asks about requests, takes no part. */
  readonly clientHello: readonly HelloHandler[] | null;
  /** Of connections. */
  readonly preread: readonly Handler[] | null;
  readonly rewrite: readonly Handler[] | null;
  /** Rewrite handlers of plugins that only the consumer brought. */
  readonly consumerRewrite: readonly Handler[] | null;
  readonly access: readonly Handler[] | null;
  readonly requestBody: readonly BodyHandler[] | null;
  readonly beforeProxy: readonly Handler[] | null;
  readonly responseHeaders: readonly HeaderHandler[] | null;
  readonly responseBody: readonly BodyHandler[] | null;
  readonly log: readonly LogHandler[] | null;

  constructor(links: ChainLink[]) {
    links.sort((a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1));
    this.isEmpty = links.length === 0;
    this.clientHello = phase(links, (link) => (link.filter === null ? link.handlers.clientHello : null));
    this.preread = phase(links, (link) => guarded(link, ofStreams(link.handlers.preread)));
    this.rewrite = phase(links, (link) => (link.fromConsumer ? null : guarded(link, link.handlers.rewrite)));
    this.consumerRewrite = phase(links, (link) =>
      link.fromConsumer && !link.isAuth ? guarded(link, link.handlers.rewrite) : null,
    );
    this.access = phase(links, (link) => guarded(link, link.handlers.access));
    this.requestBody = phase(links, (link) => guardedBody(link, link.handlers.requestBody));
    this.beforeProxy = phase(links, (link) => guarded(link, link.handlers.beforeProxy));
    this.responseHeaders = phase(links, (link) => guardedVoid(link, link.handlers.responseHeaders));
    this.responseBody = phase(links, (link) => guardedBody(link, link.handlers.responseBody));
    this.log = phase(links, (link) => ending(link, link.handlers.log));
  }
}

function phase<H extends object>(
  links: readonly ChainLink[],
  handlerOf: (link: ChainLink) => H | null | undefined,
): readonly H[] | null {
  const handlers: H[] = [];
  for (const link of links) {
    const handler = handlerOf(link);
    if (handler !== null && handler !== undefined) handlers.push(handler);
  }
  if (handlers.length === 0) return null;
  if (handlers.length === 1) return alone(handlers[0]);
  // A copy: an array that grew keeps room for 17 elements, and there are many chains.
  return handlers.slice();
}

/** Lists of one handler that were made last: most chains have the same few alone in a phase. */
const LONERS: (readonly [object])[] = [];
const KEPT_LONERS = 8;

function alone<H extends object>(handler: H): readonly H[] {
  let list = LONERS.find(([kept]) => kept === handler);
  if (list === undefined) {
    list = [handler];
    LONERS.unshift(list);
    if (LONERS.length > KEPT_LONERS) LONERS.pop();
  }
  return list as readonly [H];
}

/** They run for connections alone, whose exchanges have what they ask for. */
function ofStreams(handler: ((ctx: StreamExchange) => PhaseResult) | undefined): Handler | undefined {
  return handler as Handler | undefined;
}

// Most links run their handlers as they are; wrappers exist where `_meta` asks for them, or a plugin may be skipped.

function guarded(link: ChainLink, handler: Handler | undefined): Handler | undefined {
  if (handler === undefined || (isUnfiltered(link) && link.errorResponse === null)) return handler;
  return (ctx) => {
    if (!passes(link, ctx)) return undefined;
    const result = handler(ctx);
    if (link.errorResponse === null || result === undefined) return result;
    return result instanceof Promise
      ? result.then((answer) => reworded(link, answer))
      : reworded(link, result);
  };
}

function guardedVoid<R>(
  link: ChainLink,
  handler: ((ctx: Exchange) => R) | undefined,
): ((ctx: Exchange) => R | undefined) | undefined {
  if (handler === undefined || isUnfiltered(link)) return handler;
  return (ctx) => (passes(link, ctx) ? handler(ctx) : undefined);
}

/** What a plugin took before another one ran in its place, it gives back all the same. */
function ending(link: ChainLink, handler: LogHandler | undefined): LogHandler | undefined {
  if (handler === undefined || link.filter === null) return handler;
  return (ctx) => {
    if (holds(link, link.filter!, ctx)) handler(ctx);
  };
}

function guardedBody(link: ChainLink, handler: BodyHandler | undefined): BodyHandler | undefined {
  if (handler === undefined || isUnfiltered(link)) return handler;
  return (ctx, chunk, last) => (passes(link, ctx) ? handler(ctx, chunk, last) : chunk);
}

/** Verdicts of filters are kept per exchange: a filter is evaluated once per request. */
const verdicts = new WeakMap<Exchange, Map<ChainLink, boolean>>();

function isUnfiltered(link: ChainLink): boolean {
  return link.filter === null && !link.canBeSkipped;
}

function passes(link: ChainLink, ctx: Exchange): boolean {
  if (link.canBeSkipped && ctx.isSkipped(link.name)) return false;
  return link.filter === null || holds(link, link.filter, ctx);
}

function holds(link: ChainLink, filter: CompiledExpression, ctx: Exchange): boolean {
  let known = verdicts.get(ctx);
  if (known === undefined) verdicts.set(ctx, (known = new Map()));
  let verdict = known.get(link);
  if (verdict === undefined) known.set(link, (verdict = filter.evaluate(ctx)));
  return verdict;
}

function reworded(link: ChainLink, answer: void | Answer): void | Answer {
  if (answer === undefined || answer.status < 400 || link.errorResponse === null) return answer;
  return { status: answer.status, body: link.errorResponse, headers: answer.headers };
}
