/** All HTTP listeners of a worker, with the gauges that they keep in shared memory. */

import type { ListenerHandle } from "../../shared/messages.ts";
import type { HttpConfig } from "../../config/static-config.ts";
import type { PluginLog } from "../../plugin/host.ts";
import type { Deadlines } from "../deadlines.ts";
import type { RequestListener } from "../transport.ts";
import { ACCEPTED, ACTIVE, HANDLED, type GaugeLanes } from "../../shared/gauge-lanes.ts";
import type { MetricFamily, MetricLane } from "../../shared/metric-lane.ts";
import type { TlsServices } from "../tls/handshake.ts";
import { ConnectionCount, type ListenerMeters, type ListenTarget } from "./intake.ts";
import { Listener } from "./listener.ts";

export interface HttpListenersOptions {
  http: HttpConfig;
  deadlines: Deadlines;
  gauges: GaugeLanes;
  log: PluginLog;
  onRequest: RequestListener;
  /** For listeners of the purpose "https"; null: there are none. */
  tls: TlsServices | null;
  metrics: MetricLane;
}

export class HttpListeners {
  readonly #options: HttpListenersOptions;
  readonly #meters: ListenerMeters;
  /** Of all listeners of the worker, those of streams too. */
  readonly count = new ConnectionCount();
  readonly #listeners: Listener[] = [];

  constructor(options: HttpListenersOptions) {
    this.#options = options;
    this.#meters = metersOf(options);
  }

  get active(): number {
    return this.count.active;
  }

  /** Resolves with the ports, in order, once all of them accept; rejects with the first failure. */
  listen(handles: readonly Pick<ListenerHandle, "purpose" | "fd" | "proxyProtocol">[]): Promise<number[]> {
    const ours = handles.filter(({ purpose }) => purpose === "http" || purpose === "https");
    return Promise.all(
      ours.map(({ fd, proxyProtocol, purpose }) => this.add({ fd }, proxyProtocol, purpose === "https")),
    );
  }

  add(target: ListenTarget, proxyProtocol: boolean, isSecure = false): Promise<number> {
    const { http, deadlines, onRequest, tls } = this.#options;
    if (isSecure && tls === null) throw new Error("a TLS listener without certificates");
    const listener = new Listener({
      http,
      deadlines,
      onRequest,
      proxyProtocol,
      tls: isSecure ? tls : null,
      meters: this.#meters,
      count: this.count,
    });
    this.#listeners.push(listener);
    return listener.listen(target);
  }

  /** Resolves when the last connection has ended, or at the timeout, when those that remain are cut off. */
  async drain(timeoutMs: number): Promise<void> {
    const all = Promise.all(this.#listeners.map((listener) => listener.drain()));
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([all, timeout]);
    clearTimeout(timer);
    this.close();
  }

  close(): void {
    for (const listener of this.#listeners) listener.close();
  }
}

/** What listeners count, of whatever protocol. */
export function metersOf({
  gauges,
  log,
  metrics,
}: Pick<HttpListenersOptions, "gauges" | "log" | "metrics">): ListenerMeters {
  let handshakes: MetricFamily | null = null;
  return {
    accepted() {
      gauges.add(ACCEPTED, 1);
      gauges.add(HANDLED, 1);
      gauges.add(ACTIVE, 1);
    },
    ended: () => gauges.add(ACTIVE, -1),
    overLimit: () => {
      gauges.add(ACCEPTED, 1);
      log.warn("connection turned away: the worker has as many as it may");
    },
    proxyHeaderRefused: () => log.debug("connection without a valid PROXY header closed"),
    handshake(failure) {
      // Made by the first one: who terminates no TLS has no such family.
      handshakes ??= metrics.counter("tls_handshakes_total", ["result"], "TLS handshakes by their result");
      handshakes.inc(handshakes.series([failure ?? "success"]));
      if (failure !== null) log.debug("no TLS connection", { reason: failure });
    },
    requestRefused: (error) =>
      log.debug("malformed request refused", { code: error.code, status: error.status }),
    fault: (fault) => log.error("fault in a listener", { error: String(fault) }),
  };
}
