/**
 * `prometheus`: counts requests, latencies and bytes per route, service, consumer and node, under the names
 * and labels of APISIX. The counts go into shared memory; the metrics page is made by control.
 *
 * The series of a route, consumer and node are looked up once and kept, so that a request costs six additions.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { Recorder } from "./recorder.ts";
import { DEFAULT_BUCKETS_MS, DISABLED_LABELS } from "./metrics.ts";

export default definePlugin({
  name: "prometheus",
  version: "0.2.0",
  priority: 500,
  runPolicy: "prefer_route",
  config: Type.Object({
    prefer_name: Type.Boolean({
      default: false,
      description: "Label routes and services by name instead of id",
    }),
  }),
  metadata: Type.Object({ disabled_labels: Type.Optional(DISABLED_LABELS) }),
  compile(config, host) {
    const given = host.attributes.default_buckets;
    const buckets = Array.isArray(given) ? (given as number[]) : DEFAULT_BUCKETS_MS;
    const recorder = new Recorder(
      host.metrics,
      buckets,
      config.prefer_name,
      () => host.metadata()?.disabled_labels,
    );
    const stopListening = host.onRouteRemoved((routeId) => recorder.forgetRoute(routeId));
    return {
      log(ctx: Exchange) {
        recorder.record(ctx);
      },
      dispose: stopListening,
    };
  },
});
