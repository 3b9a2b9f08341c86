/**
 * The data path of one worker for tests, wired as `gateway.ts` does it: real sockets on loopback on both sides,
 * real upstreams and pools, and plugins of the test's own. It counts what must be even in the end.
 */

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { parseStaticConfig } from "../config/load.ts";
import { resourceTypeBySingular } from "../model/resources.ts";
import type { StaticConfig } from "../config/static-config.ts";
import type { PluginDefinition } from "../plugin/definition.ts";
import type { PluginLog } from "../plugin/host.ts";
import { PluginCatalog } from "../plugins/catalog.ts";
import {
  ConfigurationReader,
  encodeConfiguration,
  type ItemBytes,
  type Kind,
} from "../shared/configuration-bytes.ts";
import { ACTIVE, IN_FLIGHT } from "../shared/gauge-lanes.ts";
import { createSharedMemory, openSharedMemory, type SharedMemory } from "../shared/shared-memory.ts";
import { Configuration } from "./configuration/configuration.ts";
import { Deadlines } from "./deadlines.ts";
import type { HttpExchange } from "./exchange/exchange.ts";
import { Certificates } from "./tls/certificates.ts";
import { HTTP_2_AND_1_1, type TlsServices } from "./tls/handshake.ts";
import { RequestLife } from "./life.ts";
import { HttpListeners } from "./listen/http-listeners.ts";
import { AddressBook } from "./upstream/address-book.ts";
import { ConnectionPools } from "./upstream/pool.ts";
import { SecureContexts } from "./upstream/secure/contexts.ts";
import { Upstream } from "./upstream/upstream.ts";

export interface WiredOptions {
  routes: Record<string, unknown>[];
  plugins?: readonly PluginDefinition[];
  /** Text of a static file (YAML). */
  config?: string;
  /** With a clock of the test's own. */
  deadlines?: Deadlines;
}

export interface Wired {
  port: number;
  /** Of the TLS listener. */
  tlsPort: number;
  life: RequestLife;
  configuration: Configuration;
  addresses: AddressBook;
  listeners: HttpListeners;
  /** Upstreams in the order of their making. */
  upstreams: Upstream[];
  /** Exchanges that ended, in order. */
  ended: HttpExchange[];
  /** Messages of the log from "warn" on. */
  logged: string[];
  /** Client connections that are open, and requests that run. */
  active(): number;
  inFlight(): number;
  put(kind: Kind, id: string, resource: Record<string, unknown> | null): void;
  /** What listeners of other protocols are made with. */
  shared: SharedMemory;
  log: PluginLog;
  tls: TlsServices;
  config: StaticConfig;
  connect(): Promise<WireClient>;
}

export async function wired(t: TestContext, options: WiredOptions): Promise<Wired> {
  const { config } = parseStaticConfig("(test)", options.config ?? "", {});
  const shared = openSharedMemory(createSharedMemory(config.memory, 1), 0, 1);
  const { gauges } = shared;
  const catalog = new PluginCatalog(config.plugins.enabled, options.plugins);
  const logged: string[] = [];
  const note = (message: string, fields?: object): void => {
    logged.push(`${message} ${JSON.stringify(fields ?? {})}`);
  };
  const log = { debug() {}, info() {}, warn: note, error: note };
  const deadlines = options.deadlines ?? new Deadlines();
  const pools = new ConnectionPools(deadlines, { ...config.upstream, maxHeaders: 256 });
  const addresses = new AddressBook();
  const upstreams: Upstream[] = [];
  const ended: HttpExchange[] = [];
  const certificates = new Certificates(config.tls, randomBytes(48), log);
  const secure = new SecureContexts({
    authorities: config.tls.upstreamAuthorities,
    sslOf: (id) => configuration.sslOf(id),
  });
  const configuration: Configuration = new Configuration({
    catalog,
    host: {
      counters: shared.counters,
      dictionary: shared.dictionary,
      metrics: shared.metrics,
      attributesOf: () => ({}),
      now: Date.now,
      monotonicNow: () => performance.now(),
      log,
      metricsPage: () => Promise.resolve({ status: 200, contentType: "text/plain", body: Buffer.from("") }),
    },
    routerMode: config.router.http,
    createUpstream: (upstream, previous) => {
      const made = new Upstream(
        upstream,
        {
          defaults: config.upstream,
          addresses,
          pools,
          secure,
          health: shared.health,
          workerSlot: 0,
          now: () => performance.now(),
          random: Math.random,
        },
        previous,
      );
      upstreams.push(made);
      return made;
    },
    setAddresses: (host, list) => addresses.set(host, list),
    certificates,
  });
  const life = new RequestLife({
    configuration,
    http: config.http,
    deadlines,
    metrics: shared.metrics,
    pathRules: config.router,
    trusted: null,
    serverName: "cardea",
    accessLog: null,
    fallback: null,
    log,
    isOverloaded: () => false,
    onBegin: () => gauges.add(IN_FLIGHT, 1),
    onEnd: (x) => {
      gauges.add(IN_FLIGHT, -1);
      ended.push(x);
    },
  });
  const tls = {
    certificates,
    deadlines,
    timeoutMs: config.http.headerTimeoutMs,
    ...(config.http.http2 !== null && { alpn: HTTP_2_AND_1_1 }),
    helloHandlers: () => configuration.globalRules.chain("")?.clientHello ?? null,
    log,
  };
  const listeners = new HttpListeners({
    tls,
    metrics: shared.metrics,
    http: config.http,
    deadlines,
    gauges,
    log,
    onRequest: (transport, head) => life.begin(transport, head),
  });
  let created = 0;
  const put: Wired["put"] = (kind, id, resource) => {
    const bytes = resource === null ? null : bytesOf(kind, id, resource, catalog, ++created);
    if (bytes === null) configuration.remove(kind, id);
    else configuration.put(kind, id, bytes);
  };
  for (const [i, route] of options.routes.entries())
    put("route", typeof route.id === "string" ? route.id : String(i + 1), route);
  const port = await listeners.add({ host: "127.0.0.1", port: 0 }, false);
  const tlsPort = await listeners.add({ host: "127.0.0.1", port: 0 }, false, true);
  const clients: Socket[] = [];
  t.after(() => {
    for (const socket of clients) socket.destroy();
    listeners.close();
    pools.closeIdle();
    deadlines.close();
  });
  return {
    port,
    tlsPort,
    life,
    configuration,
    addresses,
    listeners,
    upstreams,
    ended,
    logged,
    active: () => gauges.of(0, ACTIVE),
    inFlight: () => gauges.of(0, IN_FLIGHT),
    put,
    shared,
    log,
    tls,
    config,
    async connect() {
      const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      clients.push(socket);
      await once(socket, "connect");
      return new WireClient(socket);
    },
  };
}

/** A client that writes bytes and waits for bytes. */
export class WireClient {
  readonly socket: Socket;
  received = "";
  isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    const wake = (): void => {
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
      wake();
    });
    socket.on("error", () => undefined);
    socket.on("end", wake);
    socket.on("close", () => {
      this.isClosed = true;
      wake();
    });
  }

  write(text: string): this {
    this.socket.write(text, "latin1");
    return this;
  }

  /** Ends when `isTrue` of what was received, or when the connection has ended. */
  async until(isTrue: (received: string) => boolean): Promise<string> {
    while (!isTrue(this.received) && !this.isClosed && !this.socket.readableEnded) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.received;
  }

  async ended(): Promise<string> {
    return await this.until(() => false);
  }
}

/** Ends when `isTrue` does, looked at after every turn of the loop. */
export async function eventually(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

function bytesOf(
  kind: Kind,
  id: string,
  resource: Record<string, unknown>,
  catalog: PluginCatalog,
  created: number,
): ItemBytes | null {
  const type = resourceTypeBySingular(kind);
  if (type === undefined || type.normalize === null) throw new Error(`there is no ${kind}`);
  const value = JSON.stringify(type.normalize(id, resource, catalog, created));
  return new ConfigurationReader(encodeConfiguration([{ kind, id, value }])).item(0).bytes;
}
