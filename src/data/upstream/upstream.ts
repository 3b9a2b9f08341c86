/**
 * An upstream as a worker uses it: its nodes, how to choose one, how to connect, and whether to try again.
 *
 * One object per version of the configuration. A new version takes over from the one before it: the objects
 * of nodes that stay, with what runs on them, and the retry budget. Requests that began with the old version
 * end with it. Addresses of named nodes follow the address book live, within the same version.
 */

import type { UpstreamDefaults } from "../../config/static-config.ts";
import { healthChecksOf, healthResourceOf } from "../../model/health-checks.ts";
import type { PublishedTimeout, PublishedUpstream } from "../../model/published.ts";
import { isSecure, speaksHttp2 } from "../../model/schemes.ts";
import type { ZoneWish } from "../../plugin/exchange.ts";
import type { HealthTable } from "../../shared/health-table.ts";
import type { KeepAlive } from "../http1/upstream-connection.ts";
import { UpstreamAttempt, type UpstreamTimeouts } from "../http1/upstream-attempt.ts";
import type { UpstreamFailure, UpstreamHandler, UpstreamTransport } from "../transport.ts";
import type { AddressBook } from "./address-book.ts";
import type { Balancer, BalanceRequest } from "./balancer/contract.ts";
import { type BalancerSettings, createBalancer } from "./balancer/create.ts";
import { ZoneOrder } from "./balancer/zones.ts";
import { openPlain, plain, type RawConnection } from "./connectors.ts";
import type { TriedNodes, UpstreamNode } from "./node.ts";
import { NodeHealth } from "./node-health.ts";
import { expandNodes, namesOf } from "./node-list.ts";
import type { ConnectionPools } from "./pool.ts";
import { RequestLimit } from "./request-limit.ts";
import type { SecureContexts } from "./secure/contexts.ts";
import { SecureProfile } from "./secure/profile.ts";
import { DEFAULT_BUDGET, isSafeToRetry, RetryBudget, type RetryFacts } from "./retry-policy.ts";

/** What all upstreams of a worker share. */
export interface UpstreamServices {
  defaults: UpstreamDefaults;
  addresses: AddressBook;
  pools: ConnectionPools;
  /** Absent: upstreams with TLS cannot be reached. */
  secure?: SecureContexts;
  /** Null: no node is ever down or drained. */
  health: HealthTable | null;
  workerSlot: number;
  /** Of this gateway; null or absent: it has none. */
  zone?: string | null;
  /** Monotonic milliseconds. */
  now: () => number;
  /** [0, 1) */
  random: () => number;
  /** A request was turned away by the limits of its upstream. */
  onLimited?: () => void;
}

/** Longer than this no request waits for the addresses of a new upstream. */
const MAX_RESOLUTION_MS = 5000;

/** Of connections that carry no requests, as nginx has it. */
const RAW_IDLE_MS = 600_000;

export class Upstream {
  readonly id: string | undefined;
  readonly scheme: PublishedUpstream["scheme"];
  /** Its nodes speak HTTP/2. */
  readonly isHttp2: boolean;
  readonly #config: PublishedUpstream;
  readonly #services: UpstreamServices;
  readonly #names: Set<string>;
  readonly #timeouts: UpstreamTimeouts;
  readonly #keepAlive: KeepAlive;
  /** Null: without TLS. */
  readonly #secure: SecureProfile | null;
  /** Null: as many requests as come. */
  readonly limit: RequestLimit | null;
  readonly #budget: RetryBudget;
  readonly #health: NodeHealth | null;
  readonly #zones: BalancerSettings["zones"];
  /** Balancers of single zones, made when a request first asks for one. */
  #byZone: Map<string, Balancer> | null = null;
  #known: Map<string, UpstreamNode>;
  #nodes: readonly UpstreamNode[] = [];
  #balancer: Balancer | null = null;
  /** The balancer is of addresses that were; attempts that it started still end with it. */
  #isStale = true;
  #isFirst: boolean;
  #resolution: Resolution | null = null;

  /** `previous`: the version that this one replaces; the caller disposes of it afterwards. */
  constructor(config: PublishedUpstream, services: UpstreamServices, previous: Upstream | null = null) {
    this.id = config.id;
    this.scheme = config.scheme;
    this.isHttp2 = speaksHttp2(config.scheme);
    this.#config = config;
    this.#services = services;
    this.#names = namesOf(config.nodes);
    this.#timeouts = timeoutsOf(config.timeout, services.defaults);
    this.#keepAlive = keepAliveOf(config, services.defaults);
    this.#secure =
      isSecure(config.scheme) && services.secure !== undefined
        ? new SecureProfile(config.tls ?? {}, services.secure)
        : null;
    this.#known = previous === null ? new Map() : previous.#known;
    const budget = config.retry_budget ?? DEFAULT_BUDGET;
    this.#budget = previous === null ? new RetryBudget(services.now, budget) : previous.#budget;
    this.#budget.settings = budget;
    this.limit = limitOf(config, services, previous);
    this.#health = nodeHealthOf(config, services.health);
    this.#zones =
      config.zones === undefined
        ? null
        : { order: new ZoneOrder(config.zones, services.zone ?? null), health: this.#health };
    this.#isFirst = previous === null;
    for (const name of this.#names) services.addresses.listen(name, this.#onAddresses);
  }

  get config(): Readonly<PublishedUpstream> {
    return this.#config;
  }

  /** The nodes now, names expanded. */
  get nodes(): readonly UpstreamNode[] {
    this.#refresh();
    return this.#nodes;
  }

  /** There is no node yet, only because names were not resolved yet. */
  get isUnresolved(): boolean {
    if (this.nodes.length > 0) return false;
    for (const name of this.#names) if (this.#services.addresses.get(name) === null) return true;
    return false;
  }

  /** Ends when `isUnresolved` does, or when `timeoutMs` (the connect timeout) is over. Never rejects. */
  whenResolved(timeoutMs: number = Math.min(this.#timeouts.connectMs, MAX_RESOLUTION_MS)): Promise<void> {
    if (!this.isUnresolved) return Promise.resolve();
    if (this.#resolution === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(() => this.#endResolution(), timeoutMs);
      this.#resolution = { promise, resolve, timer };
    }
    return this.#resolution.promise;
  }

  /** The node for the next attempt; null: none left, or none at all (`isUnresolved` tells why). */
  pick(request: BalanceRequest, tried: TriedNodes): UpstreamNode | null {
    this.#refresh();
    if (tried.size === 0) this.#budget.earn();
    const wish = request.zoneWish ?? null;
    return wish === null ? this.#balancer!.pick(request, tried) : this.#pickInZone(wish, request, tried);
  }

  #pickInZone(wish: ZoneWish, request: BalanceRequest, tried: TriedNodes): UpstreamNode | null {
    const balancer = this.#balancerOf(wish.zone);
    if (wish.isOnly) return balancer === null ? null : balancer.pick(request, tried);
    const node = balancer === null ? null : balancer.pickHealthy(request, tried);
    return node ?? this.#balancer!.pick(request, tried);
  }

  /** Null: no node is there. Names may come from clients: only zones that there are get one. */
  #balancerOf(zone: string): Balancer | null {
    const known = this.#byZone?.get(zone);
    if (known !== undefined) return known;
    const nodes = this.#nodes.filter((node) => node.zone === zone);
    if (nodes.length === 0) return null;
    const balancer = this.#createBalancer(nodes, null);
    this.#byZone ??= new Map();
    this.#byZone.set(zone, balancer);
    return balancer;
  }

  /** `Host` of the request that goes to `node`; `clientHost` is what the client sent ("" if nothing). */
  hostFor(node: UpstreamNode, clientHost: string): string {
    switch (this.#config.pass_host) {
      case "node":
        return node.hostHeader;
      case "rewrite":
        return this.#config.upstream_host ?? node.hostHeader;
      default:
        return clientHost === "" ? node.hostHeader : clientHost;
    }
  }

  /**
   * Starts an attempt on `node`, which counts as running until `finished`. `timeout` (of the route) overrides
   * the upstream's own. `host`: of the request, for the server name of TLS ("": the node's). A failure comes to the
   * handler, never before this returns.
   */
  connect(
    node: UpstreamNode,
    handler: UpstreamHandler,
    timeout?: PublishedTimeout | null,
    host = "",
  ): UpstreamTransport {
    const attempt = this.#start(node, handler, timeout, host, false);
    this.#balancer!.started(node);
    return attempt;
  }

  /**
   * The same for a copy of a request. Over HTTP/2 it has other connections than requests have, also to the same node:
   * what nobody reads of one stream takes room from all others of its connection.
   */
  connectCopy(node: UpstreamNode, handler: UpstreamHandler, host: string): UpstreamTransport {
    const attempt = this.#start(node, handler, null, host, true);
    this.#balancer!.started(node);
    return attempt;
  }

  /**
   * A connection to `node` that carries no requests; with TLS, under `name`, where the scheme is tls. It is not there yet: see
   * `RawConnection`. Throws when its TLS cannot be set up. Counted by `startedRaw`.
   */
  openRaw(node: UpstreamNode, name: string): RawConnection {
    return this.scheme === "tls" ? this.#openSecure(node, name) : openPlain(node.address, node.port);
  }

  /** Something other than a request runs on `node` until `finished`. */
  startedRaw(node: UpstreamNode): void {
    this.#balancer!.started(node);
  }

  #openSecure(node: UpstreamNode, name: string): RawConnection {
    if (this.#secure === null) throw new Error("no TLS to upstreams here");
    const socket = this.#secure.connectorFor(node, name).openRaw(node.address, node.port);
    return { socket, readyEvent: "secureConnect" };
  }

  /** Milliseconds; `idleMs`: without a byte in either direction. */
  get rawTimeouts(): { connectMs: number; idleMs: number } {
    const { timeout } = this.#config;
    const idleMs = timeout === undefined ? RAW_IDLE_MS : Math.max(timeout.send, timeout.read) * 1000;
    return { connectMs: this.#timeouts.connectMs, idleMs };
  }

  #start(
    node: UpstreamNode,
    handler: UpstreamHandler,
    timeout: PublishedTimeout | null | undefined,
    host: string,
    isCopy: boolean,
  ): UpstreamTransport {
    const { pools, defaults } = this.#services;
    const timeouts = timeout == null ? this.#timeouts : overridden(timeout, defaults);
    if (this.#secure !== null && this.scheme !== "tls")
      return this.#startSecure(this.#secure, node, handler, timeouts, host, isCopy);
    if (this.isHttp2 && !isSecure(this.scheme)) {
      const { poolIdentity, address, port } = node;
      const target = { node: poolIdentity, identity: poolIdentity, address, port, secure: null, isCopy };
      return pools.http2.start(target, handler, timeouts, this.#keepAlive);
    }
    if (this.scheme !== "http") {
      const detail = `upstreams with scheme ${this.scheme} are not supported yet`;
      return failing(handler, timeouts, detail);
    }
    return pools
      .get(node.poolIdentity, plain, node.address, node.port)
      .start(handler, timeouts, this.#keepAlive, false);
  }

  #startSecure(
    secure: SecureProfile,
    node: UpstreamNode,
    handler: UpstreamHandler,
    timeouts: UpstreamTimeouts,
    host: string,
    isCopy: boolean,
  ): UpstreamTransport {
    const { poolIdentity, address, port } = node;
    try {
      const connector = secure.connectorFor(node, host === "" ? node.hostHeader : host);
      if (this.isHttp2) {
        const { identity } = connector;
        const target = { node: poolIdentity, identity, address, port, secure: connector, isCopy };
        return this.#services.pools.http2.start(target, handler, timeouts, this.#keepAlive);
      }
      return this.#services.pools
        .getNamed(poolIdentity, connector.identity, connector, address, port)
        .start(handler, timeouts, this.#keepAlive, false);
    } catch (error) {
      return failing(handler, timeouts, (error as Error).message);
    }
  }

  /** Once for each `connect`. `latencyMs`: until the head of the answer, or the failure. */
  finished(node: UpstreamNode, latencyMs: number, ok: boolean): void {
    this.#balancer!.finished(node, latencyMs, ok);
  }

  /** The head of an answer came from `node`, or (`failed`) its attempt failed: what passive checks go by. */
  answered(node: UpstreamNode, status: number, latencyMs: number): void {
    if (this.#health !== null) this.#health.answered(node, status, latencyMs);
  }

  failed(node: UpstreamNode, failure: UpstreamFailure): void {
    if (this.#health !== null) this.#health.failed(node, failure);
  }

  /** The node was taken out since it was picked, and nothing may begin on it. */
  isDrained(node: UpstreamNode): boolean {
    return this.#health !== null && this.#health.isDrained(node);
  }

  /** Attempts of this worker that run on a node, named by its host or address. */
  inFlight(host: string, port: number): number {
    let running = 0;
    for (const node of this.#known.values()) {
      if (node.port === port && (node.host === host || node.address === host)) running += node.active;
    }
    return running;
  }

  /**
   * May another attempt follow, `attempts` having been made since `elapsedMs` ago? The caller answers for it
   * that the client has seen nothing of an answer. A yes to what was sent spends one repeat of the budget.
   */
  mayRetry(attempts: number, elapsedMs: number, facts: RetryFacts): boolean {
    const { retries, retry_timeout: limitSeconds } = this.#config;
    if (attempts > (retries ?? this.#nodes.length - 1)) return false;
    if (limitSeconds !== undefined && limitSeconds > 0 && elapsedMs >= limitSeconds * 1000) return false;
    if (!isSafeToRetry(facts)) return false;
    return !facts.hasSent || this.#budget.spend();
  }

  /** The configuration went away or was replaced. Running attempts go on; connections stay in their pools. */
  dispose(): void {
    for (const name of this.#names) this.#services.addresses.unlisten(name, this.#onAddresses);
    this.#endResolution();
  }

  readonly #onAddresses = (): void => {
    this.#isStale = true;
    if (this.#resolution !== null && !this.isUnresolved) this.#endResolution();
  };

  /** Addresses change for upstreams without traffic, too: the work is done at the next request. */
  #refresh(): void {
    if (this.#health !== null && this.#health.look()) this.#isStale = true;
    if (!this.#isStale) return;
    this.#isStale = false;
    const config = this.#config;
    const { nodes: all, known } = expandNodes(config, this.#services.addresses, this.#known);
    const nodes = this.#health === null ? all : this.#health.assign(all);
    this.#nodes = nodes;
    this.#known = known;
    this.#balancer = this.#createBalancer(nodes, this.#zones);
    this.#byZone = null;
    if (nodes.length > 0) this.#isFirst = false;
  }

  #createBalancer(nodes: readonly UpstreamNode[], zones: BalancerSettings["zones"]): Balancer {
    const { type, hash_on: hashOn, key } = this.#config;
    const { workerSlot, now, random } = this.#services;
    return createBalancer(nodes, {
      type,
      hashOn,
      key,
      workerSlot,
      isFirst: this.#isFirst,
      health: this.#health,
      zones,
      now,
      random,
    });
  }

  #endResolution(): void {
    if (this.#resolution === null) return;
    clearTimeout(this.#resolution.timer);
    this.#resolution.resolve();
    this.#resolution = null;
  }
}

function limitOf(
  { limits }: PublishedUpstream,
  services: UpstreamServices,
  previous: Upstream | null,
): RequestLimit | null {
  if (limits === undefined) return null;
  const limit = previous?.limit ?? new RequestLimit(limits, services.onLimited ?? (() => {}));
  limit.settings = limits;
  return limit;
}

function nodeHealthOf(config: PublishedUpstream, table: HealthTable | null): NodeHealth | null {
  const resource = table === null ? null : healthResourceOf(config);
  return resource === null
    ? null
    : new NodeHealth(table!, resource, healthChecksOf(config), config.outlier ?? null);
}

/** An attempt that fails without a connection. */
function failing(handler: UpstreamHandler, timeouts: UpstreamTimeouts, detail: string): UpstreamAttempt {
  const attempt = new UpstreamAttempt(null, handler, timeouts, false);
  attempt.failSoon("refused", detail);
  return attempt;
}

interface Resolution {
  promise: Promise<void>;
  resolve: () => void;
  timer: NodeJS.Timeout;
}

function timeoutsOf(timeout: PublishedTimeout | undefined, defaults: UpstreamDefaults): UpstreamTimeouts {
  return {
    connectMs: timeout === undefined ? defaults.connectTimeoutMs : timeout.connect * 1000,
    sendMs: timeout === undefined ? defaults.sendTimeoutMs : timeout.send * 1000,
    readMs: timeout === undefined ? defaults.readTimeoutMs : timeout.read * 1000,
  };
}

/** Converted once for each configured object, not for each request. */
const overrides = new WeakMap<PublishedTimeout, UpstreamTimeouts>();

function overridden(timeout: PublishedTimeout, defaults: UpstreamDefaults): UpstreamTimeouts {
  let converted = overrides.get(timeout);
  if (converted === undefined) overrides.set(timeout, (converted = timeoutsOf(timeout, defaults)));
  return converted;
}

function keepAliveOf(config: PublishedUpstream, defaults: UpstreamDefaults): KeepAlive {
  const pool = config.keepalive_pool;
  if (pool === undefined) return defaults.keepalive;
  return { size: pool.size, idleTimeoutMs: pool.idle_timeout * 1000, requests: pool.requests };
}
