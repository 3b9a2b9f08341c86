/**
 * All that a worker knows of the node's configuration, ready to be asked by requests.
 *
 * It takes items one by one (`put`, `remove`); `applier.ts` decides when. Resources stay bytes in shared
 * memory until a request needs them: a route costs its place in the router and a small entry, and is compiled
 * at its first request. What a compiled route was made from (service, plugin config) is noticed by one
 * comparison of `#links`, which grows with every change of such a resource.
 */

import { MISSING_PLUGINS, MISSING_SERVICE } from "../../model/stand-ins.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { ItemBytes, Kind } from "../../shared/configuration-bytes.ts";
import type {
  PublishedBlock,
  PublishedGlobalRule,
  PublishedPluginSet,
  PublishedProto,
  PublishedRoute,
  PublishedService,
  PublishedUpstream,
  PublishedWebSocket,
} from "../../model/published.ts";
import type { Catalog, HostServices, MergedPlugin } from "../pipeline/compiler.ts";
import type { RouterMode } from "../route/route-pattern.ts";
import { Router } from "../route/router.ts";
import { PluginCompiler, type HeldChain } from "../pipeline/compiler.ts";
import { mergeConsumer, mergePlugins, type PluginSource } from "../pipeline/merge.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import { namesBodyVariable } from "../exchange/body/body-variables.ts";
import { Blocks } from "./blocks.ts";
import { CompiledRoute } from "./compiled-route.ts";
import { Consumers } from "./consumers.ts";
import { StreamRoutes } from "../stream/stream-routes.ts";
import { UpstreamReference, type UpstreamFactory } from "./upstream-reference.ts";

/** A route as the router holds it. */
export interface RouteEntry {
  compiled: CompiledRoute | null;
  /** `#links` at the time of compilation. */
  compiledAt: number;
  readonly id: string;
  bytes: ItemBytes;
  serviceId: string | undefined;
  /** Of the upstream that stands inside the route, from the first compilation on: it outlives the next ones. */
  inlineUpstream: UpstreamReference | null;
}

/** A resource that is parsed when it is first needed. */
class Lazy<T> {
  readonly bytes: ItemBytes;
  #value: T | null = null;

  constructor(bytes: ItemBytes) {
    this.bytes = bytes;
  }

  get value(): T {
    return (this.#value ??= this.bytes.parse<T>());
  }
}

interface ServiceEntry {
  item: Lazy<PublishedService>;
  /** Made from the service's inline upstream. */
  upstream: UpstreamReference | null;
}

export interface ConfigurationServices {
  catalog: Catalog;
  host: Omit<HostServices, "consumers" | "onRouteRemoved" | "upstreamOf" | "protoOf" | "inlineUpstream">;
  routerMode: RouterMode;
  createUpstream: (config: PublishedUpstream, previous: Upstream | null) => Upstream;
  /** Address items of the resolver. */
  setAddresses(host: string, addresses: readonly string[] | null): void;
  /** Where certificates go; absent: nobody terminates TLS. */
  certificates?: {
    put(id: string, bytes: ItemBytes): void;
    delete(id: string): void;
    useTicketKey(key: Buffer): void;
  };
}

/** Kinds that open connections depend on. */
const TOUCHING: ReadonlySet<Kind> = new Set(["route", "service", "plugin_config", "upstream"]);

export class Configuration {
  readonly router: Router<RouteEntry>;
  readonly consumers: Consumers;
  readonly compiler: PluginCompiler;
  readonly streams: StreamRoutes;
  readonly #services: ConfigurationServices;
  readonly #createUpstream: UpstreamFactory;
  readonly #routes = new Map<string, RouteEntry>();
  readonly #routesOfService = new Map<string, Set<RouteEntry>>();
  readonly #serviceEntries = new Map<string, ServiceEntry>();
  readonly #upstreams = new Map<string, UpstreamReference>();
  readonly #pluginConfigs = new Map<string, Lazy<PublishedPluginSet>>();
  readonly #consumerGroups = new Map<string, Lazy<PublishedPluginSet>>();
  readonly #globalRules = new Map<string, Lazy<PublishedGlobalRule>>();
  readonly #metadata = new Map<string, Lazy<unknown>>();
  readonly #protos = new Map<string, Lazy<PublishedProto>>();
  /** "kind/id" of everything that is neither route nor service. */
  readonly #bytesById = new Map<string, ItemBytes>();
  /** "kind/id" of resources that name variables of the body. */
  readonly #namingBody = new Set<string>();
  readonly #removalListeners = new Set<(routeId: string) => void>();
  /** By the plugins that are left out; emptied by every change of a global rule. */
  readonly #globalChains = new Map<string, HeldChain | null>();
  /** Requests that are refused whatever their route says; null while there are none. */
  blocks: Blocks | null = null;
  /** Called after a block came or changed. */
  onBlock: (() => void) | null = null;
  /** Called after a route, a service, a plugin config or an upstream that was there has changed, or went (null). */
  onChange: ((kind: Kind, id: string, before: ItemBytes, after: ItemBytes | null) => void) | null = null;
  /** Grows with every change of something that compiled routes are made from. */
  #links = 1;
  /** Grows with every change of a consumer group: consumer chains are made from those too. */
  #groupVersion = 0;

  constructor(services: ConfigurationServices) {
    this.#services = services;
    this.#createUpstream = services.createUpstream;
    this.router = new Router<RouteEntry>(services.routerMode);
    this.consumers = new Consumers((plugin) => services.catalog.get(plugin)?.type === "auth");
    this.compiler = new PluginCompiler(
      services.catalog,
      {
        ...services.host,
        consumers: this.consumers,
        onRouteRemoved: (listener) => this.#onRouteRemoved(listener),
        upstreamOf: (id) => this.#upstream(id),
        protoOf: (id) => this.#protos.get(id)?.value ?? null,
        inlineUpstream: (config) => UpstreamReference.inline(this.#createUpstream, config),
      },
      (plugin) => this.#metadata.get(plugin)?.value,
    );
    this.streams = new StreamRoutes({
      compiler: this.compiler,
      catalog: services.catalog,
      createUpstream: this.#createUpstream,
      links: () => this.#links,
      upstreamOf: (id) => this.#upstream(id),
      serviceOf: (id) => this.#serviceEntries.get(id),
      onRemoved: (id) => {
        for (const listener of this.#removalListeners) listener(`stream_route#${id}`);
      },
    });
  }

  get routeCount(): number {
    return this.#routes.size;
  }

  /**
   * The global rules' plugins, or null when there are none. `replaced`: names (joined by ",") of plugins that the
   * route has itself and whose global instance therefore steps back; "" for none.
   */
  globalChain(replaced: string): PluginChain | null {
    if (this.#globalRules.size === 0) return null;
    const known = this.#globalChains.get(replaced);
    const held = known === undefined ? this.#compileGlobalRules(replaced) : known;
    return held === null ? null : held.chain;
  }

  /** The route made ready for what it matched; compiled now if it is not, or no longer is. */
  compiled(entry: RouteEntry, matchedUri: string, matchedHost: string): CompiledRoute {
    if (entry.compiled !== null && entry.compiledAt === this.#links) return entry.compiled;
    const previous = entry.compiled;
    entry.compiled = this.#compileRoute(entry, matchedUri, matchedHost);
    entry.compiledAt = this.#links;
    previous?.dispose();
    return entry.compiled;
  }

  /** The chain of a route for a consumer; the route's own when the consumer brings no plugin. */
  chainFor(route: RouteEntry, compiled: CompiledRoute, username: string): PluginChain {
    const consumer = this.consumers.pluginsOf(username);
    if (consumer === null) return compiled.chain;
    const group = consumer.groupId === undefined ? undefined : this.#consumerGroups.get(consumer.groupId);
    const own = this.#withoutAuth(consumer.plugins);
    if (own === undefined && consumer.groupId === undefined) return compiled.chain;
    return compiled.chainFor(username, consumer.version * 65_536 + (this.#groupVersion % 65_536), () =>
      this.compiler.compile(
        mergeConsumer(this.#mergedOf(this.#publishedRoute(route)), [
          sourceOf("consumer_group", consumer.groupId, group?.value),
          { owner: `consumer#${username}`, plugins: own },
        ]),
      ),
    );
  }

  // For explanations, which compile nothing.

  /** Enabled or not. */
  routeOf(id: string): RouteEntry | undefined {
    return this.#routes.get(id);
  }

  /** Its own hosts, or those of its service; undefined: any. */
  hostsOf(entry: RouteEntry): readonly string[] | undefined {
    const service = entry.serviceId === undefined ? undefined : this.#serviceEntries.get(entry.serviceId);
    return this.#publishedRoute(entry).hosts ?? service?.item.value.hosts;
  }

  get catalog(): Catalog {
    return this.#services.catalog;
  }

  /** Where the plugins of a route come from, weakest first. */
  pluginSources(entry: RouteEntry): (PluginSource | null)[] {
    return this.#sourcesOf(this.#publishedRoute(entry));
  }

  /** Those of a consumer, weakest first, without its credentials; null for an unknown one. */
  consumerSources(username: string): (PluginSource | null)[] | null {
    const consumer = this.consumers.pluginsOf(username);
    if (consumer === null) return null;
    const group = consumer.groupId === undefined ? undefined : this.#consumerGroups.get(consumer.groupId);
    return [
      sourceOf("consumer_group", consumer.groupId, group?.value),
      { owner: `consumer#${username}`, plugins: this.#withoutAuth(consumer.plugins) },
    ];
  }

  globalSources(): PluginSource[] {
    const rules = [...this.#globalRules];
    return rules.map(([id, rule]) => ({ owner: `global_rule#${id}`, plugins: rule.value.plugins }));
  }

  /** Some resource names a variable of the request's body: it must be read before the route is chosen. */
  get namesBodyVariables(): boolean {
    return this.#namingBody.size > 0;
  }

  /** True when `bytes` is what this item already is. */
  holds(kind: Kind, id: string, bytes: ItemBytes): boolean {
    return this.#bytesOf(kind, id)?.equals(bytes) === true;
  }

  /** Ids of one kind, for diffing a snapshot. */
  ids(kind: Kind): string[] {
    switch (kind) {
      case "route":
        return [...this.#routes.keys()];
      case "service":
        return [...this.#serviceEntries.keys()];
      default:
        return [...this.#bytesById.keys()]
          .filter((key) => key.startsWith(`${kind}/`))
          .map((key) => key.slice(kind.length + 1));
    }
  }

  put(kind: Kind, id: string, bytes: ItemBytes): void {
    const before = this.#bytesOf(kind, id);
    this.#put(kind, id, bytes);
    if (before !== undefined && TOUCHING.has(kind)) this.onChange?.(kind, id, before, bytes);
  }

  remove(kind: Kind, id: string): void {
    const before = this.#bytesOf(kind, id);
    this.#remove(kind, id);
    if (before !== undefined && TOUCHING.has(kind)) this.onChange?.(kind, id, before, null);
  }

  /** `websocket` of a route, or of its service; undefined: neither says anything. */
  webSocketOf(routeId: string): PublishedWebSocket | undefined {
    const entry = this.#routes.get(routeId);
    if (entry === undefined) return undefined;
    const service = entry.serviceId === undefined ? undefined : this.#serviceEntries.get(entry.serviceId);
    return this.#publishedRoute(entry).websocket ?? service?.item.value.websocket;
  }

  #put(kind: Kind, id: string, bytes: ItemBytes): void {
    if (namesBodyVariable(bytes.text())) this.#namingBody.add(`${kind}/${id}`);
    else if (this.#namingBody.size > 0) this.#namingBody.delete(`${kind}/${id}`);
    switch (kind) {
      case "route":
        this.#putRoute(id, bytes);
        return;
      case "service":
        this.#putService(id, bytes);
        return;
      case "upstream":
        this.#upstream(id).update(bytes);
        break;
      case "consumer":
        this.consumers.put(id, bytes);
        break;
      case "consumer_group":
        this.#consumerGroups.set(id, new Lazy(bytes));
        this.#groupVersion++;
        break;
      case "plugin_config":
        this.#pluginConfigs.set(id, new Lazy(bytes));
        this.#links++;
        break;
      case "plugin_metadata":
        this.#metadata.set(id, new Lazy(bytes));
        break;
      case "global_rule":
        this.#globalRules.set(id, new Lazy(bytes));
        this.#dropGlobalChains();
        break;
      case "block":
        this.blocks = Blocks.with(this.blocks, id, bytes.parse<PublishedBlock>());
        this.onBlock?.();
        break;
      case "address":
        this.#services.setAddresses(id, bytes.parse<{ addresses: string[] }>().addresses);
        break;
      case "ssl":
        this.#services.certificates?.put(id, bytes);
        break;
      case "ticket_key":
        this.#services.certificates?.useTicketKey(Buffer.from(bytes.parse<{ key: string }>().key, "base64"));
        break;
      case "stream_route":
        this.streams.put(id, bytes);
        break;
      case "proto":
        this.#protos.set(id, new Lazy(bytes));
        break;
      default:
      // Kept until the room that serves this kind is built: secret.
    }
    this.#bytesById.set(`${kind}/${id}`, bytes);
  }

  #remove(kind: Kind, id: string): void {
    this.#namingBody.delete(`${kind}/${id}`);
    switch (kind) {
      case "route":
        this.#removeRoute(id);
        return;
      case "service":
        this.#removeService(id);
        return;
      case "upstream":
        // The reference stays: routes may hold it, and a later upstream of this id is the same to them.
        this.#upstreams.get(id)?.update(null);
        break;
      case "consumer":
        this.consumers.delete(id);
        break;
      case "consumer_group":
        this.#consumerGroups.delete(id);
        this.#groupVersion++;
        break;
      case "plugin_config":
        this.#pluginConfigs.delete(id);
        this.#links++;
        break;
      case "plugin_metadata":
        this.#metadata.delete(id);
        break;
      case "global_rule":
        this.#globalRules.delete(id);
        this.#dropGlobalChains();
        break;
      case "block":
        this.blocks = Blocks.without(this.blocks, id);
        break;
      case "ssl":
        this.#services.certificates?.delete(id);
        break;
      case "stream_route":
        this.streams.remove(id);
        break;
      case "proto":
        this.#protos.delete(id);
        break;
      case "address":
        this.#services.setAddresses(id, null);
        break;
      default:
    }
    this.#bytesById.delete(`${kind}/${id}`);
  }

  #onRouteRemoved(listener: (routeId: string) => void): () => void {
    this.#removalListeners.add(listener);
    return () => this.#removalListeners.delete(listener);
  }

  #bytesOf(kind: Kind, id: string): ItemBytes | undefined {
    if (kind === "route") return this.#routes.get(id)?.bytes;
    if (kind === "service") return this.#serviceEntries.get(id)?.item.bytes;
    return this.#bytesById.get(`${kind}/${id}`);
  }

  #putRoute(id: string, bytes: ItemBytes): void {
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

  #removeRoute(id: string): void {
    const entry = this.#routes.get(id);
    if (entry === undefined) return;
    this.router.delete(id);
    this.#routes.delete(id);
    for (const listener of this.#removalListeners) listener(id);
    this.#forget(entry);
  }

  /** Puts the route into the router, or takes it out when it is disabled. An insert replaces the one before. */
  #place(entry: RouteEntry, route: PublishedRoute): void {
    if (!route.enabled) {
      this.router.delete(entry.id);
      return;
    }
    const service = entry.serviceId === undefined ? undefined : this.#serviceEntries.get(entry.serviceId);
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

  #putService(id: string, bytes: ItemBytes): void {
    const previous = this.#serviceEntries.get(id);
    const item = new Lazy<PublishedService>(bytes);
    const inline = item.value.upstream;
    this.#serviceEntries.set(id, {
      item,
      upstream: inline === undefined ? null : UpstreamReference.inline(this.#createUpstream, inline),
    });
    this.#links++;
    if (String(previous?.item.value.hosts) !== String(item.value.hosts)) this.#replaceRoutesOf(id);
    previous?.upstream?.dispose();
  }

  #removeService(id: string): void {
    const previous = this.#serviceEntries.get(id);
    if (previous === undefined) return;
    this.#serviceEntries.delete(id);
    this.#links++;
    if (previous.item.value.hosts !== undefined) this.#replaceRoutesOf(id);
    previous.upstream?.dispose();
  }

  /** The service's hosts changed: its routes without own hosts move. */
  #replaceRoutesOf(serviceId: string): void {
    for (const entry of this.#routesOfService.get(serviceId) ?? []) {
      const route = entry.bytes.parse<PublishedRoute>();
      if (route.hosts === undefined) this.#place(entry, route);
    }
  }

  /** The upstream of that id with what runs on it; null: no request has used it yet. */
  currentUpstream(id: string): Upstream | null {
    return this.#upstreams.get(id)?.current ?? null;
  }

  /** The bytes of a certificate resource, other ones after every change; null: there is none of that id. */
  sslOf(id: string): ItemBytes | null {
    return this.#bytesById.get(`ssl/${id}`) ?? null;
  }

  #upstream(id: string): UpstreamReference {
    let reference = this.#upstreams.get(id);
    if (reference === undefined)
      this.#upstreams.set(id, (reference = new UpstreamReference(this.#createUpstream)));
    return reference;
  }

  #compileRoute(entry: RouteEntry, matchedUri: string, matchedHost: string): CompiledRoute {
    const route = this.#publishedRoute(entry);
    const service = route.service_id === undefined ? undefined : this.#serviceEntries.get(route.service_id);
    const merged = this.#mergedOf(route);
    return new CompiledRoute({
      compiler: this.compiler,
      held: this.compiler.compile(merged),
      upstream: this.#upstreamOf(entry, route, service),
      timeout: route.timeout ?? null,
      allowsUpgrade: route.enable_websocket ?? service?.item.value.enable_websocket ?? false,
      replacesGlobal: this.#replacedBy(merged),
      facts: {
        matchedUri,
        matchedHost,
        id: entry.id,
        name: route.name,
        serviceId: route.service_id,
        serviceName: service?.item.value.name,
        pluginConfigId: route.plugin_config_id,
        labels: route.labels,
      },
    });
  }

  #publishedRoute(entry: RouteEntry): PublishedRoute {
    return entry.bytes.parse<PublishedRoute>();
  }

  #mergedOf(route: PublishedRoute): Map<string, MergedPlugin> {
    return mergePlugins(this.#sourcesOf(route));
  }

  #sourcesOf(route: PublishedRoute): (PluginSource | null)[] {
    const service = route.service_id === undefined ? undefined : this.#serviceEntries.get(route.service_id);
    const pluginConfig =
      route.plugin_config_id === undefined ? undefined : this.#pluginConfigs.get(route.plugin_config_id);
    return [
      sourceOf("service", route.service_id, service?.item.value),
      sourceOf("plugin_config", route.plugin_config_id, pluginConfig?.value),
      { owner: `route#${route.id}`, plugins: route.plugins },
    ];
  }

  #replacedBy(merged: ReadonlyMap<string, MergedPlugin>): string {
    let names = "";
    for (const name of merged.keys()) {
      if (this.#services.catalog.get(name)?.runPolicy === "prefer_route")
        names += names === "" ? name : `,${name}`;
    }
    return names;
  }

  #upstreamOf(
    entry: RouteEntry,
    route: PublishedRoute,
    service: ServiceEntry | undefined,
  ): UpstreamReference | null {
    if (route.upstream_id !== undefined) return this.#upstream(route.upstream_id);
    if (route.upstream !== undefined)
      return (entry.inlineUpstream ??= UpstreamReference.inline(this.#createUpstream, route.upstream));
    if (service === undefined) return null;
    const id = service.item.value.upstream_id;
    return id === undefined ? service.upstream : this.#upstream(id);
  }

  /** A plugin in two global rules would run twice: neither instance counts, as a write of that is refused. */
  #compileGlobalRules(replaced: string): HeldChain | null {
    const merged = new Map<string, MergedPlugin>();
    const leftOut = new Set(replaced.split(","));
    for (const [id, rule] of this.#globalRules) {
      for (const [name, plugin] of mergePlugins([
        { owner: `global_rule#${id}`, plugins: rule.value.plugins },
      ])) {
        if (merged.has(name)) leftOut.add(name);
        merged.set(name, plugin);
      }
    }
    for (const name of leftOut) merged.delete(name);
    const chain = merged.size === 0 ? null : this.compiler.compile(merged);
    this.#globalChains.set(replaced, chain);
    return chain;
  }

  #dropGlobalChains(): void {
    for (const held of this.#globalChains.values()) if (held !== null) this.compiler.release(held);
    this.#globalChains.clear();
  }

  #withoutAuth(plugins: ConfigurationPlugins): ConfigurationPlugins {
    if (plugins === undefined) return undefined;
    const kept = Object.entries(plugins).filter(
      ([name]) => this.#services.catalog.get(name)?.type !== "auth",
    );
    return kept.length === 0 ? undefined : Object.fromEntries(kept);
  }
}

type ConfigurationPlugins = Record<string, Record<string, unknown>> | undefined;

/** The plugins that a reference brings. One that leads nowhere closes: what it would have brought may be a guard. */
function sourceOf(
  kind: string,
  id: string | undefined,
  resource: { plugins?: ConfigurationPlugins } | undefined,
): PluginSource | null {
  if (id === undefined) return null;
  const missing = kind === "service" ? MISSING_SERVICE : MISSING_PLUGINS;
  return { owner: `${kind}#${id}`, plugins: resource === undefined ? { [missing]: {} } : resource.plugins };
}
