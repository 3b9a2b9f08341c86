/**
 * The life of one TCP connection of a stream route, top to bottom:
 *
 *   begin ─► match ─► preread ─► choose ─► beforeProxy ─► connect ─► relay ─► log
 *                        │          ▲           │            │
 *                        ▼          └── retry ──┴────────────┘
 *                      refuse
 *
 * Promises: `log` runs exactly once, however it ends; a node that was counted as busy is given back; every wait has a
 * deadline. Nothing was sent to a node that could not be connected, so any failed connect may be repeated elsewhere.
 */

import type { Socket } from "node:net";
import type { PhaseResult } from "../../plugin/definition.ts";
import type { PluginLog } from "../../plugin/host.ts";
import type { AccessLog } from "../access-log.ts";
import type { UpstreamReference } from "../configuration/upstream-reference.ts";
import { type Deadlined, type Deadlines, NEVER } from "../deadlines.ts";
import { type Handler, runHandlers } from "../pipeline/handlers.ts";
import { TriedNodes, type UpstreamNode } from "../upstream/node.ts";
import type { RetryFacts } from "../upstream/retry-policy.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { FirstBytes } from "./first-bytes.ts";
import { proxyHeader } from "./proxy-header.ts";
import { Relay, type RelayHost, type RelaySide } from "./relay.ts";
import { type AcceptedFacts, StreamConnectionExchange } from "./stream-exchange.ts";
import type { CompiledStreamRoute, StreamRoutes } from "./stream-routes.ts";

/** What all sessions of a worker share. */
export interface StreamServices {
  routes: StreamRoutes;
  deadlines: Deadlines;
  log: PluginLog;
  /** Null: none is written. */
  accessLog: AccessLog | null;
}

export interface SessionHost {
  readonly proxyProtocolToUpstream: boolean;
  onEnded(session: StreamSession): void;
}

/** How long plugins wait for the client's first bytes, as nginx has it. */
const PREREAD_MS = 30_000;
/** What TLS to a node is done under when the client named no server, as APISIX has it. */
const NAMELESS = "apisix_backend";
/** Ends of sessions, in the words of nginx. */
const CLOSED = 200;
const CLIENT_FAULT = 400;
const INTERNAL_FAULT = 500;
const NODE_FAULT = 502;
const UNAVAILABLE = 503;

const UNSENT: RetryFacts = { method: "", hasSent: false, isReplayable: true };

export class StreamSession implements Deadlined, RelayHost {
  deadline = NEVER;
  readonly exchange: StreamConnectionExchange;
  readonly #client: Socket;
  readonly #services: StreamServices;
  readonly #host: SessionHost;
  readonly #first: FirstBytes;
  readonly #tried = new TriedNodes();
  #route: CompiledStreamRoute | null = null;
  #upstream: Upstream | null = null;
  #attempts = 0;
  /** Of the attempt that runs, or of the node that is connected. */
  #node: UpstreamNode | null = null;
  #nodeSocket: Socket | null = null;
  #attemptedAt = 0;
  #connectedAt = 0;
  #relay: Relay | null = null;
  #idleMs = 0;
  #isOver = false;
  /** Why it ended before it was closed; 0: nothing went wrong. */
  #fault = 0;

  /** `rest`: what was read of the client already. Begins with `begin`. */
  constructor(
    client: Socket,
    rest: Buffer | null,
    facts: AcceptedFacts,
    services: StreamServices,
    host: SessionHost,
  ) {
    this.#client = client;
    this.#services = services;
    this.#host = host;
    this.#first = new FirstBytes(client, rest);
    this.exchange = new StreamConnectionExchange(facts, this, performance.now());
  }

  begin(): void {
    this.#services.deadlines.add(this);
    this.#client.on("error", this.#onClientError);
    this.#client.on("close", this.#onClientClose);
    const { facts } = this.exchange;
    const route = this.#services.routes.find({
      remoteAddress: this.exchange.client.address,
      serverAddress: facts.serverAddress,
      serverPort: facts.serverPort,
      serverName: facts.tls?.serverName ?? null,
    });
    if (route === null) return this.#refuse(INTERNAL_FAULT, "no stream route takes the connection");
    this.#route = route;
    this.exchange.route = route.facts;
    if (route.refusal !== null) return this.#refuse(INTERNAL_FAULT, route.refusal);
    this.#run(route.chain.preread, this.#choose);
  }

  // ── what the exchange asks for ──────────────────────────────────────────────────────────────────────────

  peek(length: number): Promise<Buffer | null> {
    if (this.#isOver || this.#relay !== null) return Promise.resolve(null);
    this.deadline = this.#services.deadlines.now() + PREREAD_MS;
    return this.#first.peek(length);
  }

  cutOff(status: number): void {
    this.#end(statusOf(status));
  }

  // ── phases ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs a phase; an answer, or a fault, ends the session, else `next` goes on. */
  #run(handlers: readonly Handler[] | null, next: () => void): void {
    if (handlers === null) return next();
    let result: PhaseResult;
    try {
      result = runHandlers(handlers, this.exchange);
    } catch (error) {
      return this.#onPluginFault(error);
    }
    if (result instanceof Promise) {
      result.then(
        (answer) => this.#after(answer, next),
        (error: unknown) => this.#onPluginFault(error),
      );
      return;
    }
    this.#after(result, next);
  }

  #after(answer: Awaited<PhaseResult>, next: () => void): void {
    if (this.#isOver) return;
    if (answer === undefined) next();
    else this.#end(statusOf(answer.status));
  }

  #onPluginFault(error: unknown): void {
    if (this.#isOver) return;
    this.#services.log.error("a plugin failed", { route: this.#route?.facts.id, error: String(error) });
    this.#end(INTERNAL_FAULT);
  }

  readonly #choose = (): void => {
    this.deadline = NEVER;
    const reference = (this.exchange.upstreamChoice as UpstreamReference | null) ?? this.#route!.upstream;
    const upstream = reference === null ? null : reference.get();
    if (upstream === null) return this.#refuse(UNAVAILABLE, "the stream route leads to no upstream");
    this.#upstream = upstream;
    if (!upstream.isUnresolved) return this.#attempt();
    void upstream.whenResolved().then(() => {
      if (!this.#isOver) this.#attempt();
    });
  };

  #attempt(): void {
    const { exchange } = this;
    const node = this.#upstream!.pick(exchange, this.#tried);
    if (node === null) {
      const status = this.#attempts === 0 ? UNAVAILABLE : NODE_FAULT;
      return this.#refuse(status, "no node is left");
    }
    this.#tried.add(node);
    this.#attempts++;
    this.#node = node;
    exchange.node = node;
    exchange.upstreamAddresses += exchange.upstreamAddresses === "" ? node.name : `, ${node.name}`;
    this.#run(this.#route!.chain.beforeProxy, this.#connect);
  }

  readonly #connect = (): void => {
    const { deadlines, log } = this.#services;
    const upstream = this.#upstream!;
    const node = this.#node!;
    this.#attemptedAt = performance.now();
    try {
      const name = this.exchange.facts.tls?.hello.serverName ?? NAMELESS;
      const { socket, readyEvent } = upstream.connectRaw(node, name);
      this.#nodeSocket = socket;
      this.deadline = deadlines.now() + upstream.rawTimeouts.connectMs;
      socket.on("error", this.#onNodeError);
      socket.once(readyEvent, this.#onConnected);
    } catch (error) {
      log.error("no connection to a node can be made", { node: node.name, error: String(error) });
      this.#end(NODE_FAULT);
    }
  };

  readonly #onNodeError = (error: Error): void => {
    if (this.#isOver) return;
    this.#services.log.warn("connection to a node failed", { node: this.#node!.name, error: error.message });
    this.#onFailed("refused");
  };

  #onFailed(failure: "refused" | "connect-timeout"): void {
    const upstream = this.#upstream!;
    const node = this.#node!;
    this.deadline = NEVER;
    this.#nodeSocket?.destroy();
    this.#nodeSocket = null;
    upstream.finished(node, performance.now() - this.#attemptedAt, false);
    upstream.failed(node, failure);
    this.#node = null;
    if (upstream.mayRetry(this.#attempts, this.exchange.latencyMs, UNSENT)) this.#attempt();
    else this.#end(NODE_FAULT);
  }

  readonly #onConnected = (): void => {
    const { exchange } = this;
    const socket = this.#nodeSocket!;
    const node = this.#node!;
    this.#connectedAt = performance.now();
    exchange.connectMs = this.#connectedAt - this.#attemptedAt;
    this.#upstream!.answered(node, CLOSED, exchange.connectMs);
    socket.off("error", this.#onNodeError);
    this.#client.off("error", this.#onClientError);
    this.#client.off("close", this.#onClientClose);
    if (this.#host.proxyProtocolToUpstream) socket.write(proxyHeader(exchange));
    const first = this.#first.take();
    if (first.length > 0) socket.write(first);
    exchange.bytesReceived += first.length;
    exchange.upstreamBytesSent += first.length;
    this.#idleMs = this.#upstream!.rawTimeouts.idleMs;
    this.#touch();
    this.#relay = new Relay(this.#client, socket, this);
    this.#relay.start();
  };

  // ── while bytes pass ────────────────────────────────────────────────────────────────────────────────────

  onBytes(from: RelaySide, length: number): void {
    const { exchange } = this;
    if (from === "client") {
      exchange.bytesReceived += length;
      exchange.upstreamBytesSent += length;
    } else {
      exchange.bytesSent += length;
      exchange.upstreamBytesReceived += length;
    }
    this.#touch();
  }

  onBroken(side: RelaySide): void {
    if (this.#fault === 0) this.#fault = side === "client" ? CLIENT_FAULT : NODE_FAULT;
  }

  onEnd(): void {
    this.#end(this.#fault === 0 ? CLOSED : this.#fault);
  }

  #touch(): void {
    this.deadline = this.#services.deadlines.now() + this.#idleMs;
  }

  onDeadline(): void {
    if (this.#relay !== null) this.#end(NODE_FAULT);
    else if (this.#first.isAwaited) {
      this.deadline = NEVER;
      this.#first.giveUp();
    } else if (this.#nodeSocket !== null) this.#onFailed("connect-timeout");
  }

  /** The listener ends. */
  destroy(): void {
    this.#end(CLOSED);
  }

  readonly #onClientError = (): void => {
    this.#fault = CLIENT_FAULT;
  };

  /** Before a node stands; after that, the relay looks. */
  readonly #onClientClose = (): void => this.#end(this.#fault === 0 ? CLOSED : this.#fault);

  // ── ends ────────────────────────────────────────────────────────────────────────────────────────────────

  #refuse(status: number, reason: string): void {
    const { facts, client } = this.exchange;
    const { listenAddress } = facts;
    this.#services.log.info(reason, { client: client.address, listener: listenAddress, route: this.#route?.facts.id });
    this.#end(status);
  }

  #end(status: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { exchange } = this;
    const endedAt = performance.now();
    this.deadline = NEVER;
    this.#services.deadlines.delete(this);
    this.#first.giveUp();
    if (this.#node !== null && this.#nodeSocket !== null) {
      const connectMs = exchange.connectMs ?? endedAt - this.#attemptedAt;
      this.#upstream!.finished(this.#node, connectMs, this.#relay !== null);
    }
    if (this.#connectedAt !== 0) exchange.upstreamLatencyMs = endedAt - this.#connectedAt;
    this.#client.destroy();
    this.#nodeSocket?.destroy();
    exchange.stream.status = status;
    exchange.response.status = status;
    exchange.endedAt = endedAt;
    this.#log();
    exchange.ended = true;
    this.#services.accessLog?.write(exchange);
    this.#host.onEnded(this);
  }

  #log(): void {
    const handlers = this.#route?.chain.log ?? null;
    if (handlers === null) return;
    for (let i = 0; i < handlers.length; i++) {
      try {
        handlers[i](this.exchange);
      } catch (error) {
        this.#services.log.error("a plugin failed", { phase: "log", error: String(error) });
      }
    }
  }
}

/** Whatever a plugin answers, as one of the ends that nginx knows; never as a good one. */
function statusOf(answer: number): number {
  if (answer === CLIENT_FAULT || answer === 403 || answer === NODE_FAULT || answer === UNAVAILABLE) return answer;
  return answer >= 400 && answer < 500 ? CLIENT_FAULT : INTERNAL_FAULT;
}
