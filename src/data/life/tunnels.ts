/**
 * The tunnels of a worker: connections that switched protocols, WebSockets mostly. Who is open, for whom, and what a change
 * of the configuration, a block or the end of the worker means to them.
 *
 * A tunnel is touched by a change when its route, the service or the plugin config of that route was edited or removed,
 * or when its node left the upstream. New nodes touch nobody: lists of nodes change all the time where services are
 * discovered. What becomes of it is `websocket.on_change` of the route, or of its service: of the new version, where
 * there is one.
 */

import type { PublishedNode, PublishedUpstream, PublishedWebSocket } from "../../model/published.ts";
import type { ItemBytes, Kind } from "../../shared/configuration-bytes.ts";
import type { MetricFamily } from "../../shared/metric-lane.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { Tunnel, type TunnelEnd } from "../exchange/tunnel.ts";
import type { LifeServices } from "./services.ts";

interface Open {
  readonly x: HttpExchange;
  readonly tunnel: Tunnel;
  /** "kind/id" of what it depends on. */
  readonly keys: readonly string[];
  settings: PublishedWebSocket;
}

type Reason = "client or upstream" | "idle" | "change" | "block" | "drain";

const KEEP: PublishedWebSocket = { on_change: "keep", drain_time: 30 };
/** Of the time to drain, so that the goodbyes are said before its end. */
const DRAIN_SHARE = 0.8;

export class Tunnels {
  readonly #services: LifeServices;
  readonly #open = new Set<Open>();
  /** By what they depend on. */
  readonly #byKey = new Map<string, Set<Open>>();
  readonly #reasons = new WeakMap<Open, Reason>();
  #gauge: MetricFamily | null = null;
  #ends: MetricFamily | null = null;

  constructor(services: LifeServices) {
    this.#services = services;
    services.configuration.onChange = (kind, id, before, after) => this.#onChange(kind, id, before, after);
  }

  /** Joins the two; `onClose` is called once, when both are closed. */
  open(x: HttpExchange, client: TunnelEnd, upstream: TunnelEnd, onClose: () => void): void {
    const { configuration, deadlines, http } = this.#services;
    const id = x.entry === null ? null : x.entry.id;
    const settings = (id === null ? undefined : configuration.routes.webSocketOf(id)) ?? KEEP;
    const idleSeconds = settings.idle_timeout;
    const tunnel = new Tunnel(client, upstream, {
      idleTimeoutMs: idleSeconds === undefined ? http.tunnelIdleTimeoutMs : idleSeconds * 1000,
      isWebSocket: x.head.upgrade?.toLowerCase() === "websocket",
      deadlines,
      onClose: (isIdle) => {
        this.#closed(open, isIdle);
        onClose();
      },
    });
    const open: Open = { x, tunnel, keys: keysOf(x), settings };
    this.#open.add(open);
    for (const key of open.keys) {
      const others = this.#byKey.get(key);
      if (others === undefined) this.#byKey.set(key, new Set([open]));
      else others.add(open);
    }
    this.#count(1);
    // The route changed between the request and the switch.
    if (x.entry !== null && configuration.routes.get(x.entry.id) !== x.entry)
      this.#onRoute(open, x.entry.bytes, configuration.routes.get(x.entry.id)?.bytes ?? null);
  }

  /** A block came: what it is to close is closed. */
  closeBlocked(): void {
    const { blocks } = this.#services.configuration;
    if (blocks === null) return;
    for (const open of this.#open) if (blocks.closes(open.x, Date.now())) this.#leave(open, "block");
  }

  /** The worker ends in so many milliseconds. They go before that, and not all at once: their clients come back elsewhere. */
  drain(timeoutMs: number): void {
    for (const open of this.#open) this.#leaveWithin(open, timeoutMs * DRAIN_SHARE, "drain");
  }

  #onChange(kind: Kind, id: string, before: ItemBytes, after: ItemBytes | null): void {
    const touched = this.#byKey.get(`${kind}/${id}`);
    if (touched === undefined) return;
    if (kind === "upstream") {
      const nodes = after === null ? [] : after.parse<PublishedUpstream>().nodes;
      for (const open of touched) if (!hasNode(nodes, open)) this.#apply(open);
      return;
    }
    const isSame = after !== null && kind !== "plugin_config" && sameButNodes(before, after);
    for (const open of touched) {
      if (!isSame) this.#apply(open);
      else if (!hasInlineNode(after, open)) this.#apply(open);
    }
  }

  #onRoute(open: Open, before: ItemBytes, after: ItemBytes | null): void {
    if (after === null || !sameButNodes(before, after)) this.#apply(open);
  }

  /** The policy of now; of a route that is gone, the last one. */
  #apply(open: Open): void {
    const { configuration } = this.#services;
    const { id } = open.x.entry!;
    if (configuration.routes.get(id) !== undefined)
      open.settings = configuration.routes.webSocketOf(id) ?? KEEP;
    const { on_change: policy, drain_time: seconds } = open.settings;
    if (policy === "close") this.#leave(open, "change");
    else if (policy === "drain") this.#leaveWithin(open, seconds * 1000, "change");
  }

  #leave(open: Open, reason: Reason): void {
    this.#reasons.set(open, reason);
    open.tunnel.leave();
  }

  /** At some moment of the second half. */
  #leaveWithin(open: Open, timeMs: number, reason: Reason): void {
    this.#reasons.set(open, reason);
    open.tunnel.leaveAfter(timeMs * (0.5 + Math.random() / 2));
  }

  #closed(open: Open, isIdle: boolean): void {
    this.#open.delete(open);
    for (const key of open.keys) {
      const others = this.#byKey.get(key)!;
      others.delete(open);
      if (others.size === 0) this.#byKey.delete(key);
    }
    this.#count(-1);
    const { metrics } = this.#services;
    if (metrics === undefined) return;
    const help = "Upgraded connections (WebSocket) that ended, by what ended them";
    this.#ends ??= metrics.counter("tunnels_closed_total", ["reason"], help);
    const reason = isIdle ? "idle" : (this.#reasons.get(open) ?? "client or upstream");
    this.#ends.inc(this.#ends.series([reason]));
  }

  #count(by: 1 | -1): void {
    const { metrics } = this.#services;
    if (metrics === undefined) return;
    this.#gauge ??= metrics.gauge("tunnels", [], "Upgraded connections (WebSocket) that are open");
    this.#gauge.inc(this.#gauge.series([]), by);
  }
}

function keysOf({ entry, route, upstream }: HttpExchange): string[] {
  if (entry === null) return [];
  const keys = [`route/${entry.id}`];
  if (route?.serviceId !== undefined) keys.push(`service/${route.serviceId}`);
  if (route?.pluginConfigId !== undefined) keys.push(`plugin_config/${route.pluginConfigId}`);
  if (upstream?.id !== undefined) keys.push(`upstream/${upstream.id}`);
  return keys;
}

interface WithUpstream {
  created?: number;
  upstream?: Partial<PublishedUpstream>;
}

/** Whether two versions of a route or a service differ in nothing but the nodes of the upstream within. */
function sameButNodes(before: ItemBytes, after: ItemBytes): boolean {
  return withoutNodes(before) === withoutNodes(after);
}

function withoutNodes(bytes: ItemBytes): string {
  const value = bytes.parse<WithUpstream>();
  delete value.created;
  if (value.upstream !== undefined) value.upstream.nodes = [];
  return JSON.stringify(value);
}

/** True, too, where the upstream of the tunnel does not stand within. */
function hasInlineNode(bytes: ItemBytes, open: Open): boolean {
  const { upstream } = bytes.parse<WithUpstream>();
  const isElsewhere = open.x.upstreamChoice !== null || open.x.upstream?.id !== undefined;
  return isElsewhere || upstream?.nodes === undefined || hasNode(upstream.nodes, open);
}

function hasNode(nodes: readonly PublishedNode[], { x }: Open): boolean {
  const { node } = x;
  return node === null || nodes.some(({ host, port }) => host === node.host && port === node.port);
}
