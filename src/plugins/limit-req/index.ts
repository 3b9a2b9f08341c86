/**
 * `limit-req`: a steady rate of requests per key. What exceeds it is delayed up to `burst` requests, then refused.
 *
 * A leaky bucket, exact over all workers of the node, or with a Redis over all gateways. The bucket belongs to the
 * resource that holds the configuration and to the configuration's content: an edited limit begins anew. When
 * buckets cannot be counted (memory full, Redis away), requests get 500, or pass with `allow_degradation`.
 */

import { definePlugin, Type, type Answer, type Exchange, type PhaseResult } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { Waits } from "../../plugin/waits.ts";
import { refusalBody, refusalFields } from "../limit/fields.ts";
import { compileKey } from "../limit/key.ts";
import { RedisCounters } from "../limit/redis-counters.ts";
import {
  checkRedisSettings,
  ENCRYPTED_FIELDS,
  limitVersion,
  redisConditions,
  redisSettings,
} from "../limit/redis-settings.ts";

/** Delays below this are not worth a timer. */
const LEAST_DELAY_MS = 1;

export default definePlugin({
  name: "limit-req",
  version: "0.1.0",
  priority: 1001,
  perOwner: true,
  canBeSkipped: true,
  encrypted: ENCRYPTED_FIELDS,
  config: Type.Object(
    {
      rate: Type.Number({ exclusiveMinimum: 0, description: "Requests per second" }),
      burst: Type.Number({ minimum: 0, description: "Requests beyond the rate that are delayed" }),
      key: Type.String({ description: "Variable, or combination of variables, to count by" }),
      key_type: oneOf(["var", "var_combination"], { default: "var", description: "What `key` is" }),
      policy: oneOf(["redis", "redis-cluster", "local"], {
        default: "local",
        description: "Where to count: on this node, or for all gateways in Redis",
      }),
      ...refusalFields,
      nodelay: Type.Boolean({ default: false, description: "Let requests within the burst pass at once" }),
    },
    redisConditions(["redis", "redis-cluster"]),
  ),
  check: checkRedisSettings,
  compile(config, host) {
    // Handlers keep what they close over for as long as the route lives: so these, and not the whole configuration.
    const {
      rate,
      burst,
      nodelay,
      rejected_code: rejectedStatus,
      allow_degradation: allowsDegradation,
    } = config;
    const { counters } = host;
    const suffix = `:limit-req:${limitVersion(config)}:`;
    const keyOf = compileKey(config.key, config.key_type);
    const body = refusalBody(config.rejected_msg);
    const settings = redisSettings(config);
    const redis = settings === null ? null : new RedisCounters(settings, host.log);

    function uncounted(ctx: Exchange): Answer | undefined {
      return allowsDegradation ? undefined : ctx.answer(500);
    }

    function accessLocal(ctx: Exchange): PhaseResult {
      const key = host.ownerOf(ctx) + suffix + keyOf(ctx);
      if (!counters.leak(key, rate, burst, host.now())) {
        return counters.full ? uncounted(ctx) : ctx.answer(rejectedStatus, body);
      }
      return nodelay || counters.delayMs < LEAST_DELAY_MS ? undefined : waits.wait(ctx, counters.delayMs);
    }

    async function accessRedis(counting: RedisCounters, ctx: Exchange): Promise<void | Answer> {
      const key = `limit_req:${host.ownerOf(ctx) + suffix + keyOf(ctx)}`;
      let delayMs: number;
      try {
        delayMs = await counting.leak(key, rate, burst);
      } catch {
        return uncounted(ctx); // The connection has logged why.
      }
      if (delayMs < 0) return ctx.answer(rejectedStatus, body);
      if (!nodelay && delayMs >= LEAST_DELAY_MS && !ctx.ended) await waits.wait(ctx, delayMs);
      return undefined;
    }

    return {
      access: redis === null ? accessLocal : (ctx) => accessRedis(redis, ctx),
      ...(!nodelay && { log: endWait }),
      ...(redis !== null && { dispose: () => redis.dispose() }),
    };
  },
});

const waits = new Waits();

function endWait(ctx: Exchange): void {
  waits.end(ctx);
}
