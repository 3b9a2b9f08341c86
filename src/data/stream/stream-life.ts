/**
 * The life of one connection of a stream route up to its node and at its end, whatever carries its bytes:
 *
 *   begin ─► match ─► preread ─► choose ─► attempt ─► beforeProxy ─► connect ─► (bytes pass) ─► end ─► log
 *                        │                    ▲                         │                        ▲
 *                        ▼                    └───────── retry ─────────┘                        │
 *                      refuse ───────────────────────────────────────────────────────────────────┘
 *
 * Promises: `log` runs exactly once, however it ends; a node that was counted as busy is given back. Nothing was sent to a
 * node that could not be connected, so any failed connect may be repeated elsewhere. Sockets are the business of
 * `stream-session.ts` (TCP) and `udp-session.ts`.
 */

import type { PhaseResult } from "../../plugin/definition.ts";
import type { PluginLog } from "../../plugin/host.ts";
import type { Dictionary } from "../../shared/dictionary.ts";
import type { AccessLog } from "../access-log.ts";
import { type Blockable, type Blocks, streamRouteKey } from "../configuration/blocks.ts";
import type { UpstreamReference } from "../configuration/upstream-reference.ts";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { type Handler, runHandlers } from "../pipeline/handlers.ts";
import { TriedNodes, type UpstreamNode } from "../upstream/node.ts";
import type { RequestLimit } from "../upstream/request-limit.ts";
import type { RetryFacts } from "../upstream/retry-policy.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { type AcceptedFacts, type ExchangeOwner, StreamConnectionExchange } from "./stream-exchange.ts";
import type { CompiledStreamRoute, StreamRoutes } from "./stream-routes.ts";

/** What all connections of a worker share. */
export interface StreamServices {
  routes: StreamRoutes;
  /** Connections that are refused whatever their route says; null: there are none. */
  blocks(): Blocks | null;
  deadlines: Deadlines;
  log: PluginLog;
  /** Outlives the worker: what sessions of datagrams go on with after its death. */
  memory: Pick<Dictionary, "get" | "set" | "delete">;
  /** Null: none is written. */
  accessLog: Pick<AccessLog, "write"> | null;
}

// Ends, in the words of nginx.
export const CLOSED = 200;
export const CLIENT_FAULT = 400;
export const FORBIDDEN = 403;
export const INTERNAL_FAULT = 500;
export const NODE_FAULT = 502;
export const UNAVAILABLE = 503;

const UNSENT: RetryFacts = { method: "", hasSent: false, isReplayable: true };

export abstract class StreamLife implements Deadlined, ExchangeOwner {
  deadline = NEVER;
  readonly exchange: StreamConnectionExchange;
  protected readonly services: StreamServices;
  protected isOver = false;
  readonly #tried = new TriedNodes();
  #route: CompiledStreamRoute | null = null;
  #upstream: Upstream | null = null;
  /** Counted there. */
  #limit: RequestLimit | null = null;
  #attempts = 0;
  /** Counted as busy with this connection. */
  #busy: UpstreamNode | null = null;
  #attemptedAt = 0;
  #connectedAt = 0;

  constructor(facts: AcceptedFacts, services: StreamServices) {
    this.services = services;
    this.exchange = new StreamConnectionExchange(facts, this, performance.now());
  }

  abstract peek(length: number): Promise<Buffer | null>;
  abstract onDeadline(): void;
  /**
   * Begins to connect. What becomes of it is told by `connected` or `failed`, never before this returns; throws when it cannot
   * even begin.
   */
  protected abstract connect(upstream: Upstream, node: UpstreamNode): void;
  /** The node for the first attempt, past the balancer; null: it is asked. */
  protected favourite(_upstream: Upstream): UpstreamNode | null {
    return null;
  }

  /** The connection is over: sockets are closed, and nothing is told any more. */
  protected abstract release(): void;
  /** Last of all; the listener counts. */
  protected abstract tellEnded(): void;

  begin(): void {
    const { deadlines, routes } = this.services;
    const { exchange } = this;
    const { facts } = exchange;
    deadlines.add(this);
    const route = routes.find({
      remoteAddress: exchange.client.address,
      serverAddress: facts.serverAddress,
      serverPort: facts.serverPort,
      serverName: facts.tls?.serverName ?? null,
    });
    if (route === null) return this.#refuse(INTERNAL_FAULT, "no stream route takes the connection");
    this.#route = route;
    exchange.route = route.facts;
    const blocks = this.services.blocks();
    if (blocks !== null && blocks.answerFor(this.#blockable(), Date.now()) !== undefined)
      return this.#refuse(FORBIDDEN, "the connection is blocked");
    if (route.refusal !== null) return this.#refuse(INTERNAL_FAULT, route.refusal);
    this.#run(route.chain.preread, this.#choose);
  }

  /** A block came: it ends with one that is about it and closes connections. Datagrams are refused as requests are. */
  obey(blocks: Blocks): void {
    if (this.#route === null) return;
    const x = this.#blockable();
    const isUdp = this.exchange.stream.protocol === "UDP";
    if (isUdp ? blocks.answerFor(x, Date.now()) !== undefined : blocks.closes(x, Date.now()))
      this.end(FORBIDDEN);
  }

  #blockable(): Blockable {
    const { id, serviceId } = this.#route!.facts;
    return { route: { id: streamRouteKey(id), serviceId }, consumer: null, client: this.exchange.client };
  }

  cutOff(status: number): void {
    this.end(endOf(status));
  }

  /** The listener ends. */
  destroy(): void {
    this.end(CLOSED);
  }

  /** Milliseconds, of the upstream; only once there is one. */
  protected get timeouts(): { connectMs: number; idleMs: number } {
    return this.#upstream!.rawTimeouts;
  }

  /** The node stands. What passive checks make of it is told by `nodeIsThere` or `nodeIsNotThere`. */
  protected connected(): void {
    this.#connectedAt = performance.now();
    this.exchange.connectMs = this.#connectedAt - this.#attemptedAt;
  }

  protected nodeIsThere(): void {
    this.#upstream!.answered(this.#busy!, CLOSED, this.exchange.connectMs ?? 0);
  }

  protected nodeIsNotThere(): void {
    this.#upstream!.failed(this.#busy!, "refused");
  }

  /** The attempt is over; the next follows, if there may be one. */
  protected failed(failure: "refused" | "connect-timeout"): void {
    const upstream = this.#upstream!;
    const node = this.#busy!;
    this.deadline = NEVER;
    this.#busy = null;
    upstream.finished(node, performance.now() - this.#attemptedAt, false);
    upstream.failed(node, failure);
    if (upstream.mayRetry(this.#attempts, this.exchange.latencyMs, UNSENT)) this.#attempt();
    else this.end(NODE_FAULT);
  }

  /** `status`: one of the ends above, or what a plugin said. */
  protected end(status: number): void {
    if (this.isOver) return;
    this.isOver = true;
    const { exchange } = this;
    const { deadlines, accessLog } = this.services;
    const endedAt = performance.now();
    this.deadline = NEVER;
    deadlines.delete(this);
    if (this.#busy !== null) {
      const connectMs = exchange.connectMs ?? endedAt - this.#attemptedAt;
      this.#upstream!.finished(this.#busy, connectMs, this.#connectedAt !== 0);
      this.#busy = null;
    }
    if (this.#limit !== null) this.#limit.leave();
    if (this.#connectedAt !== 0) exchange.upstreamLatencyMs = endedAt - this.#connectedAt;
    this.release();
    exchange.stream.status = status;
    exchange.response.status = status;
    exchange.endedAt = endedAt;
    this.#log();
    exchange.ended = true;
    accessLog?.write(exchange);
    this.tellEnded();
  }

  /** Runs a phase; an answer, or a fault, ends the connection, else `next` goes on. */
  #run(handlers: readonly Handler[] | null, next: () => void): void {
    if (handlers === null) return next();
    let result: PhaseResult;
    try {
      result = runHandlers(handlers, this.exchange);
    } catch (error) {
      return this.#onPluginFault(error);
    }
    if (!(result instanceof Promise)) return this.#after(result, next);
    result.then(
      (answer) => this.#after(answer, next),
      (error: unknown) => this.#onPluginFault(error),
    );
  }

  #after(answer: Awaited<PhaseResult>, next: () => void): void {
    if (this.isOver) return;
    if (answer === undefined) next();
    else this.end(endOf(answer.status));
  }

  #onPluginFault(error: unknown): void {
    if (this.isOver) return;
    this.services.log.error("a plugin failed", { route: this.#route?.facts.id, error: String(error) });
    this.end(INTERNAL_FAULT);
  }

  readonly #choose = (): void => {
    this.deadline = NEVER;
    const reference = (this.exchange.upstreamChoice as UpstreamReference | null) ?? this.#route!.upstream;
    const upstream = reference === null ? null : reference.get();
    if (upstream === null) return this.#refuse(UNAVAILABLE, "the stream route leads to no upstream");
    this.#upstream = upstream;
    if (upstream.limit === null) return this.#resolve();
    const isIn = upstream.limit.enter(this.exchange);
    if (isIn instanceof Promise) void isIn.then((isLate) => this.#entered(upstream.limit!, isLate));
    else this.#entered(upstream.limit, isIn);
  };

  /** As many connections run on the upstream as its limits say; others wait, or are turned away. */
  #entered(limit: RequestLimit, isIn: boolean): void {
    if (!isIn) {
      if (!this.isOver) this.#refuse(UNAVAILABLE, "the upstream has as many connections as it may");
      return;
    }
    if (this.isOver) return limit.leave();
    this.#limit = limit;
    this.#resolve();
  }

  #resolve(): void {
    const upstream = this.#upstream!;
    if (!upstream.isUnresolved) return this.#attempt();
    void upstream.whenResolved().then(() => {
      if (!this.isOver) this.#attempt();
    });
  }

  #attempt(): void {
    const { exchange } = this;
    const favourite = this.#attempts === 0 ? this.favourite(this.#upstream!) : null;
    const node = favourite ?? this.#upstream!.pick(exchange, this.#tried);
    if (node === null)
      return this.#refuse(this.#attempts === 0 ? UNAVAILABLE : NODE_FAULT, "no node is left");
    this.#tried.add(node);
    this.#attempts++;
    exchange.node = node;
    exchange.upstreamAddresses += exchange.upstreamAddresses === "" ? node.name : `, ${node.name}`;
    this.#run(this.#route!.chain.beforeProxy, this.#connect);
  }

  readonly #connect = (): void => {
    const upstream = this.#upstream!;
    const node = this.exchange.node!;
    this.#attemptedAt = performance.now();
    this.deadline = this.services.deadlines.now() + upstream.rawTimeouts.connectMs;
    try {
      this.connect(upstream, node);
    } catch (error) {
      const fields = { node: node.name, error: String(error) };
      this.services.log.error("no connection to a node can be made", fields);
      return this.end(NODE_FAULT);
    }
    upstream.startedRaw(node);
    this.#busy = node;
  };

  #refuse(status: number, reason: string): void {
    const { client, facts } = this.exchange;
    const route = this.#route?.facts.id;
    this.services.log.info(reason, { client: client.address, listener: facts.listenAddress, route });
    this.end(status);
  }

  #log(): void {
    const handlers = this.#route?.chain.log ?? null;
    if (handlers === null) return;
    for (let i = 0; i < handlers.length; i++) {
      try {
        handlers[i](this.exchange);
      } catch (error) {
        this.services.log.error("a plugin failed", { phase: "log", error: String(error) });
      }
    }
  }
}

/** Whatever a plugin answers, as one of the ends that nginx knows; never as a good one. */
function endOf(status: number): number {
  if (status === FORBIDDEN || status === NODE_FAULT || status === UNAVAILABLE) return status;
  return status >= 400 && status < 500 ? CLIENT_FAULT : INTERNAL_FAULT;
}
