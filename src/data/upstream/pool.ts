/**
 * Connections of this worker to one node, kept alive between requests, and all such pools by their identity.
 *
 * A pool belongs to an identity (scheme, address, port; with TLS the name and certificates, too), not to an upstream:
 * two upstreams with the same node share its connections. Names may come from clients: the pools of one node under all
 * of its names keep to the bounds of one pool together. Each exchange brings the settings of its own upstream. The connection used last is
 * taken first, so that the surplus grows old and closes; beyond `size` the one idle for longest goes. A peer's
 * close, or a byte that nobody asked for, takes an idle connection out at once. Sizes are per worker.
 *
 * An idle connection may be closed by the peer while a request is written to it. Nothing can prevent this
 * race. An idempotent request without a body is then repeated once on a fresh connection, without anyone
 * hearing of it (as nginx does, which does not count that try either); all others fail with `reset`, and
 * `retry-policy.ts` decides.
 */

import type { Deadlines } from "../deadlines.ts";
import type { HeadLimits } from "../http1/head-parser.ts";
import { UpstreamAttempt, type UpstreamTimeouts } from "../http1/upstream-attempt.ts";
import {
  UpstreamConnection,
  type ConnectionOwner,
  type Connector,
  type KeepAlive,
} from "../http1/upstream-connection.ts";
import { UpstreamSessions } from "../http2/upstream-session.ts";
import type { UpstreamHandler } from "../transport.ts";
import { NodeConnections } from "./node-connections.ts";

export interface PoolLimits extends HeadLimits {
  maxConnectionsPerNode: number;
}

export class ConnectionPools {
  readonly #pools = new Map<string, ConnectionPool>();
  readonly #nodes = new Map<string, NodeConnections>();
  readonly #deadlines: Deadlines;
  readonly #limits: PoolLimits;
  /** Connections that speak HTTP/2, which requests share. */
  readonly http2: UpstreamSessions;

  constructor(deadlines: Deadlines, limits: PoolLimits) {
    this.#deadlines = deadlines;
    this.#limits = limits;
    this.http2 = new UpstreamSessions(deadlines, limits.maxConnectionsPerNode);
  }

  /** Pools with at least one connection. */
  get size(): number {
    return this.#pools.size;
  }

  /** `identity` says all that two connections must have in common to be interchangeable: "http#10.0.0.1#80". */
  get(identity: string, connector: Connector, address: string, port: number): ConnectionPool {
    let pool = this.#pools.get(identity);
    if (pool === undefined) {
      pool = new ConnectionPool(
        identity,
        connector,
        address,
        port,
        this.#limits,
        this.#deadlines,
        this,
        null,
      );
      this.#pools.set(identity, pool);
    }
    return pool;
  }

  /** One of several pools to the same node, which is `node` ("https#10.0.0.1#443"). */
  getNamed(
    node: string,
    identity: string,
    connector: Connector,
    address: string,
    port: number,
  ): ConnectionPool {
    let pool = this.#pools.get(identity);
    if (pool === undefined) {
      let all = this.#nodes.get(node);
      if (all === undefined) this.#nodes.set(node, (all = new NodeConnections(node)));
      pool = new ConnectionPool(identity, connector, address, port, this.#limits, this.#deadlines, this, all);
      this.#pools.set(identity, pool);
    }
    return pool;
  }

  /** Its last connection ended. Within the same tick a new one may be opened, so it is dropped afterwards. */
  onEmpty(pool: ConnectionPool): void {
    process.nextTick(dropIfEmpty, this.#pools, this.#nodes, pool);
  }

  /** Open connections and the idle ones among them, over all nodes. */
  count(): { open: number; idle: number } {
    let { open, idle } = this.http2.count();
    for (const pool of this.#pools.values()) {
      open += pool.open;
      idle += pool.idle;
    }
    return { open, idle };
  }

  /** Closes what is idle now; busy connections close after their exchange. For the drain of a worker. */
  closeIdle(): void {
    for (const pool of this.#pools.values()) pool.closeIdle();
    this.http2.closeIdle();
  }
}

function dropIfEmpty(
  pools: Map<string, ConnectionPool>,
  nodes: Map<string, NodeConnections>,
  pool: ConnectionPool,
): void {
  if (pool.open > 0) return;
  // Emptied twice in one tick, it may have a successor.
  if (pools.get(pool.identity) === pool) pools.delete(pool.identity);
  const { node } = pool;
  if (node !== null && node.open === 0 && nodes.get(node.identity) === node) nodes.delete(node.identity);
}

export class ConnectionPool implements ConnectionOwner {
  /** Connections, idle, busy and connecting. */
  open = 0;
  readonly identity: string;
  /** All connections to its node under whatever name; null: the pool has them all. */
  readonly node: NodeConnections | null;
  readonly #idle: UpstreamConnection[] = [];
  readonly #connector: Connector;
  readonly #address: string;
  readonly #port: number;
  readonly #limits: PoolLimits;
  readonly #deadlines: Deadlines;
  readonly #owner: ConnectionPools;
  #keepsNone = false;

  constructor(
    identity: string,
    connector: Connector,
    address: string,
    port: number,
    limits: PoolLimits,
    deadlines: Deadlines,
    owner: ConnectionPools,
    node: NodeConnections | null,
  ) {
    this.identity = identity;
    this.node = node;
    this.#connector = connector;
    this.#address = address;
    this.#port = port;
    this.#limits = limits;
    this.#deadlines = deadlines;
    this.#owner = owner;
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** Starts an attempt on an idle connection, or on a new one (`isFresh`: always on a new one). */
  start(
    handler: UpstreamHandler,
    timeouts: UpstreamTimeouts,
    keepAlive: KeepAlive,
    isFresh: boolean,
  ): UpstreamAttempt {
    let connection = isFresh ? undefined : this.#idle.pop();
    const isReused = connection !== undefined;
    if (this.node !== null && connection !== undefined) this.node.remove(connection);
    connection ??= this.#open();
    const attempt = new UpstreamAttempt(connection ?? null, handler, timeouts, isReused);
    if (connection === undefined) {
      attempt.failSoon("overloaded", this.#overload());
      if (this.open === 0) this.#owner.onEmpty(this);
    } else {
      connection.keepAlive = keepAlive;
      connection.begin(attempt);
    }
    return attempt;
  }

  onStale(attempt: UpstreamAttempt, stale: UpstreamConnection): void {
    const connection = this.#open();
    attempt.isReused = false;
    if (connection === undefined) {
      attempt.handler.onError("overloaded", this.#overload());
    } else {
      attempt.connection = connection;
      connection.repeat(attempt, stale);
    }
  }

  onIdle(connection: UpstreamConnection): void {
    const { size, idleTimeoutMs, requests } = connection.keepAlive!;
    if (this.#keepsNone || size === 0 || (requests > 0 && connection.requests >= requests)) {
      connection.close();
      return;
    }
    this.#idle.push(connection);
    connection.idleUntil(this.#deadlines.now() + idleTimeoutMs);
    const { node } = this;
    if (node !== null) node.add(connection, size);
    else if (this.#idle.length > size) this.#idle[0].close();
  }

  onClosed(connection: UpstreamConnection): void {
    this.open--;
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    if (this.node !== null) {
      this.node.open--;
      if (at !== -1) this.node.remove(connection);
    }
    if (this.open === 0) this.#owner.onEmpty(this);
  }

  closeIdle(): void {
    this.#keepsNone = true;
    for (const connection of this.#idle.slice()) connection.close();
  }

  /** A new connection; undefined at the limit, unless an idle one can give way. */
  #open(): UpstreamConnection | undefined {
    const { node } = this;
    const open = node === null ? this.open : node.open;
    if (open >= this.#limits.maxConnectionsPerNode) {
      const oldest = node === null ? this.#idle[0] : node.oldest;
      if (oldest === undefined) return undefined;
      oldest.close();
    }
    this.open++;
    if (node !== null) node.open++;
    return new UpstreamConnection(
      this.#connector,
      this.#address,
      this.#port,
      this.#limits,
      this.#deadlines,
      this,
    );
  }

  #overload(): string {
    return `${this.#limits.maxConnectionsPerNode} connections to ${this.#address}:${this.#port} are in use`;
  }
}
