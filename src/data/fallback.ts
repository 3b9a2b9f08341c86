/**
 * Where requests go that no route knows: to the server that answered them before (`cardea.fallback`), so that hosts and
 * paths move to routes one by one.
 *
 * Each is counted by its host, so that one sees what has not moved yet. Clients choose the host: beyond a number of them
 * the rest is counted together.
 */

import type { PublishedUpstream } from "../model/published.ts";
import type { MetricFamily, MetricLane } from "../shared/metric-lane.ts";
import { CompiledRoute } from "./configuration/compiled-route.ts";
import { UpstreamReference, type UpstreamFactory } from "./configuration/upstream-reference.ts";
import type { PluginCompiler } from "./pipeline/compiler.ts";

/** Hosts that have a series of their own, in one worker. */
export const MAX_HOSTS = 500;
/** What the others are counted as. */
const OTHER_HOSTS = "(other)";

export interface FallbackParts {
  upstream: PublishedUpstream;
  createUpstream: UpstreamFactory;
  compiler: PluginCompiler;
  metrics: MetricLane;
}

export class Fallback {
  readonly #route: CompiledRoute;
  readonly #requests: MetricFamily;
  readonly #series = new Map<string, number>();
  readonly #others: number;

  constructor({ upstream, createUpstream, compiler, metrics }: FallbackParts) {
    this.#route = new CompiledRoute({
      compiler,
      held: compiler.compile(new Map()),
      upstream: UpstreamReference.inline(createUpstream, upstream),
      timeout: null,
      allowsUpgrade: true,
      replacesGlobal: "",
      facts: NO_FACTS,
    });
    this.#requests = metrics.counter(
      "fallback_requests_total",
      ["host"],
      "Requests that no route knew and the fallback upstream got",
    );
    this.#others = this.#requests.series([OTHER_HOSTS]);
  }

  /** What the request is sent with. `host`: of the request, which is counted. */
  take(host: string): CompiledRoute {
    let index = this.#series.get(host);
    if (index === undefined) index = this.#seriesOf(host);
    this.#requests.inc(index);
    return this.#route;
  }

  #seriesOf(host: string): number {
    if (this.#series.size >= MAX_HOSTS) return this.#others;
    const index = this.#requests.series([host]);
    this.#series.set(host, index);
    return index;
  }
}

/** No route: plugins of global rules see none. */
const NO_FACTS = {
  id: "",
  name: undefined,
  serviceId: undefined,
  serviceName: undefined,
  pluginConfigId: undefined,
  labels: undefined,
  matchedUri: "",
  matchedHost: "",
} as const;
