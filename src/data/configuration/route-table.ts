/**
 * Which routes and services there are, and with them the router: a route stands in it under its own hosts or else those of its
 * service, and moves when these change. Nothing is compiled here.
 */

import type { PublishedRoute, PublishedService, PublishedWebSocket } from "../../model/published.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";
import type { RouterMode } from "../route/route-pattern.ts";
import { Router } from "../route/router.ts";
import type { CompiledRoute } from "./compiled-route.ts";
import { Lazy } from "./lazy.ts";
import { type UpstreamFactory, UpstreamReference } from "./upstream-reference.ts";

/** A route as the router holds it. */
export interface RouteEntry {
  compiled: CompiledRoute | null;
  /** What it was made from, at the time of compilation, as `Configuration` counts it. */
  compiledAt: number;
  readonly id: string;
  bytes: ItemBytes;
  serviceId: string | undefined;
  /** Of the upstream that stands inside the route, from the first compilation on: it outlives the next ones. */
  inlineUpstream: UpstreamReference | null;
}

export interface ServiceEntry {
  item: Lazy<PublishedService>;
  /** Made from the service's inline upstream. */
  upstream: UpstreamReference | null;
}

export class RouteTable {
  readonly router: Router<RouteEntry>;
  readonly #createUpstream: UpstreamFactory;
  readonly #onRemoved: (routeId: string) => void;
  readonly #routes = new Map<string, RouteEntry>();
  readonly #routesOfService = new Map<string, Set<RouteEntry>>();
  readonly #services = new Map<string, ServiceEntry>();

  constructor(mode: RouterMode, createUpstream: UpstreamFactory, onRemoved: (routeId: string) => void) {
    this.router = new Router<RouteEntry>(mode);
    this.#createUpstream = createUpstream;
    this.#onRemoved = onRemoved;
  }

  /** Enabled or not. */
  get(id: string): RouteEntry | undefined {
    return this.#routes.get(id);
  }

  ids(): string[] {
    return [...this.#routes.keys()];
  }

  /** `id`: of the service of a route, which may have none. */
  service(id: string | undefined): ServiceEntry | undefined {
    return id === undefined ? undefined : this.#services.get(id);
  }

  serviceIds(): string[] {
    return [...this.#services.keys()];
  }

  /** Its own hosts, or those of its service; undefined: any. */
  hostsOf(entry: RouteEntry): readonly string[] | undefined {
    const service = this.service(entry.serviceId);
    return entry.bytes.parse<PublishedRoute>().hosts ?? service?.item.value.hosts;
  }

  /** `websocket` of a route, or of its service; undefined: neither says anything. */
  webSocketOf(routeId: string): PublishedWebSocket | undefined {
    const entry = this.#routes.get(routeId);
    if (entry === undefined) return undefined;
    const service = this.service(entry.serviceId);
    return entry.bytes.parse<PublishedRoute>().websocket ?? service?.item.value.websocket;
  }

  put(id: string, bytes: ItemBytes): void {
    const route = bytes.parse<PublishedRoute>();
    const previous = this.#routes.get(id);
    const entry: RouteEntry = {
      compiled: null,
      compiledAt: 0,
      id,
      bytes,
      serviceId: route.service_id,
      inlineUpstream: null,
    };
    this.#routes.set(id, entry);
    if (previous !== undefined) this.#forget(previous);
    if (route.service_id !== undefined) {
      const siblings = this.#routesOfService.get(route.service_id);
      if (siblings === undefined) this.#routesOfService.set(route.service_id, new Set([entry]));
      else siblings.add(entry);
    }
    this.#place(entry, route);
  }

  remove(id: string): void {
    const entry = this.#routes.get(id);
    if (entry === undefined) return;
    this.router.delete(id);
    this.#routes.delete(id);
    this.#onRemoved(id);
    this.#forget(entry);
  }

  /** Puts the route into the router, or takes it out when it is disabled. An insert replaces the one before. */
  #place(entry: RouteEntry, route: PublishedRoute): void {
    if (!route.enabled) {
      this.router.delete(entry.id);
      return;
    }
    const service = this.service(entry.serviceId);
    this.router.insert(
      {
        id: entry.id,
        uris: route.uris,
        hosts: route.hosts ?? service?.item.value.hosts,
        methods: route.methods,
        remoteAddrs: route.remote_addrs,
        priority: route.priority,
        vars: route.vars,
        createdOrder: route.created,
      },
      entry,
    );
  }

  #forget(entry: RouteEntry): void {
    if (entry.serviceId !== undefined) {
      const siblings = this.#routesOfService.get(entry.serviceId);
      siblings?.delete(entry);
      if (siblings?.size === 0) this.#routesOfService.delete(entry.serviceId);
    }
    entry.compiled?.dispose();
    entry.compiled = null;
    entry.inlineUpstream?.dispose();
  }

  putService(id: string, bytes: ItemBytes): void {
    const previous = this.#services.get(id);
    const item = new Lazy<PublishedService>(bytes);
    const inline = item.value.upstream;
    this.#services.set(id, {
      item,
      upstream: inline === undefined ? null : UpstreamReference.inline(this.#createUpstream, inline),
    });
    if (String(previous?.item.value.hosts) !== String(item.value.hosts)) this.#replaceRoutesOf(id);
    previous?.upstream?.dispose();
  }

  /** Whether there was one. */
  removeService(id: string): boolean {
    const previous = this.#services.get(id);
    if (previous === undefined) return false;
    this.#services.delete(id);
    if (previous.item.value.hosts !== undefined) this.#replaceRoutesOf(id);
    previous.upstream?.dispose();
    return true;
  }

  /** The service's hosts changed: its routes without own hosts move. */
  #replaceRoutesOf(serviceId: string): void {
    for (const entry of this.#routesOfService.get(serviceId) ?? []) {
      const route = entry.bytes.parse<PublishedRoute>();
      if (route.hosts === undefined) this.#place(entry, route);
    }
  }
}
