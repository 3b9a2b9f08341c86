/**
 * Puts the rooms of the data path together, for one worker: configuration, router, plugins, upstreams, the
 * life of requests, and the listeners that feed it.
 */

import { performance } from "node:perf_hooks";
import type { ListenerHandle } from "../shared/messages.ts";
import type { SharedMemory } from "../shared/shared-memory.ts";
import type { StaticConfig } from "../config/static-config.ts";
import type { Log } from "../lib/log.ts";
import { LimitedLog } from "../lib/limited-log.ts";
import { AddressSet } from "../lib/address.ts";
import { PluginCatalog } from "../plugins/catalog.ts";
import { VERSION } from "../lib/version.ts";
import { ACTIVE, IN_FLIGHT, LIMITED, LOG_LINES_DROPPED, REQUESTS, SHED } from "../shared/gauge-lanes.ts";
import { AccessLog } from "./access-log.ts";
import { Applier } from "./configuration/applier.ts";
import { Configuration } from "./configuration/configuration.ts";
import { ControlPages } from "./control-pages.ts";
import { Fallback } from "./fallback.ts";
import { Deadlines } from "./deadlines.ts";
import { Explainer } from "./explain/explain.ts";
import { HttpListeners } from "./listen/http-listeners.ts";
import { RequestLife } from "./life.ts";
import { StreamListeners } from "./stream/stream-listeners.ts";
import { Certificates } from "./tls/certificates.ts";
import { HTTP_2_AND_1_1, type TlsServices } from "./tls/handshake.ts";
import { Overload } from "./overload.ts";
import { AddressBook } from "./upstream/address-book.ts";
import { ConnectionPools } from "./upstream/pool.ts";
import { SecureContexts } from "./upstream/secure/contexts.ts";
import { Upstream, type UpstreamServices } from "./upstream/upstream.ts";

/** Fields of an upstream's answer; a bound against broken upstreams, not a setting. */
const MAX_ANSWER_HEADERS = 256;

export interface GatewayParts {
  config: StaticConfig;
  slot: number;
  shared: SharedMemory;
  log: Log;
  /** Absolute, or "-"; null: no access log. */
  accessLogPath: string | null;
  /** The same for connections of stream routes; absent: none. */
  streamLogPath?: string | null;
  /** 48 bytes that all workers of the node have; absent: TLS sessions cannot be resumed by ticket. */
  ticketKeys?: Buffer | null;
}

export class Gateway {
  readonly configuration: Configuration;
  readonly applier: Applier;
  readonly life: RequestLife;
  readonly accessLog: AccessLog | null;
  readonly controlPages = new ControlPages();
  readonly explainer: Explainer;
  readonly #deadlines = new Deadlines();
  readonly #listeners: HttpListeners;
  readonly #streams: StreamListeners;
  readonly #streamLog: AccessLog | null;
  readonly #overload: Overload;
  readonly #pools: ConnectionPools;

  constructor({ config, slot, shared, log, accessLogPath, streamLogPath, ticketKeys }: GatewayParts) {
    const { gauges, threads } = shared;
    this.accessLog =
      accessLogPath === null
        ? null
        : new AccessLog({ ...config.accessLog, path: accessLogPath }, log, (lines) =>
            shared.gauges.add(LOG_LINES_DROPPED, lines),
          );
    this.#overload = new Overload(config.http, ({ delayMs, heapUsedBytes }) =>
      threads.reportLoad(slot, delayMs, heapUsedBytes, gauges.of(slot, ACTIVE)),
    );
    this.#pools = new ConnectionPools(this.#deadlines, {
      ...config.upstream,
      maxHeaders: MAX_ANSWER_HEADERS,
    });
    const upstreamServices: UpstreamServices = {
      defaults: config.upstream,
      addresses: new AddressBook(),
      pools: this.#pools,
      secure: new SecureContexts({
        authorities: config.tls.upstreamAuthorities,
        sslOf: (id) => this.configuration.sslOf(id),
      }),
      health: shared.health,
      workerSlot: slot,
      zone: config.zone,
      now: () => performance.now(),
      random: Math.random,
      onLimited: () => gauges.add(LIMITED, 1),
    };
    const certificates = new Certificates(config.tls, ticketKeys ?? null, new LimitedLog(log));
    this.configuration = new Configuration({
      catalog: new PluginCatalog(config.plugins.enabled),
      host: {
        counters: shared.counters,
        dictionary: shared.dictionary,
        metrics: shared.metrics,
        attributesOf: (plugin) => config.plugins.attributes[plugin] ?? {},
        now: Date.now,
        monotonicNow: () => performance.now(),
        log,
        metricsPage: (accept) => this.controlPages.metrics(accept),
      },
      routerMode: config.router.http,
      createUpstream: (upstream, previous) => new Upstream(upstream, upstreamServices, previous),
      setAddresses: (host, addresses) => upstreamServices.addresses.set(host, addresses),
      certificates,
    });
    this.applier = new Applier(this.configuration);
    const trusted = config.trustedAddresses.length === 0 ? null : new AddressSet(config.trustedAddresses);
    this.explainer = new Explainer({
      configuration: this.configuration,
      router: config.router,
      trusted,
      hasFallback: config.fallback !== null,
      slot,
      revision: () => threads.applied(slot),
    });
    this.life = new RequestLife({
      configuration: this.configuration,
      http: config.http,
      deadlines: this.#deadlines,
      metrics: shared.metrics,
      pathRules: config.router,
      trusted,
      serverName: config.http.serverTokens ? `cardea/${VERSION}` : "cardea",
      accessLog: this.accessLog,
      fallback:
        config.fallback === null
          ? null
          : new Fallback({
              upstream: config.fallback,
              createUpstream: (upstream, previous) => new Upstream(upstream, upstreamServices, previous),
              compiler: this.configuration.compiler,
              metrics: shared.metrics,
            }),
      log: new LimitedLog(log),
      isOverloaded: () => {
        if (!this.#overload.isOverloaded) return false;
        gauges.add(SHED, 1);
        return true;
      },
      onBegin: () => {
        gauges.add(IN_FLIGHT, 1);
        gauges.add(REQUESTS, 1);
      },
      onEnd: () => gauges.add(IN_FLIGHT, -1),
    });
    this.configuration.onBlock = () => {
      this.life.closeBlocked();
      this.#streams.closeBlocked();
    };
    const tls: TlsServices = {
      certificates,
      deadlines: this.#deadlines,
      timeoutMs: config.http.headerTimeoutMs,
      ...(config.http.http2 !== null && { alpn: HTTP_2_AND_1_1 }),
      helloHandlers: () => this.configuration.globalRules.chain("")?.clientHello ?? null,
      log: new LimitedLog(log),
    };
    this.#listeners = new HttpListeners({
      tls,
      metrics: shared.metrics,
      http: config.http,
      deadlines: this.#deadlines,
      gauges,
      log: new LimitedLog(log),
      onRequest: (transport, head) => this.life.begin(transport, head),
    });
    const { stream } = config;
    this.#streamLog =
      streamLogPath == null
        ? null
        : new AccessLog({ ...stream.accessLog, path: streamLogPath }, log, (lines) =>
            gauges.add(LOG_LINES_DROPPED, lines),
          );
    this.#streams = new StreamListeners({
      // Of datagrams one worker must see all; nobody else opens their ports.
      udp: slot === 0 ? config.listeners.filter(({ purpose }) => purpose === "stream-udp") : [],
      http: config.http,
      maxUdpSessions: stream.maxUdpSessions,
      services: {
        routes: this.configuration.streams,
        blocks: () => this.configuration.blocks,
        memory: shared.dictionary,
        deadlines: this.#deadlines,
        log: new LimitedLog(log),
        accessLog: this.#streamLog,
      },
      realIpFrom: stream.realIpFrom.length === 0 ? null : new AddressSet(stream.realIpFrom),
      tls: { ...tls, alpn: null },
      count: this.#listeners.count,
      gauges,
      metrics: shared.metrics,
      log: new LimitedLog(log),
    });
  }

  async listen(handles: readonly ListenerHandle[]): Promise<number[]> {
    const [ports] = await Promise.all([this.#listeners.listen(handles), this.#streams.listen(handles)]);
    return ports;
  }

  /** Files that were moved away are left, and made anew. */
  reopenLogs(): void {
    this.accessLog?.reopen();
    this.#streamLog?.reopen();
  }

  /** Takes no new connection, lets requests end, closes idle connections; at the timeout, all of them. */
  async drain(timeoutMs: number): Promise<void> {
    this.life.drainTunnels(timeoutMs);
    await Promise.all([this.#listeners.drain(timeoutMs), this.#streams.drain(timeoutMs)]);
    await this.close();
  }

  async close(): Promise<void> {
    this.#listeners.close();
    this.#streams.close();
    this.#pools.closeIdle();
    this.#overload.close();
    this.#deadlines.close();
    await this.accessLog?.close();
    await this.#streamLog?.close();
  }
}
