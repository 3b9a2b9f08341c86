/**
 * `limit-count`: so many requests per time window and key, exact over all workers of the node.
 *
 * The counter belongs to the resource that holds the configuration and to the configuration's content: an
 * edited limit begins anew, an edit elsewhere does not. When the counters' memory is full, requests with new
 * keys are refused with 500, or pass with `allow_degradation`.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { compileTemplate } from "../../lib/template.ts";
import { contentHash } from "../../lib/content-hash.ts";

type KeyOf = (ctx: Exchange) => string | undefined;

const DEFAULT_HEADERS = {
  limit_header: "X-RateLimit-Limit",
  remaining_header: "X-RateLimit-Remaining",
  reset_header: "X-RateLimit-Reset",
};

export default definePlugin({
  name: "limit-count",
  version: "0.5.0",
  priority: 1002,
  perOwner: true,
  config: Type.Object({
    count: Type.Integer({ exclusiveMinimum: 0, description: "Requests per window" }),
    time_window: Type.Integer({ exclusiveMinimum: 0, description: "Length of the window in seconds" }),
    window_type: Type.Union([Type.Literal("fixed")], { default: "fixed" }),
    key: Type.String({
      default: "remote_addr",
      description: "Variable, combination of variables, or constant",
    }),
    key_type: Type.Union([Type.Literal("var"), Type.Literal("var_combination"), Type.Literal("constant")], {
      default: "var",
    }),
    rejected_code: Type.Integer({ minimum: 200, maximum: 599, default: 503 }),
    rejected_msg: Type.Optional(Type.String({ minLength: 1 })),
    policy: Type.Union([Type.Literal("local")], { default: "local" }),
    allow_degradation: Type.Boolean({
      default: false,
      description: "Let requests pass when they cannot be counted",
    }),
    show_limit_quota_header: Type.Boolean({ default: true }),
  }),
  metadata: Type.Object({
    limit_header: Type.String({ default: DEFAULT_HEADERS.limit_header }),
    remaining_header: Type.String({ default: DEFAULT_HEADERS.remaining_header }),
    reset_header: Type.String({ default: DEFAULT_HEADERS.reset_header }),
  }),
  compile(config, host) {
    // Handlers keep what they close over for as long as the route lives: so these, and not the whole configuration.
    const { count, rejected_code: rejectedStatus, allow_degradation: allowsDegradation } = config;
    const { counters } = host;
    const showsQuota = config.show_limit_quota_header;
    const suffix = `:limit-count:${contentHash(config)}:`;
    const keyOf = compileKey(config.key, config.key_type);
    const windowMs = config.time_window * 1000;
    const limitText = String(config.count);
    const rejection = config.rejected_msg === undefined ? undefined : { error_msg: config.rejected_msg };

    return {
      access(ctx) {
        const key = host.ownerOf(ctx) + suffix + (keyOf(ctx) ?? ctx.client.address);
        const allowed = counters.increment(key, 1, count, windowMs, host.now());
        if (counters.full) {
          return allowsDegradation ? undefined : ctx.answer(500, { error_msg: "failed to limit count" });
        }
        if (showsQuota) {
          const names = host.metadata() ?? DEFAULT_HEADERS;
          const { headers } = ctx.response;
          headers.set(names.limit_header, limitText);
          headers.set(names.remaining_header, String(counters.remaining));
          headers.set(names.reset_header, String(Math.floor(counters.resetMs / 10) / 100));
        }
        return allowed ? undefined : ctx.answer(rejectedStatus, rejection);
      },
    };
  },
});

function compileKey(key: string, type: "var" | "var_combination" | "constant"): KeyOf {
  if (type === "constant") return () => key;
  if (type === "var") return (ctx) => ctx.variable(key);
  const template = compileTemplate(key);
  // A combination of which no variable has a value names nobody in particular.
  return (ctx) => (template.isResolved(ctx) ? template.render(ctx) : undefined);
}
