/**
 * What protects an upstream and those that wait for it, beyond APISIX's fields: outlier ejection, the budget of
 * retries, and limits. Schema and defaults; all three are left out of the published form unless they are given.
 */

import { Type } from "../lib/schema.ts";
import { withDefaults } from "./defaults.ts";
import { isObject } from "./resource-type.ts";
import type { JsonObject } from "./resource-type.ts";
import { strictObject } from "./schema-parts.ts";

const Seconds = Type.Number({ exclusiveMinimum: 0, maximum: 86_400 });

export const Outlier = strictObject({
  consecutive_errors: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 5 })),
  slow_after: Type.Optional(Seconds),
  ejection_time: Type.Optional({ ...Seconds, default: 30 }),
  max_ejection_time: Type.Optional({ ...Seconds, default: 300 }),
  max_ejected_percent: Type.Optional(Type.Integer({ minimum: 0, maximum: 100, default: 50 })),
});

export const Budget = strictObject({
  percent: Type.Optional(Type.Integer({ minimum: 0, maximum: 100, default: 20 })),
  per_second: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000, default: 10 })),
});

export const Limits = strictObject({
  requests: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
  queue: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000, default: 0 })),
  queue_timeout: Type.Optional({ ...Seconds, default: 1 }),
});

export interface OutlierSettings {
  /** In a row, over all workers. */
  consecutive_errors: number;
  /** Seconds until the head of an answer; later ones count as errors. Absent: none does. */
  slow_after?: number;
  /** Seconds of the first ejection; the second lasts twice as long, and so on. */
  ejection_time: number;
  max_ejection_time: number;
  /** Of the nodes. */
  max_ejected_percent: number;
}

export interface BudgetSettings {
  /** Retries that requests earn. */
  percent: number;
  /** Retries whatever the traffic. */
  per_second: number;
}

export interface LimitSettings {
  /** That run at a time, per worker. */
  requests: number;
  /** That wait for one to end, per worker. */
  queue: number;
  /** Seconds. */
  queue_timeout: number;
}

export interface Protection {
  outlier?: OutlierSettings;
  retry_budget?: BudgetSettings;
  limits?: LimitSettings;
}

/** Of an upstream that was accepted. */
export function protectionOf(upstream: JsonObject): Protection {
  const { outlier, retry_budget: budget, limits } = upstream;
  const protection: Protection = {};
  if (isObject(outlier)) protection.outlier = withDefaults(Outlier, outlier) as OutlierSettings;
  if (isObject(budget)) protection.retry_budget = withDefaults(Budget, budget) as BudgetSettings;
  if (isObject(limits)) protection.limits = withDefaults(Limits, limits) as LimitSettings;
  return protection;
}
