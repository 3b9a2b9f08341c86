/**
 * A route made ready for requests: its plugin chain, its upstream, and what both were made from.
 *
 * It is compiled at the first request and again after something that it was made from changed; a request
 * that runs keeps the one it started with.
 */

import type { RouteFacts } from "../../plugin/exchange.ts";
import type { PublishedRoute, PublishedTimeout } from "../../model/published.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import type { MergedPlugin } from "../pipeline/compiler.ts";
import type { UpstreamReference } from "./upstream-reference.ts";

/** Chains with a consumer's plugins that a route keeps; beyond it the oldest is compiled again when needed. */
const CONSUMER_CHAINS_LIMIT = 256;
const FACTS_LIMIT = 64;

export interface CompiledRouteParts {
  route: PublishedRoute;
  serviceName: string | undefined;
  merged: ReadonlyMap<string, MergedPlugin>;
  chain: PluginChain;
  upstream: UpstreamReference | null;
  timeout: PublishedTimeout | null;
  allowsUpgrade: boolean;
  /** Plugins whose global instance steps back on this route; names joined by ",". */
  replacesGlobal: string;
}

export class CompiledRoute {
  readonly id: string;
  readonly merged: ReadonlyMap<string, MergedPlugin>;
  readonly chain: PluginChain;
  readonly upstream: UpstreamReference | null;
  /** Overrides the upstream's. */
  readonly timeout: PublishedTimeout | null;
  readonly allowsUpgrade: boolean;
  readonly replacesGlobal: string;
  readonly #facts: RouteFacts;
  readonly #factsByMatch: RouteFacts[] = [];
  readonly #consumerChains = new Map<string, { version: number; chain: PluginChain }>();

  constructor(parts: CompiledRouteParts) {
    this.id = parts.route.id;
    this.merged = parts.merged;
    this.chain = parts.chain;
    this.upstream = parts.upstream;
    this.timeout = parts.timeout;
    this.allowsUpgrade = parts.allowsUpgrade;
    this.replacesGlobal = parts.replacesGlobal;
    this.#facts = {
      id: parts.route.id,
      name: parts.route.name,
      serviceId: parts.route.service_id,
      serviceName: parts.serviceName,
      labels: parts.route.labels,
      matchedUri: "",
      matchedHost: "",
    };
  }

  /** What plugins see as `ctx.route`; one object per uri and host of the route, made at its first match. */
  factsFor(matchedUri: string, matchedHost: string): RouteFacts {
    for (const facts of this.#factsByMatch) {
      if (facts.matchedUri === matchedUri && facts.matchedHost === matchedHost) return facts;
    }
    const facts: RouteFacts = { ...this.#facts, matchedUri, matchedHost };
    if (this.#factsByMatch.length < FACTS_LIMIT) this.#factsByMatch.push(facts);
    return facts;
  }

  /** The chain for a consumer, compiled by `compile` when it is not there or of another `version`. */
  chainFor(consumer: string, version: number, compile: () => PluginChain): PluginChain {
    const known = this.#consumerChains.get(consumer);
    if (known !== undefined && known.version === version) return known.chain;
    known?.chain.dispose();
    const chain = compile();
    this.#consumerChains.delete(consumer);
    this.#consumerChains.set(consumer, { version, chain });
    if (this.#consumerChains.size > CONSUMER_CHAINS_LIMIT) {
      const [oldest, entry] = this.#consumerChains.entries().next().value!;
      this.#consumerChains.delete(oldest);
      entry.chain.dispose();
    }
    return chain;
  }

  dispose(): void {
    this.chain.dispose();
    for (const { chain } of this.#consumerChains.values()) chain.dispose();
    this.#consumerChains.clear();
  }
}
