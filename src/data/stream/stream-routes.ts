/**
 * The stream routes of a worker: what was published of them, and each made ready at its first connection.
 *
 * A route is compiled again after something that it was made from changed; connections that run keep what they started
 * with. Plugins come from the service and the route; what does not run for connections is left out.
 */

import type { PublishedService, PublishedStreamRoute } from "../../model/published.ts";
import type { RouteFacts } from "../../plugin/exchange.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";
import { UpstreamReference, type UpstreamFactory } from "../configuration/upstream-reference.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import type { Catalog, HeldChain, PluginCompiler } from "../pipeline/compiler.ts";
import { mergePlugins } from "../pipeline/merge.ts";
import { StreamRouter, type StreamFactsToMatch } from "./stream-router.ts";

/** What stream routes need of the rest of the configuration. */
export interface StreamRouteSources {
  compiler: PluginCompiler;
  catalog: Catalog;
  createUpstream: UpstreamFactory;
  /** Grows with every change of a service. */
  links(): number;
  upstreamOf(id: string): UpstreamReference;
  serviceOf(
    id: string,
  ):
    | { readonly item: { readonly value: PublishedService }; readonly upstream: UpstreamReference | null }
    | undefined;
  onRemoved(id: string): void;
}

/** A stream route made ready for connections. */
export interface CompiledStreamRoute {
  readonly chain: PluginChain;
  /** Null: it has none of its own. */
  readonly upstream: UpstreamReference | null;
  readonly facts: RouteFacts;
  /** Why no connection can be served; null: they can. */
  readonly refusal: string | null;
}

interface Entry {
  readonly bytes: ItemBytes;
  compiled: CompiledStreamRoute | null;
  held: HeldChain | null;
  compiledAt: number;
  inlineUpstream: UpstreamReference | null;
}

export class StreamRoutes {
  readonly #sources: StreamRouteSources;
  readonly #router = new StreamRouter<Entry>();
  readonly #entries = new Map<string, Entry>();

  constructor(sources: StreamRouteSources) {
    this.#sources = sources;
  }

  put(id: string, bytes: ItemBytes): void {
    const route = bytes.parse<PublishedStreamRoute>();
    const entry: Entry = { bytes, compiled: null, held: null, compiledAt: 0, inlineUpstream: null };
    // A route that refines another one is asked for by that one's protocol, never by connections.
    if (route.superior_id === undefined) this.#router.insert(route, entry);
    else this.#router.delete(id);
    this.#forget(this.#entries.get(id));
    this.#entries.set(id, entry);
  }

  remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#router.delete(id);
    this.#entries.delete(id);
    this.#forget(entry);
    this.#sources.onRemoved(id);
  }

  /** Null: no route takes the connection. */
  find(facts: StreamFactsToMatch): CompiledStreamRoute | null {
    const entry = this.#router.find(facts);
    if (entry === null) return null;
    if (entry.compiled === null || entry.compiledAt !== this.#sources.links()) this.#compile(entry);
    return entry.compiled;
  }

  #compile(entry: Entry): void {
    const { compiler, catalog, links, serviceOf } = this.#sources;
    const route = entry.bytes.parse<PublishedStreamRoute>();
    const serviceId = route.service_id;
    const service = serviceId === undefined ? undefined : serviceOf(serviceId);
    const merged = mergePlugins([
      service === undefined ? null : { owner: `service#${serviceId}`, plugins: service.item.value.plugins },
      { owner: `stream_route#${route.id}`, plugins: route.plugins },
    ]);
    // What nobody knows stays, and refuses: it may be a guard.
    for (const name of merged.keys()) {
      const definition = catalog.get(name);
      if (definition !== undefined && definition.subsystems?.includes("stream") !== true) merged.delete(name);
    }
    const before = entry.held;
    const held = compiler.compile(merged);
    if (before !== null) compiler.release(before);
    entry.held = held;
    entry.compiledAt = links();
    entry.compiled = {
      chain: held.chain,
      upstream: this.#upstreamOf(entry, route, service),
      facts: factsOf(route, service?.item.value),
      refusal: refusalOf(route, service !== undefined),
    };
  }

  #upstreamOf(
    entry: Entry,
    route: PublishedStreamRoute,
    service: ReturnType<StreamRouteSources["serviceOf"]>,
  ): UpstreamReference | null {
    const { createUpstream, upstreamOf } = this.#sources;
    if (route.upstream_id !== undefined) return upstreamOf(route.upstream_id);
    if (route.upstream !== undefined)
      return (entry.inlineUpstream ??= UpstreamReference.inline(createUpstream, route.upstream));
    if (service === undefined) return null;
    const id = service.item.value.upstream_id;
    return id === undefined ? service.upstream : upstreamOf(id);
  }

  #forget(entry: Entry | undefined): void {
    if (entry === undefined) return;
    if (entry.held !== null) this.#sources.compiler.release(entry.held);
    entry.inlineUpstream?.dispose();
  }
}

function factsOf(route: PublishedStreamRoute, service: PublishedService | undefined): RouteFacts {
  return {
    id: route.id,
    name: route.name,
    serviceId: route.service_id,
    serviceName: service?.name,
    pluginConfigId: undefined,
    labels: route.labels,
    matchedUri: "",
    matchedHost: "",
  };
}

function refusalOf(route: PublishedStreamRoute, hasService: boolean): string | null {
  if (route.protocol !== undefined) return `the protocol ${route.protocol} is not known`;
  if (route.service_id !== undefined && !hasService) return `there is no service ${route.service_id}`;
  return null;
}
