/** Schema of limits per time window, and the checks that a schema cannot express; errors in APISIX's words. */

import { Type, type Static } from "../../plugin/index.ts";
import { oneOf } from "../../plugin/schema.ts";
import { LruMap } from "../../lib/lru.ts";
import { amount } from "./amount.ts";
import { refusalFields } from "./fields.ts";
import { checkRedisSettings, limitVersion, redisConditions } from "./redis-settings.ts";

/** `sync_interval` of a limit that asks Redis for every request. */
export const NO_DELAYED_SYNC = -1;

const MIN_SYNC_INTERVAL_SECONDS = 0.1;

const COUNT = "Requests per window; a number, or a text with variables that gives one";
const TIME_WINDOW = "Length of the window in seconds; a number, or a text with variables that gives one";

export const countFields = {
  count: Type.Optional(amount(1, COUNT)),
  time_window: Type.Optional(amount(1, TIME_WINDOW)),
  window_type: oneOf(["fixed", "sliding"], {
    default: "fixed",
    description: "Windows that begin with their first request, or one that moves along with the time",
  }),
  rules: Type.Optional(
    Type.Array(
      Type.Object({
        count: amount(1, COUNT),
        time_window: amount(1, TIME_WINDOW),
        key: Type.String({
          description: "Text with variables; the rule applies when one of them has a value",
        }),
        header_prefix: Type.Optional(
          Type.String({
            description: "Stands in the names of the quota headers; default: the rule's number",
          }),
        ),
      }),
      { description: "Several limits, applied in order, in the place of `count`, `time_window` and `key`" },
    ),
  ),
  group: Type.Optional(
    Type.String({ description: "Routes with the same group and the same settings share one counter" }),
  ),
  key: Type.String({
    default: "remote_addr",
    description: "Variable, combination of variables, or constant",
  }),
  key_type: oneOf(["var", "var_combination", "constant"], { default: "var", description: "What `key` is" }),
  ...refusalFields,
  policy: oneOf(["local", "redis", "redis-cluster", "redis-sentinel"], {
    default: "local",
    description: "Where to count: on this node, or for all gateways in Redis",
  }),
  show_limit_quota_header: Type.Boolean({
    default: true,
    description: "Tell limit, rest and seconds until the reset in headers of the answer",
  }),
  sync_interval: Type.Number({
    default: NO_DELAYED_SYNC,
    description: "Seconds between exchanges with Redis; -1: Redis is asked for every request",
  }),
};

/** Both forms at once are refused by `checkCount`, which says so. */
export const countOptions = {
  oneOf: [{ required: ["count", "time_window"], not: { required: ["rules"] } }, { required: ["rules"] }],
  ...redisConditions(["redis", "redis-cluster", "redis-sentinel"]),
};

const Config = Type.Object(countFields);
export type CountConfig = Static<typeof Config>;

export const DEFAULT_HEADERS = {
  limit_header: "X-RateLimit-Limit",
  remaining_header: "X-RateLimit-Remaining",
  reset_header: "X-RateLimit-Reset",
};

export type HeaderNames = typeof DEFAULT_HEADERS;

export const CountMetadata = Type.Object({
  limit_header: Type.String({ default: DEFAULT_HEADERS.limit_header, description: "Header with the limit" }),
  remaining_header: Type.String({
    default: DEFAULT_HEADERS.remaining_header,
    description: "Header with the requests that are left",
  }),
  reset_header: Type.String({
    default: DEFAULT_HEADERS.reset_header,
    description: "Header with the seconds until the window ends",
  }),
});

/** The settings that a group was first used with, as `limitVersion`; the groups of a node are few. */
const MAX_GROUPS = 10_000;
const groups = new LruMap<string, string>(MAX_GROUPS);

export function checkCount(plugin: string, config: CountConfig): string | null {
  const { rules, group } = config;
  if (rules !== undefined && (config.count !== undefined || config.time_window !== undefined))
    return "count/time_window and rules cannot be specified at the same time";
  if (rules !== undefined && group !== undefined)
    return "group and rules cannot be specified at the same time";
  return (
    checkRedisSettings(config) ??
    checkSyncInterval(config) ??
    checkRuleKeys(config) ??
    checkGroup(plugin, config)
  );
}

function checkSyncInterval({
  policy,
  sync_interval: interval,
  time_window: window,
}: CountConfig): string | null {
  if (policy === "local" || interval === NO_DELAYED_SYNC) return null;
  if (interval < MIN_SYNC_INTERVAL_SECONDS)
    return `sync_interval should not be smaller than ${MIN_SYNC_INTERVAL_SECONDS}`;
  return typeof window === "number" && interval >= window
    ? "sync_interval should be smaller than time_window"
    : null;
}

function checkRuleKeys({ rules }: CountConfig): string | null {
  const seen = new Set<string>();
  for (const { key } of rules ?? []) {
    if (seen.has(key)) return `duplicate key '${key}' in rules`;
    seen.add(key);
  }
  return null;
}

/** One counter cannot have two limits. Settings of a group that is in use do not change: take another group. */
function checkGroup(plugin: string, config: CountConfig): string | null {
  if (config.group === undefined) return null;
  const name = `${plugin}:${config.group}`;
  const settings = limitVersion({ ...config, _meta: undefined });
  const known = groups.get(name);
  if (known === undefined) groups.set(name, settings);
  return known === undefined || known === settings ? null : "group conf mismatched";
}
