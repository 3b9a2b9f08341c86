/** What one stream listener counts, under the names and labels of APISIX: sessions now, and bytes as they pass. */

import type { MetricFamily, MetricLane } from "../../shared/metric-lane.ts";
import type { RelaySide } from "./relay.ts";

export class StreamMeter {
  readonly #active: MetricFamily;
  readonly #activeSeries: number;
  readonly #bytes: MetricFamily;
  readonly #fromClient: number;
  readonly #toClient: number;
  readonly #fromNode: number;
  readonly #toNode: number;

  /** `name`: "address:port". */
  constructor(metrics: MetricLane, name: string) {
    const activeHelp = "Number of stream sessions currently being proxied per listening address";
    this.#active = metrics.gauge("stream_active_connections", ["listen_addr"], activeHelp);
    this.#activeSeries = this.#active.series([name]);
    // A port may be there for TCP and for UDP: both are made before either has a session.
    this.#active.set(this.#activeSeries, 0);
    const labels = ["listen_addr", "type", "side"];
    const bytesHelp = "Total bandwidth in bytes proxied by the stream subsystem in APISIX";
    this.#bytes = metrics.counter("stream_bandwidth", labels, bytesHelp);
    this.#fromClient = this.#bytes.series([name, "ingress", "downstream"]);
    this.#toClient = this.#bytes.series([name, "egress", "downstream"]);
    this.#fromNode = this.#bytes.series([name, "ingress", "upstream"]);
    this.#toNode = this.#bytes.series([name, "egress", "upstream"]);
  }

  onActive(by: 1 | -1): void {
    this.#active.inc(this.#activeSeries, by);
  }

  onBytes(from: RelaySide, length: number): void {
    this.#bytes.inc(from === "client" ? this.#fromClient : this.#fromNode, length);
    this.#bytes.inc(from === "client" ? this.#toNode : this.#toClient, length);
  }
}
