/**
 * A route made ready for requests: its plugin chain, its upstream, and its facts.
 *
 * It is compiled at the first request and again after something that it was made from changed; a request
 * that runs keeps the one it started with. There may be tens of thousands: it holds what requests need and
 * nothing that can be had again from the route's bytes.
 */

import type { RouteFacts } from "../../plugin/exchange.ts";
import type { PublishedTimeout } from "../../model/published.ts";
import type { PluginChain } from "../pipeline/chain.ts";
import type { HeldChain, PluginCompiler } from "../pipeline/compiler.ts";
import type { UpstreamReference } from "./upstream-reference.ts";

/** Chains with a consumer's plugins that a route keeps; beyond it the oldest is compiled again when needed. */
const CONSUMER_CHAINS_LIMIT = 256;
const OTHER_FACTS_LIMIT = 64;

export interface CompiledRouteParts {
  compiler: PluginCompiler;
  held: HeldChain;
  upstream: UpstreamReference | null;
  /** Overrides the upstream's. */
  timeout: PublishedTimeout | null;
  allowsUpgrade: boolean;
  /** Plugins whose global instance steps back on this route; names joined by ",". */
  replacesGlobal: string;
  facts: RouteFacts;
}

interface ConsumerChain {
  version: number;
  held: HeldChain;
}

export class CompiledRoute {
  // In the order in which a request asks for them: of a cold route that is one cache line instead of two.
  readonly #held: HeldChain;
  readonly replacesGlobal: string;
  /** Those of the first match; routes with several uris or hosts have others. */
  readonly #facts: RouteFacts;
  readonly upstream: UpstreamReference | null;
  readonly timeout: PublishedTimeout | null;
  readonly allowsUpgrade: boolean;
  readonly #compiler: PluginCompiler;
  #otherFacts: RouteFacts[] | null = null;
  #consumerChains: Map<string, ConsumerChain> | null = null;

  constructor(parts: CompiledRouteParts) {
    this.#held = parts.held;
    this.replacesGlobal = parts.replacesGlobal;
    this.#facts = parts.facts;
    this.upstream = parts.upstream;
    this.timeout = parts.timeout;
    this.allowsUpgrade = parts.allowsUpgrade;
    this.#compiler = parts.compiler;
  }

  get chain(): PluginChain {
    return this.#held.chain;
  }

  /** What plugins see as `ctx.route`; one object per uri and host of the route, made at its first match. */
  factsFor(matchedUri: string, matchedHost: string): RouteFacts {
    const facts = this.#facts;
    if (facts.matchedUri === matchedUri && facts.matchedHost === matchedHost) return facts;
    return this.#otherFactsFor(matchedUri, matchedHost);
  }

  #otherFactsFor(matchedUri: string, matchedHost: string): RouteFacts {
    const others = (this.#otherFacts ??= []);
    for (const facts of others) {
      if (facts.matchedUri === matchedUri && facts.matchedHost === matchedHost) return facts;
    }
    const facts: RouteFacts = { ...this.#facts, matchedUri, matchedHost };
    if (others.length < OTHER_FACTS_LIMIT) others.push(facts);
    return facts;
  }

  /** The chain for a consumer, made by `compile` when it is not there or of another `version`. */
  chainFor(consumer: string, version: number, compile: () => HeldChain): PluginChain {
    const chains = (this.#consumerChains ??= new Map<string, ConsumerChain>());
    const known = chains.get(consumer);
    if (known !== undefined && known.version === version) return known.held.chain;
    if (known !== undefined) this.#compiler.release(known.held);
    const held = compile();
    chains.delete(consumer);
    chains.set(consumer, { version, held });
    if (chains.size > CONSUMER_CHAINS_LIMIT) {
      const [oldest, entry] = chains.entries().next().value!;
      chains.delete(oldest);
      this.#compiler.release(entry.held);
    }
    return held.chain;
  }

  dispose(): void {
    this.#compiler.release(this.#held);
    for (const { held } of this.#consumerChains?.values() ?? []) this.#compiler.release(held);
    this.#consumerChains = null;
  }
}
