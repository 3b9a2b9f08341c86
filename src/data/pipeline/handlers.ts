/**
 * Runs the handlers of one phase, in order, until one answers. Synchronous as long as the handlers are: only
 * a promise is awaited.
 */

import type { Answer, Exchange } from "../../plugin/exchange.ts";
import type { PhaseResult } from "../../plugin/definition.ts";

export type Handler = (ctx: Exchange) => PhaseResult;
export type HeaderHandler = (ctx: Exchange) => void | Promise<void>;
export type BodyHandler = (ctx: Exchange, chunk: Buffer, last: boolean) => Buffer;
export type LogHandler = (ctx: Exchange) => void;

/** Undefined: go on. An answer: end with it. A promise: one of the two, later. */
export function runHandlers(handlers: readonly Handler[], ctx: Exchange): PhaseResult {
  for (let i = 0; i < handlers.length; i++) {
    const result = handlers[i](ctx);
    if (result === undefined) continue;
    return result instanceof Promise ? runRest(result, handlers, ctx, i + 1) : result;
  }
  return undefined;
}

async function runRest(
  pending: Promise<void | Answer>,
  handlers: readonly Handler[],
  ctx: Exchange,
  next: number,
): Promise<void | Answer> {
  let answer = await pending;
  for (let i = next; answer === undefined && i < handlers.length && !ctx.ended; i++)
    answer = await handlers[i](ctx);
  return answer;
}

/** The body phases: each handler gets what the one before let pass. */
export function filterBody(
  handlers: readonly BodyHandler[],
  ctx: Exchange,
  chunk: Buffer,
  last: boolean,
): Buffer {
  let passed = chunk;
  for (let i = 0; i < handlers.length; i++) passed = handlers[i](ctx, passed, last);
  return passed;
}
