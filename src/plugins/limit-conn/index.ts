/**
 * `limit-conn`: so many requests at the same time per key. Up to `burst` more are delayed, then refused.
 *
 * Of a stream route it counts connections; one beyond the limit is closed.
 *
 * A request holds its unit until its end, however it ends; exact over all workers of the node, or with a Redis over
 * all gateways. A worker that dies gives its units back; in Redis they expire after `key_ttl`. When units cannot be
 * counted (memory full, Redis away), requests get 500, or pass with `allow_degradation`.
 */

import { definePlugin, Type } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { amount } from "../limit/amount.ts";
import { refusalFields } from "../limit/fields.ts";
import {
  checkRedisSettings,
  ENCRYPTED_FIELDS,
  redisConditions,
  redisSettings,
} from "../limit/redis-settings.ts";
import { LocalConcurrency } from "./local.ts";
import { RedisConcurrency } from "./redis.ts";

const CONN = "Requests at the same time that pass at once; a number, or a text with variables that gives one";
const BURST = "Requests beyond `conn` that are delayed; a number, or a text with variables that gives one";

export const Config = Type.Object(
  {
    conn: Type.Optional(amount(1, CONN)),
    burst: Type.Optional(amount(0, BURST)),
    default_conn_delay: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: "Seconds of delay" })),
    only_use_default_delay: Type.Boolean({
      default: false,
      description:
        "Delay all by `default_conn_delay`, instead of by its multiple when many times `conn` are there",
    }),
    key: Type.Optional(Type.String({ description: "Variable, or combination of variables, to count by" })),
    key_type: oneOf(["var", "var_combination"], { default: "var", description: "What `key` is" }),
    policy: oneOf(["redis", "redis-cluster", "local"], {
      default: "local",
      description: "Where to count: on this node, or for all gateways in Redis",
    }),
    ...refusalFields,
    rules: Type.Optional(
      Type.Array(
        Type.Object({
          conn: amount(1, CONN),
          burst: amount(0, BURST),
          key: Type.String({
            description: "Text with variables; the rule applies when one of them has a value",
          }),
        }),
        { description: "Several limits, applied in order, in the place of `conn`, `burst` and `key`" },
      ),
    ),
  },
  {
    oneOf: [
      { required: ["conn", "burst", "default_conn_delay", "key"] },
      { required: ["default_conn_delay", "rules"] },
    ],
    ...redisConditions(["redis", "redis-cluster"], {
      key_ttl: Type.Integer({
        default: 3600,
        description: "Seconds after which Redis forgets a request that never ended",
      }),
    }),
  },
);

export default definePlugin({
  name: "limit-conn",
  version: "0.1.0",
  priority: 1003,
  perOwner: true,
  subsystems: ["http", "stream"],
  canBeSkipped: true,
  encrypted: ENCRYPTED_FIELDS,
  config: Config,
  check(config) {
    const keepSeconds = (config as { key_ttl?: number }).key_ttl ?? 1;
    if (keepSeconds < 1) return `key_ttl: given ${keepSeconds}, expected at least 1`;
    return checkRedisSettings(config);
  },
  compile(config, host) {
    const settings = redisSettings(config);
    const limiter =
      settings === null ? new LocalConcurrency(config, host) : new RedisConcurrency(config, settings, host);
    return {
      access: (ctx) => limiter.access(ctx),
      preread: (ctx) => limiter.access(ctx),
      log: (ctx) => {
        limiter.end(ctx);
      },
      dispose: () => {
        limiter.dispose();
      },
    };
  },
});
