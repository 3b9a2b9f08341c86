/**
 * Records requests into the metric lane of this worker.
 *
 * What a request is counted under (route, uri, host, consumer, node) is found by comparing references, not by
 * building label texts: `ctx.route` is one object per matched uri and host of a route. When a route is
 * deleted, its series are given back.
 */

import type { Exchange, MetricFamily, MetricLane, RouteFacts } from "../../plugin/index.ts";
import { LABELS, type DisabledLabels, type MetricName } from "./metrics.ts";

/** One combination of route, consumer and node, with the indexes of its series. */
interface Series {
  consumer: string;
  node: string;
  /** Status and source of the answer → index; few per combination. */
  statusKeys: number[];
  statusIndexes: number[];
  request: number;
  upstream: number;
  apisix: number;
  ingress: number;
  egress: number;
  isReleased: boolean;
}

/** Requests that no route knew are counted under this. */
const NO_ROUTE: RouteFacts = {
  id: "",
  name: undefined,
  serviceId: undefined,
  serviceName: undefined,
  pluginConfigId: undefined,
  labels: undefined,
  matchedUri: "",
  matchedHost: "",
};

export class Recorder {
  readonly #status: MetricFamily;
  readonly #latency: MetricFamily;
  readonly #bandwidth: MetricFamily;
  readonly #prefersName: boolean;
  readonly #disabledLabels: () => DisabledLabels | undefined;
  #disabled: DisabledLabels | undefined = undefined;
  #byFacts = new WeakMap<RouteFacts, Series[]>();
  /** Everything of one route, to be given back with it. */
  readonly #byRoute = new Map<string, Series[]>();
  /** With disabled labels, several routes share a series: it is given back with the last of them. */
  readonly #users = new Map<number, number>();

  constructor(
    lane: MetricLane,
    bucketsMs: readonly number[],
    prefersName: boolean,
    disabledLabels: () => DisabledLabels | undefined,
  ) {
    this.#status = lane.counter("http_status", LABELS.http_status, "HTTP status codes per service in APISIX");
    this.#latency = lane.histogram(
      "http_latency",
      LABELS.http_latency,
      bucketsMs,
      "HTTP request latency in milliseconds per service in APISIX",
    );
    this.#bandwidth = lane.counter(
      "bandwidth",
      LABELS.bandwidth,
      "Total bandwidth in bytes consumed per service in APISIX",
    );
    this.#prefersName = prefersName;
    this.#disabledLabels = disabledLabels;
  }

  record(ctx: Exchange): void {
    const disabled = this.#disabledLabels();
    if (disabled !== this.#disabled) {
      this.#disabled = disabled;
      this.#byFacts = new WeakMap();
    }
    const series = this.#seriesOf(ctx);
    const latencyMs = ctx.latencyMs;
    const upstreamMs = ctx.upstreamLatencyMs;
    this.#status.inc(this.#statusIndex(series, ctx));
    this.#latency.observe(series.request, latencyMs);
    if (upstreamMs !== undefined) this.#latency.observe(series.upstream, upstreamMs);
    this.#latency.observe(
      series.apisix,
      upstreamMs === undefined ? latencyMs : Math.max(0, latencyMs - upstreamMs),
    );
    this.#bandwidth.inc(series.ingress, ctx.bytesReceived);
    this.#bandwidth.inc(series.egress, ctx.bytesSent);
  }

  forgetRoute(routeId: string): void {
    for (const series of this.#byRoute.get(routeId) ?? []) {
      series.isReleased = true;
      for (const index of series.statusIndexes) this.#release(this.#status, index);
      for (const index of [series.request, series.upstream, series.apisix])
        this.#release(this.#latency, index);
      for (const index of [series.ingress, series.egress]) this.#release(this.#bandwidth, index);
    }
    this.#byRoute.delete(routeId);
  }

  /** The index of a series, which has one user more from now on. */
  #use(family: MetricFamily, labelValues: readonly string[]): number {
    const index = family.series(labelValues);
    this.#users.set(index, (this.#users.get(index) ?? 0) + 1);
    return index;
  }

  #release(family: MetricFamily, index: number): void {
    const others = (this.#users.get(index) ?? 1) - 1;
    if (others > 0) {
      this.#users.set(index, others);
      return;
    }
    this.#users.delete(index);
    family.release(index);
  }

  #seriesOf(ctx: Exchange): Series {
    const facts = ctx.route ?? NO_ROUTE;
    const consumer = ctx.consumer === null ? "" : ctx.consumer.username;
    const node = ctx.nodeAddress;
    let known = this.#byFacts.get(facts);
    if (known === undefined) this.#byFacts.set(facts, (known = []));
    for (let i = 0; i < known.length; i++) {
      const series = known[i];
      if (series.node === node && series.consumer === consumer && !series.isReleased) return series;
    }
    const series = this.#createSeries(facts, consumer, node);
    known.push(series);
    const ofRoute = this.#byRoute.get(facts.id);
    if (ofRoute === undefined) this.#byRoute.set(facts.id, [series]);
    else ofRoute.push(series);
    return series;
  }

  #createSeries(facts: RouteFacts, consumer: string, node: string): Series {
    const latency = (type: string): number =>
      this.#use(this.#latency, this.#labels("http_latency", [type, ...this.#common(facts, consumer, node)]));
    const bandwidth = (type: string): number =>
      this.#use(this.#bandwidth, this.#labels("bandwidth", [type, ...this.#common(facts, consumer, node)]));
    return {
      consumer,
      node,
      statusKeys: [],
      statusIndexes: [],
      request: latency("request"),
      upstream: latency("upstream"),
      apisix: latency("apisix"),
      ingress: bandwidth("ingress"),
      egress: bandwidth("egress"),
      isReleased: false,
    };
  }

  #statusIndex(series: Series, ctx: Exchange): number {
    const isUpstream = ctx.response.source === "upstream";
    const key = ctx.response.status * 2 + (isUpstream ? 1 : 0);
    const at = series.statusKeys.indexOf(key);
    if (at !== -1) return series.statusIndexes[at];
    const facts = ctx.route ?? NO_ROUTE;
    const [route, service, ...rest] = this.#common(facts, series.consumer, series.node);
    const index = this.#use(
      this.#status,
      this.#labels("http_status", [
        String(ctx.response.status),
        route,
        facts.matchedUri,
        facts.matchedHost,
        service,
        ...rest,
        isUpstream ? "upstream" : "apisix",
      ]),
    );
    series.statusKeys.push(key);
    series.statusIndexes.push(index);
    return index;
  }

  /** Values of the labels that all three metrics have, in their order. */
  #common(facts: RouteFacts, consumer: string, node: string): string[] {
    const route = (this.#prefersName ? facts.name : undefined) ?? facts.id;
    const service = (this.#prefersName ? facts.serviceName : undefined) ?? facts.serviceId ?? "";
    return [route, service, consumer, node, "traditional_http", "", ""];
  }

  #labels(metric: MetricName, values: string[]): string[] {
    const disabled = this.#disabled?.[metric];
    if (disabled === undefined) return values;
    const names: readonly string[] = LABELS[metric];
    return values.map((value, i) => (disabled.includes(names[i]) ? "" : value));
  }
}
