/**
 * Limits per time window, for `limit-count` and for plugins that count something else than requests.
 *
 * Counts on the node (exact over its workers), in Redis (exact over all gateways), or in Redis with a delay. What
 * cannot be counted gets 500, or passes with `allow_degradation`.
 */

import type { Answer, Exchange, LateText, PhaseResult, PluginHost } from "../../plugin/index.ts";
import { NO_DELAYED_SYNC, type CountConfig, type HeaderNames } from "./count-config.ts";
import { CountRule } from "./count-rule.ts";
import { DelayedCounts } from "./delayed-counts.ts";
import { refusalBody } from "./fields.ts";
import { RedisCounters, type CountResult } from "./redis-counters.ts";
import { limitVersion, redisSettings, type RedisSettings } from "./redis-settings.ts";

export interface CountLimiter {
  /** Counts the request with its cost in every rule that applies, and answers for the first that is used up. */
  take(ctx: Exchange, cost: number): PhaseResult;
  /** Absent where nothing is to be closed. */
  dispose?(): void;
}

const UNCOUNTED_BODY = { error_msg: "failed to limit count" };

/** `plugin`: name of the plugin, which keeps its counters apart from others'. */
export function compileCountLimiter(
  plugin: string,
  config: CountConfig,
  host: PluginHost<HeaderNames>,
): CountLimiter {
  const identity = config.group === undefined ? limitVersion(config) : `group:${config.group}`;
  // Joined, since a template would leave a tree of strings in each of many rules.
  const rules = CountRule.compileAll(config, [":", plugin, ":", identity, ":"].join(""), host);
  const outcome = Outcome.of(config);
  const settings = redisSettings(config);
  if (settings === null) return new LocalLimiter(rules, outcome, host);
  return remoteLimiter(plugin, config, rules, outcome, settings, host);
}

function remoteLimiter(
  plugin: string,
  config: CountConfig,
  rules: readonly CountRule[],
  outcome: Outcome,
  settings: RedisSettings,
  host: PluginHost<HeaderNames>,
): CountLimiter {
  const redis = new RedisCounters(settings, host.log);
  const delayed =
    config.sync_interval === NO_DELAYED_SYNC ? null : new DelayedCounts(redis, config.sync_interval, host);
  return {
    take: (ctx, cost) => takeRemotely(ctx, cost, `plugin-${plugin}:v1:`, rules, outcome, redis, delayed),
    dispose() {
      if (delayed === null) redis.dispose();
      else void delayed.dispose().then(() => redis.dispose());
    },
  };
}

/** For logs: what the last limit that applied said. */
const INFO = "rate_limiting_info";

class QuotaInfo implements LateText {
  readonly #key: string;
  readonly #limit: number;
  readonly #remaining: number;
  readonly #resetMs: number;

  constructor(key: string, limit: number, remaining: number, resetMs: number) {
    this.#key = key;
    this.#limit = limit;
    this.#remaining = remaining;
    this.#resetMs = resetMs;
  }

  /** JSON with APISIX's names; the time to the reset in whole seconds. */
  text(): string {
    return JSON.stringify({
      rate_limiting_key: this.#key,
      rate_limiting_limit: this.#limit,
      rate_limiting_remaining: this.#remaining,
      rate_limiting_reset: Math.floor(this.#resetMs / 1000),
    });
  }
}

const KEPT_OUTCOMES = 64;

/** What becomes of a request: the few fields of the configuration that handlers keep. */
class Outcome {
  readonly showsQuota: boolean;
  readonly #rejectedStatus: number;
  readonly #body: { error_msg: string } | undefined;
  readonly #allowsDegradation: boolean;

  /** The last ones made: most limits of a node have the same. */
  static readonly #known = new Map<string, Outcome>();

  static of(config: CountConfig): Outcome {
    const { show_limit_quota_header: shows, rejected_code: status, rejected_msg: text } = config;
    const key = `${shows} ${config.allow_degradation} ${status} ${text ?? ""}`;
    let outcome = Outcome.#known.get(key);
    if (outcome === undefined) {
      if (Outcome.#known.size >= KEPT_OUTCOMES) Outcome.#known.clear();
      Outcome.#known.set(key, (outcome = new Outcome(config)));
    }
    return outcome;
  }

  private constructor(config: CountConfig) {
    this.showsQuota = config.show_limit_quota_header;
    this.#rejectedStatus = config.rejected_code;
    this.#body = refusalBody(config.rejected_msg);
    this.#allowsDegradation = config.allow_degradation;
  }

  refuse(ctx: Exchange): Answer {
    return ctx.answer(this.#rejectedStatus, this.#body);
  }

  /** The counters failed. */
  uncounted(ctx: Exchange): Answer | undefined {
    return this.#allowsDegradation ? undefined : ctx.answer(500, UNCOUNTED_BODY);
  }

  /** No rule applies, or the request gives no usable numbers. */
  undecidable(ctx: Exchange): Answer | undefined {
    return this.#allowsDegradation ? undefined : ctx.answer(500);
  }
}

/** A class and not closures: there may be as many as routes. */
class LocalLimiter implements CountLimiter {
  readonly #rules: readonly CountRule[];
  readonly #outcome: Outcome;
  readonly #host: PluginHost<HeaderNames>;

  constructor(rules: readonly CountRule[], outcome: Outcome, host: PluginHost<HeaderNames>) {
    this.#rules = rules;
    this.#outcome = outcome;
    this.#host = host;
  }

  take(ctx: Exchange, cost: number): Answer | undefined {
    const { counters } = this.#host;
    const outcome = this.#outcome;
    let applied = 0;
    for (const rule of this.#rules) {
      const clientKey = rule.keyOf(ctx);
      if (clientKey === null) continue;
      const limit = rule.limitOf(ctx);
      const windowMs = rule.windowMsOf(ctx);
      if (Number.isNaN(limit) || Number.isNaN(windowMs)) return outcome.undecidable(ctx);
      applied++;
      const key = rule.counterOf(ctx, clientKey);
      const now = this.#host.now();
      const allowed = rule.isSliding
        ? counters.slide(key, cost, limit, windowMs, now)
        : counters.increment(key, cost, limit, windowMs, now);
      if (counters.full) {
        const answer = outcome.uncounted(ctx);
        if (answer !== undefined) return answer;
        continue;
      }
      const remaining = allowed ? counters.remaining : 0;
      ctx.setVariable(INFO, new QuotaInfo(key, limit, remaining, counters.resetMs));
      if (outcome.showsQuota) rule.showQuota(ctx, limit, remaining, counters.resetMs);
      if (!allowed) return outcome.refuse(ctx);
    }
    return applied === 0 ? outcome.undecidable(ctx) : undefined;
  }
}

async function takeRemotely(
  ctx: Exchange,
  cost: number,
  namespace: string,
  rules: readonly CountRule[],
  outcome: Outcome,
  redis: RedisCounters,
  delayed: DelayedCounts | null,
): Promise<void | Answer> {
  let applied = 0;
  for (const rule of rules) {
    const clientKey = rule.keyOf(ctx);
    if (clientKey === null) continue;
    const limit = rule.limitOf(ctx);
    const windowMs = rule.windowMsOf(ctx);
    if (Number.isNaN(limit) || Number.isNaN(windowMs)) return outcome.undecidable(ctx);
    applied++;
    const key = namespace + rule.counterOf(ctx, clientKey);
    let result: CountResult;
    try {
      result =
        delayed !== null && windowMs > delayed.intervalMs
          ? await delayed.count(key, cost, limit, windowMs, rule.isSliding)
          : await redis.count(key, cost, limit, windowMs, rule.isSliding);
    } catch {
      const answer = outcome.uncounted(ctx); // The connection has logged why.
      if (answer !== undefined) return answer;
      continue;
    }
    if (ctx.ended) return undefined;
    const remaining = result.allowed ? result.remaining : 0;
    ctx.setVariable(INFO, new QuotaInfo(key, limit, remaining, result.resetMs));
    if (outcome.showsQuota) rule.showQuota(ctx, limit, remaining, result.resetMs);
    if (!result.allowed) return outcome.refuse(ctx);
  }
  return applied === 0 ? outcome.undecidable(ctx) : undefined;
}
