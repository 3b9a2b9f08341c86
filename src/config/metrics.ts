/** The metrics page: attributes of the plugin prometheus, and `cardea.metrics`. */

import { Type } from "../lib/schema.ts";
import { address, port } from "./kinds.ts";
import type { ResolveInput } from "./resolve.ts";
import type { MetricsConfig } from "./static-config.ts";

const DEFAULT_METRICS_PORT = 9091;

export const prometheusAttributes = Type.Object(
  {
    export_uri: Type.Optional(
      Type.String({
        pattern: "^/",
        expects: "a path",
        description: "Path of the metrics page. Default: /apisix/prometheus/metrics",
      }),
    ),
    metric_prefix: Type.Optional(
      Type.String({
        pattern: "^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        expects: "the beginning of a metric's name",
        description: "Default: apisix_",
      }),
    ),
    enable_export_server: Type.Optional(
      Type.Boolean({ description: "Whether the metrics page has its own listener. Default: true" }),
    ),
    export_addr: Type.Optional(
      Type.Object(
        {
          ip: Type.Optional(address({ description: "Default: 127.0.0.1" })),
          port: Type.Optional(port({ description: "Default: 9091" })),
        },
        { additionalProperties: false },
      ),
    ),
    default_buckets: Type.Optional(
      Type.Array(Type.Number({ minimum: 0 }), {
        minItems: 1,
        maxItems: 100,
        description: "Upper bounds of the latency histograms, milliseconds.",
      }),
    ),
  },
  { additionalProperties: true },
);

export function metrics(input: ResolveInput): MetricsConfig {
  const { plugin_attr: attributes, cardea } = input.filled;
  checkBuckets(input);
  return {
    enabled: attributes.prometheus?.enable_export_server ?? true,
    uri: attributes.prometheus?.export_uri ?? "/apisix/prometheus/metrics",
    prefix: attributes.prometheus?.metric_prefix ?? "apisix_",
    maxSeriesPerWorker: cardea.metrics.max_series_per_worker,
  };
}

/** Null: the page has none of its own. */
export function metricsListener({ filled }: ResolveInput): { ip: string; port: number } | null {
  const { enable_export_server: isEnabled, export_addr: given } = filled.plugin_attr.prometheus ?? {};
  if (isEnabled === false) return null;
  return { ip: given?.ip ?? "127.0.0.1", port: given?.port ?? DEFAULT_METRICS_PORT };
}

/** The plugin reads them itself. */
function checkBuckets({ filled, addProblem }: ResolveInput): void {
  const given = filled.plugin_attr.prometheus?.default_buckets ?? [];
  if (given.some((bound, i) => i > 0 && bound <= given[i - 1])) {
    addProblem(
      ["plugin_attr", "prometheus", "default_buckets"],
      "expected each bound to be greater than the one before",
    );
  }
}
