/**
 * `deadline`: a request has so much time, from its first byte to the last of its answer. What is left of it is told to
 * the upstream; who is later is cut off.
 *
 * The time is the route's, or what the client says in a header, up to the route's. Time that plugins, retries and
 * waiting for the upstream take counts. Fails open: a header that holds no number counts as not sent.
 */

import { definePlugin, Type, type Answer, type Exchange } from "../../plugin/index.ts";
import { rejectionStatus } from "../../plugin/schema.ts";

const HEADER_NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/** The longest that a timer can wait. */
const LONGEST_MS = 0x7fff_ffff;
const NUMBER = /^\d{1,10}$/;

const Config = Type.Object({
  budget_ms: Type.Integer({
    minimum: 1,
    maximum: LONGEST_MS,
    description: "Milliseconds that a request has, and the most that a client may ask for",
  }),
  request_header: Type.Optional(
    Type.String({
      pattern: HEADER_NAME,
      maxLength: 128,
      description: "Header in which a client says how many milliseconds it waits; absent: it has no say",
    }),
  ),
  upstream_header: Type.Optional(
    Type.String({
      pattern: HEADER_NAME,
      maxLength: 128,
      description: "Header in which the upstream is told what is left; absent: it is not told",
    }),
  ),
  reserve_ms: Type.Integer({
    minimum: 0,
    maximum: LONGEST_MS,
    default: 0,
    description: "Milliseconds of it that the upstream is not told of: for the way of its answer",
  }),
  rejected_code: rejectionStatus(504),
  rejected_msg: Type.Optional(
    Type.String({ minLength: 1, description: "Text of the refusal, as `error_msg`" }),
  ),
});

export default definePlugin({
  name: "deadline",
  version: "0.1.0",
  // Before everything that may wait.
  priority: 22_500,
  config: Config,
  compile(config, host) {
    const { budget_ms: budgetMs, reserve_ms: reserveMs, rejected_code: status } = config;
    const requestHeader = config.request_header?.toLowerCase();
    const upstreamHeader = config.upstream_header;
    const body = { error_msg: config.rejected_msg ?? "deadline exceeded" };
    const running = new Map<Exchange, Running>();
    const late = host.metrics.counter(
      "deadline_exceeded_total",
      ["outcome"],
      "Requests whose time was over: refused before the upstream had them, cut without an answer, or broken off in it",
    );
    const [refused, cut, broken] = ["refused", "cut", "broken"].map((outcome) => late.series([outcome]));

    function answerOf(ctx: Exchange): Answer {
      return ctx.answer(status, body);
    }

    function budgetOf(ctx: Exchange): number {
      const asked = requestHeader === undefined ? undefined : ctx.request.headers.get(requestHeader);
      return asked !== undefined && NUMBER.test(asked) ? Math.min(Number(asked), budgetMs) : budgetMs;
    }

    function onOver(ctx: Exchange): void {
      running.delete(ctx);
      // A consumer's own deadline took this one's place, and with it the log phase.
      if (ctx.ended) return;
      late.inc(ctx.response.source === null ? cut : broken);
      ctx.cutOff(answerOf(ctx));
    }

    return {
      rewrite(ctx) {
        const endsAt = ctx.startedAt + budgetOf(ctx);
        const leftMs = endsAt - host.monotonicNow();
        if (leftMs <= 0) {
          late.inc(refused);
          return answerOf(ctx);
        }
        ctx.deadlineAt = Math.min(ctx.deadlineAt, endsAt - reserveMs);
        running.set(ctx, { endsAt, timer: setTimeout(onOver, leftMs, ctx) });
        return undefined;
      },
      beforeProxy(ctx) {
        const endsAt = running.get(ctx)?.endsAt ?? Infinity;
        const leftMs = Math.floor(endsAt - host.monotonicNow() - reserveMs);
        if (leftMs <= 0) {
          late.inc(refused);
          return answerOf(ctx);
        }
        if (upstreamHeader !== undefined && leftMs !== Infinity) tell(ctx, upstreamHeader, leftMs);
        return undefined;
      },
      log(ctx) {
        const entry = running.get(ctx);
        if (entry === undefined) return;
        clearTimeout(entry.timer);
        running.delete(ctx);
      },
    };
  },
});

/** A request whose time runs. */
interface Running {
  /** As `monotonicNow()`. */
  endsAt: number;
  timer: NodeJS.Timeout;
}

function tell(ctx: Exchange, header: string, leftMs: number): void {
  ctx.request.headers.put(header.toLowerCase(), header, String(leftMs));
}
