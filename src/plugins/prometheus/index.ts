/**
 * `prometheus`: counts requests, latencies and bytes per route, service, consumer and node, under the names
 * and labels of APISIX. The counts go into shared memory; the metrics page is made by control.
 *
 * The series of a route, consumer and node are looked up once and kept, so that a request costs six additions.
 */

import {
  definePlugin,
  Type,
  type Answer,
  type Exchange,
  type MetricLane,
  type PluginHost,
} from "../../plugin/index.ts";
import { Recorder } from "./recorder.ts";
import { StreamRecorder } from "./stream-recorder.ts";
import { DEFAULT_BUCKETS_MS, DISABLED_LABELS, type DisabledLabels } from "./metrics.ts";

/** Where the page stands, on the metrics port and behind `public-api`. */
const DEFAULT_EXPORT_URI = "/apisix/prometheus/metrics";

export default definePlugin({
  name: "prometheus",
  version: "0.2.0",
  priority: 500,
  runPolicy: "prefer_route",
  subsystems: ["http", "stream"],
  config: Type.Object({
    prefer_name: Type.Boolean({
      default: false,
      description: "Label routes and services by name instead of id",
    }),
  }),
  metadata: Type.Object({ disabled_labels: Type.Optional(DISABLED_LABELS) }),
  apis(host) {
    const uri =
      typeof host.attributes.export_uri === "string" ? host.attributes.export_uri : DEFAULT_EXPORT_URI;
    const handle = async (ctx: Exchange): Promise<Answer> => {
      const page = await host.metricsPage(ctx.request.headers.get("accept"));
      return ctx.answer(page.status, page.body, { "Content-Type": page.contentType });
    };
    return [{ methods: ["GET"], uri, handle }];
  },
  compile(config, host) {
    const recorder = recorderFor(host, config.prefer_name);
    let streams: StreamRecorder | null = null;
    return {
      log(ctx: Exchange) {
        if (ctx.stream === undefined) recorder.record(ctx);
        else (streams ??= streamRecorderFor(host, config.prefer_name)).record(ctx, ctx.stream);
      },
    };
  },
});

/** One per lane and naming, for as long as the worker lives: a route's series outlast its use of the plugin. */
const recorders = new WeakMap<MetricLane, Map<boolean, Recorder>>();

function recorderFor(host: PluginHost<{ disabled_labels?: DisabledLabels }>, prefersName: boolean): Recorder {
  let ofLane = recorders.get(host.metrics);
  if (ofLane === undefined) recorders.set(host.metrics, (ofLane = new Map()));
  let recorder = ofLane.get(prefersName);
  if (recorder === undefined) {
    const given = host.attributes.default_buckets;
    const buckets = Array.isArray(given) ? (given as number[]) : DEFAULT_BUCKETS_MS;
    const created = new Recorder(host.metrics, buckets, prefersName, () => host.metadata()?.disabled_labels);
    host.onRouteRemoved((routeId) => created.forgetRoute(routeId));
    ofLane.set(prefersName, created);
    recorder = created;
  }
  return recorder;
}

const streamRecorders = new WeakMap<MetricLane, Map<boolean, StreamRecorder>>();

function streamRecorderFor(host: PluginHost, prefersName: boolean): StreamRecorder {
  let ofLane = streamRecorders.get(host.metrics);
  if (ofLane === undefined) streamRecorders.set(host.metrics, (ofLane = new Map()));
  let recorder = ofLane.get(prefersName);
  if (recorder === undefined) {
    const created = new StreamRecorder(host.metrics, prefersName);
    host.onRouteRemoved((routeId) => created.forgetRoute(routeId));
    ofLane.set(prefersName, created);
    recorder = created;
  }
  return recorder;
}
