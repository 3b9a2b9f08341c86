/** Names, labels and bounds of the metrics that the `prometheus` plugin records. */

import { Type } from "../../plugin/index.ts";

/** 1 ms to 60 s. */
export const DEFAULT_BUCKETS_MS: readonly number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000,
];

const COMMON = [
  "route",
  "service",
  "consumer",
  "node",
  "request_type",
  "request_llm_model",
  "llm_model",
] as const;

export const LABELS = {
  http_status: [
    "code",
    "route",
    "matched_uri",
    "matched_host",
    "service",
    "consumer",
    "node",
    "request_type",
    "request_llm_model",
    "llm_model",
    "response_source",
  ],
  http_latency: ["type", ...COMMON],
  bandwidth: ["type", ...COMMON],
} as const;

export type MetricName = keyof typeof LABELS;

/** Labels that make a metric what it is cannot be disabled. */
const STRUCTURAL = new Set(["code", "type"]);

const disabledLabelsOf = (metric: MetricName) =>
  Type.Optional(
    Type.Array(
      Type.Union(
        LABELS[metric].filter((label) => !STRUCTURAL.has(label)).map((label) => Type.Literal(label)),
      ),
    ),
  );

export const DISABLED_LABELS = Type.Object(
  {
    http_status: disabledLabelsOf("http_status"),
    http_latency: disabledLabelsOf("http_latency"),
    bandwidth: disabledLabelsOf("bandwidth"),
  },
  { additionalProperties: false, description: "Labels that are left empty, per metric" },
);

export type DisabledLabels = Partial<Record<MetricName, readonly string[]>>;
