/** All listeners of a worker for stream routes, with what they count. */

import type { HttpConfig, ListenerConfig, StreamListenerConfig } from "../../config/static-config.ts";
import type { AddressSet } from "../../lib/address.ts";
import type { GaugeLanes } from "../../shared/gauge-lanes.ts";
import type { ListenerHandle } from "../../shared/messages.ts";
import type { MetricLane } from "../../shared/metric-lane.ts";
import type { PluginLog } from "../../plugin/host.ts";
import { metersOf } from "../listen/http-listeners.ts";
import type { ConnectionCount, ListenerMeters, ListenTarget } from "../listen/intake.ts";
import type { TlsServices } from "../tls/handshake.ts";
import { StreamMeter } from "./stream-meter.ts";
import { StreamListener } from "./stream-listener.ts";
import type { StreamServices } from "./stream-life.ts";
import { UdpListener, UdpTable } from "./udp-listener.ts";

export interface StreamListenersOptions {
  /** Ports for datagrams that this worker owns. */
  udp: readonly Pick<ListenerConfig, "address" | "port">[];
  http: HttpConfig;
  /** Clients of all UDP ports together. */
  maxUdpSessions: number;
  services: StreamServices;
  realIpFrom: AddressSet | null;
  /** Null: there are no certificates. */
  tls: TlsServices | null;
  count: ConnectionCount;
  gauges: GaugeLanes;
  metrics: MetricLane;
  log: PluginLog;
}

const PLAIN: StreamListenerConfig = { tls: false, proxyProtocolToUpstream: false };

export class StreamListeners {
  readonly #options: StreamListenersOptions;
  readonly #meters: ListenerMeters;
  readonly #listeners: StreamListener[] = [];
  readonly #udp: UdpListener[] = [];
  readonly #udpTable: UdpTable;

  constructor(options: StreamListenersOptions) {
    this.#options = options;
    this.#meters = metersOf(options);
    this.#udpTable = new UdpTable(options.maxUdpSessions);
  }

  /** Resolves once all of them accept; rejects with the first failure. */
  async listen(handles: readonly ListenerHandle[]): Promise<void> {
    const { udp } = this.#options;
    const ours = handles.filter(({ purpose }) => purpose === "stream-tcp");
    await Promise.all([
      ...udp.map(({ address, port }) => this.addUdp(address, port)),
      ...ours.map(({ fd, address, port, proxyProtocol, stream }) =>
        this.add({ fd }, nameOf(address, port), proxyProtocol, stream ?? PLAIN),
      ),
    ]);
  }

  /** Resolves with the port. `name`: "address:port" in metrics and variables. */
  add(
    target: ListenTarget,
    name: string,
    proxyProtocol: boolean,
    { tls: isSecure, proxyProtocolToUpstream }: StreamListenerConfig,
  ): Promise<number> {
    const { http, services, realIpFrom, tls, count, metrics } = this.#options;
    if (isSecure && tls === null) throw new Error("a TLS listener without certificates");
    const meter = new StreamMeter(metrics, name);
    const listener = new StreamListener({
      http,
      services,
      meters: this.#meters,
      count,
      name,
      proxyProtocol,
      proxyProtocolToUpstream,
      realIpFrom,
      tls: isSecure ? tls : null,
      onActive: (by) => meter.onActive(by),
      onBytes: (from, length) => meter.onBytes(from, length),
    });
    this.#listeners.push(listener);
    return listener.listen(target);
  }

  /** Resolves with the port, which is opened here. */
  addUdp(address: string, port: number): Promise<number> {
    const { services, count, metrics } = this.#options;
    const name = nameOf(address, port);
    const meter = new StreamMeter(metrics, name);
    const listener = new UdpListener(address, {
      table: this.#udpTable,
      services,
      meters: this.#meters,
      count,
      name,
      onActive: (by) => meter.onActive(by),
      onBytes: (from, length) => meter.onBytes(from, length),
    });
    this.#udp.push(listener);
    return listener.bind(port);
  }

  /** A block came: what it is to close is closed. */
  closeBlocked(): void {
    const blocks = this.#options.services.blocks();
    if (blocks === null) return;
    for (const listener of this.#listeners) listener.obey(blocks);
    for (const listener of this.#udp) listener.obey(blocks);
  }

  /** Resolves when the last connection has ended, or at the timeout, when those that remain are cut off. */
  async drain(timeoutMs: number): Promise<void> {
    for (const listener of this.#udp) listener.close();
    const { promise: timeout, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    await Promise.race([Promise.all(this.#listeners.map((listener) => listener.drain())), timeout]);
    clearTimeout(timer);
    this.close();
  }

  close(): void {
    for (const listener of this.#listeners) listener.close();
    for (const listener of this.#udp) listener.close();
  }
}

function nameOf(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
