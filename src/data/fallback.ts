/**
 * Where requests go that no route knows: to the server that answered them before (`cardea.fallback`), so that hosts and
 * paths move to routes one by one.
 *
 * Each is counted by its host, so that one sees what has not moved yet. Clients choose the host: beyond a number of them
 * the rest is counted together.
 */

import type { MetricFamily, MetricLane } from "../shared/metric-lane.ts";
import type { CompiledRoute } from "./configuration/compiled-route.ts";

/** Hosts that have a series of their own, in one worker. */
export const MAX_HOSTS = 500;
/** What the others are counted as. */
const OTHER_HOSTS = "(other)";

export class Fallback {
  readonly #route: CompiledRoute;
  readonly #requests: MetricFamily;
  readonly #series = new Map<string, number>();

  constructor(route: CompiledRoute, metrics: MetricLane) {
    this.#route = route;
    this.#requests = metrics.counter(
      "fallback_requests_total",
      ["host"],
      "Requests that no route knew and the fallback upstream got",
    );
  }

  /** What the request is sent with. `host`: of the request, which is counted. */
  take(host: string): CompiledRoute {
    let index = this.#series.get(host);
    if (index === undefined) index = this.#seriesOf(host);
    this.#requests.inc(index);
    return this.#route;
  }

  #seriesOf(host: string): number {
    if (this.#series.size >= MAX_HOSTS) return this.#requests.series([OTHER_HOSTS]);
    const index = this.#requests.series([host]);
    this.#series.set(host, index);
    return index;
  }
}
