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
  PublishedPluginSet,
  PublishedProto,
  PublishedRoute,
  PublishedUpstream,
} from "../../model/published.ts";
import type { Catalog, HostServices, MergedPlugin } from "../pipeline/compiler.ts";
import type { RouterMode } from "../route/route-pattern.ts";
import type { Router } from "../route/router.ts";
import { PluginCompiler } from "../pipeline/compiler.ts";
import { mergeConsumer, mergePlugins, type PluginSource } from "../pipeline/merge.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import { namesBodyVariable } from "../exchange/body/body-variables.ts";
import { Blocks } from "./blocks.ts";
import { CompiledRoute } from "./compiled-route.ts";
import { Consumers } from "./consumers.ts";
import { GlobalRules } from "./global-rules.ts";
import { Lazy } from "./lazy.ts";
import { type RouteEntry, RouteTable, type ServiceEntry } from "./route-table.ts";
import { StreamRoutes } from "../stream/stream-routes.ts";
import { UpstreamReference, type UpstreamFactory } from "./upstream-reference.ts";

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
  readonly routes: RouteTable;
  /** That of `routes`. */
  readonly router: Router<RouteEntry>;
  readonly consumers: Consumers;
  readonly compiler: PluginCompiler;
  readonly globalRules: GlobalRules;
  readonly streams: StreamRoutes;
  readonly #services: ConfigurationServices;
  readonly #createUpstream: UpstreamFactory;
  readonly #upstreams = new Map<string, UpstreamReference>();
  readonly #pluginConfigs = new Map<string, Lazy<PublishedPluginSet>>();
  readonly #consumerGroups = new Map<string, Lazy<PublishedPluginSet>>();
  readonly #metadata = new Map<string, Lazy<unknown>>();
  readonly #protos = new Map<string, Lazy<PublishedProto>>();
  /** "kind/id" of everything that is neither route nor service. */
  readonly #bytesById = new Map<string, ItemBytes>();
  /** "kind/id" of resources that name variables of the body. */
  readonly #namingBody = new Set<string>();
  readonly #removalListeners = new Set<(routeId: string) => void>();
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
    this.routes = new RouteTable(services.routerMode, this.#createUpstream, (id) => this.#tellRemoved(id));
    this.router = this.routes.router;
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
    this.globalRules = new GlobalRules(this.compiler);
    this.streams = new StreamRoutes({
      compiler: this.compiler,
      catalog: services.catalog,
      createUpstream: this.#createUpstream,
      links: () => this.#links,
      upstreamOf: (id) => this.#upstream(id),
      serviceOf: (id) => this.routes.service(id),
      onRemoved: (id) => this.#tellRemoved(`stream_route#${id}`),
    });
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
    if (consumer.groupId === undefined && this.#withoutAuth(consumer.plugins) === undefined)
      return compiled.chain;
    return compiled.chainFor(username, consumer.version * 65_536 + (this.#groupVersion % 65_536), () =>
      this.compiler.compile(
        mergeConsumer(this.#mergedOf(this.#publishedRoute(route)), this.consumerSources(username)!),
      ),
    );
  }

  // For explanations, which compile nothing.

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

  /** The upstream of that id with what runs on it; null: no request has used it yet. */
  currentUpstream(id: string): Upstream | null {
    return this.#upstreams.get(id)?.current ?? null;
  }

  /** The bytes of a certificate resource, other ones after every change; null: there is none of that id. */
  sslOf(id: string): ItemBytes | null {
    return this.#bytesById.get(`ssl/${id}`) ?? null;
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
        return this.routes.ids();
      case "service":
        return this.routes.serviceIds();
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

  #put(kind: Kind, id: string, bytes: ItemBytes): void {
    if (namesBodyVariable(bytes.text())) this.#namingBody.add(`${kind}/${id}`);
    else if (this.#namingBody.size > 0) this.#namingBody.delete(`${kind}/${id}`);
    switch (kind) {
      case "route":
        this.routes.put(id, bytes);
        return;
      case "service":
        this.routes.putService(id, bytes);
        this.#links++;
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
        this.globalRules.put(id, bytes);
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
      // Drains are for control: workers read the health table.
    }
    this.#bytesById.set(`${kind}/${id}`, bytes);
  }

  #remove(kind: Kind, id: string): void {
    this.#namingBody.delete(`${kind}/${id}`);
    switch (kind) {
      case "route":
        this.routes.remove(id);
        return;
      case "service":
        if (this.routes.removeService(id)) this.#links++;
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
        this.globalRules.delete(id);
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

  #tellRemoved(routeId: string): void {
    for (const listener of this.#removalListeners) listener(routeId);
  }

  #onRouteRemoved(listener: (routeId: string) => void): () => void {
    this.#removalListeners.add(listener);
    return () => this.#removalListeners.delete(listener);
  }

  #bytesOf(kind: Kind, id: string): ItemBytes | undefined {
    if (kind === "route") return this.routes.get(id)?.bytes;
    if (kind === "service") return this.routes.service(id)?.item.bytes;
    return this.#bytesById.get(`${kind}/${id}`);
  }

  #upstream(id: string): UpstreamReference {
    let reference = this.#upstreams.get(id);
    if (reference === undefined)
      this.#upstreams.set(id, (reference = new UpstreamReference(this.#createUpstream)));
    return reference;
  }

  #compileRoute(entry: RouteEntry, matchedUri: string, matchedHost: string): CompiledRoute {
    const route = this.#publishedRoute(entry);
    const service = this.routes.service(route.service_id);
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
    const service = this.routes.service(route.service_id);
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
