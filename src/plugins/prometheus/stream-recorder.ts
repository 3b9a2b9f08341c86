/**
 * Records connections of stream routes: how many per route, and how they ended per listener and node.
 *
 * Connections end rarely beside requests: series are looked up by their labels each time.
 */

import type { Exchange, MetricFamily, MetricLane, StreamFacts } from "../../plugin/index.ts";

const REMOVED_PREFIX = "stream_route#";

export class StreamRecorder {
  readonly #connections: MetricFamily;
  readonly #status: MetricFamily;
  readonly #prefersName: boolean;
  /** Series by the id of the route, to be given back with it. */
  readonly #byRoute = new Map<string, number>();

  constructor(lane: MetricLane, prefersName: boolean) {
    this.#connections = lane.counter(
      "stream_connection_total",
      ["route"],
      "Total number of connections handled per stream route in APISIX",
    );
    this.#status = lane.counter(
      "stream_status",
      ["code", "listen_addr", "node"],
      "Stream sessions per termination status in APISIX",
    );
    this.#prefersName = prefersName;
  }

  record(ctx: Exchange, { status, listenAddress }: StreamFacts): void {
    const id = ctx.route?.id ?? "";
    const label = this.#prefersName ? (ctx.route?.name ?? id) : id;
    const series = this.#connections.series([label]);
    // Routes may have the same name; what they share stays.
    if (label === id) this.#byRoute.set(id, series);
    this.#connections.inc(series);
    const address = ctx.variable("balancer_ip");
    const node = address === undefined ? "" : `${address}:${ctx.variable("balancer_port") ?? ""}`;
    this.#status.inc(this.#status.series([String(status), listenAddress, node]));
  }

  forgetRoute(routeId: string): void {
    if (!routeId.startsWith(REMOVED_PREFIX)) return;
    const id = routeId.slice(REMOVED_PREFIX.length);
    const series = this.#byRoute.get(id);
    if (series === undefined) return;
    this.#byRoute.delete(id);
    this.#connections.release(series);
  }
}
