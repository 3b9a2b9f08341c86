/**
 * Records requests into the metric lane of this worker.
 *
 * What a request is counted under (route, uri, host, consumer, node) is found by comparing references, not by
 * building label texts: `ctx.route` is one object per matched uri and host of a route. When a route is
 * deleted, its series are given back. There may be as many combinations as routes: each is one object in a chain.
 */

import type { Exchange, MetricFamily, MetricLane, RouteFacts } from "../../plugin/index.ts";
import { LABELS, type DisabledLabels, type MetricName } from "./metrics.ts";

/** One combination of route, consumer and node, with the indexes of its series. */
interface Series {
  facts: RouteFacts;
  readonly consumer: string;
  readonly node: string;
  /** Status and source of the first answer, and the index of its series; NO_STATUS before it. */
  statusKey: number;
  statusIndex: number;
  /** The same of other answers, in pairs; few per combination. */
  otherStatuses: number[] | null;
  readonly request: number;
  readonly upstream: number;
  readonly apisix: number;
  readonly ingress: number;
  readonly egress: number;
  /** The labels that were disabled when it was made; it is not used after they changed. */
  readonly disabled: DisabledLabels | undefined;
  /** Its labels do not name the route alone: other routes may count in the same series. */
  readonly isShared: boolean;
  /** The next of the same route. */
  readonly next: Series | null;
}

const NO_STATUS = -1;

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
  /** The last made of each route, and through it all others: to be given back with the route. */
  readonly #byRoute = new Map<string, Series>();
  /** Of series that routes may share: such a series is given back with the last of them. */
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
    this.#disabled = this.#disabledLabels();
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
    let series = this.#byRoute.get(routeId) ?? null;
    this.#byRoute.delete(routeId);
    for (; series !== null; series = series.next) {
      const { isShared, otherStatuses } = series;
      if (series.statusKey !== NO_STATUS) this.#release(this.#status, series.statusIndex, isShared);
      for (let i = 1; otherStatuses !== null && i < otherStatuses.length; i += 2)
        this.#release(this.#status, otherStatuses[i], isShared);
      for (const index of [series.request, series.upstream, series.apisix])
        this.#release(this.#latency, index, isShared);
      for (const index of [series.ingress, series.egress]) this.#release(this.#bandwidth, index, isShared);
    }
  }

  /** The index of a series; of one that may be shared, with one user more from now on. */
  #use(family: MetricFamily, labelValues: readonly string[], isShared: boolean): number {
    const index = family.series(labelValues);
    if (isShared) this.#users.set(index, (this.#users.get(index) ?? 0) + 1);
    return index;
  }

  /** What is given back a second time, by another combination of the same route, stays as it is. */
  #release(family: MetricFamily, index: number, isShared: boolean): void {
    if (isShared) {
      const others = (this.#users.get(index) ?? 1) - 1;
      if (others > 0) {
        this.#users.set(index, others);
        return;
      }
      this.#users.delete(index);
    }
    family.release(index);
  }

  #seriesOf(ctx: Exchange): Series {
    const facts = ctx.route ?? NO_ROUTE;
    const consumer = ctx.consumer === null ? "" : ctx.consumer.username;
    const node = ctx.nodeAddress;
    const first = this.#byRoute.get(facts.id) ?? null;
    for (let series = first; series !== null; series = series.next) {
      if (series.node !== node || series.consumer !== consumer || series.disabled !== this.#disabled)
        continue;
      if (series.facts === facts) return series;
      if (!isSame(series.facts, facts)) continue;
      // The route was compiled again.
      series.facts = facts;
      return series;
    }
    const series = this.#createSeries(facts, consumer, node, first);
    this.#byRoute.set(facts.id, series);
    return series;
  }

  #createSeries(facts: RouteFacts, consumer: string, node: string, next: Series | null): Series {
    const isShared = this.#prefersName || this.#disabled !== undefined;
    const latency = (type: string): number => {
      const values = [type, ...this.#common(facts, consumer, node)];
      return this.#use(this.#latency, this.#labels("http_latency", values), isShared);
    };
    const bandwidth = (type: string): number => {
      const values = [type, ...this.#common(facts, consumer, node)];
      return this.#use(this.#bandwidth, this.#labels("bandwidth", values), isShared);
    };
    return {
      facts,
      consumer,
      node,
      statusKey: NO_STATUS,
      statusIndex: 0,
      otherStatuses: null,
      request: latency("request"),
      upstream: latency("upstream"),
      apisix: latency("apisix"),
      ingress: bandwidth("ingress"),
      egress: bandwidth("egress"),
      disabled: this.#disabled,
      isShared,
      next,
    };
  }

  #statusIndex(series: Series, ctx: Exchange): number {
    const isUpstream = ctx.response.source === "upstream";
    const key = ctx.response.status * 2 + (isUpstream ? 1 : 0);
    if (series.statusKey === key) return series.statusIndex;
    const others = series.otherStatuses;
    for (let i = 0; others !== null && i < others.length; i += 2) if (others[i] === key) return others[i + 1];
    const index = this.#createStatus(series, ctx, isUpstream);
    if (series.statusKey === NO_STATUS) {
      series.statusKey = key;
      series.statusIndex = index;
    } else {
      (series.otherStatuses ??= []).push(key, index);
    }
    return index;
  }

  #createStatus(series: Series, ctx: Exchange, isUpstream: boolean): number {
    const { facts } = series;
    const [route, service, ...rest] = this.#common(facts, series.consumer, series.node);
    const values = [
      String(ctx.response.status),
      route,
      facts.matchedUri,
      facts.matchedHost,
      service,
      ...rest,
      isUpstream ? "upstream" : "apisix",
    ];
    return this.#use(this.#status, this.#labels("http_status", values), series.isShared);
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

/** Whether both are counted under the same labels. */
function isSame(a: RouteFacts, b: RouteFacts): boolean {
  return (
    a.matchedUri === b.matchedUri &&
    a.matchedHost === b.matchedHost &&
    a.serviceId === b.serviceId &&
    a.name === b.name &&
    a.serviceName === b.serviceName
  );
}
