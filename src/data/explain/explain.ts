/**
 * What a worker would do with a described request: which routes it is compared with and why each of them does or does
 * not take it, the plugins, the upstream and the node. Nothing is sent, and no plugin is run.
 *
 * It asks the structures that traffic is served from, so that it tells what is live on this worker. It runs between
 * requests: candidates are bounded, and only those that are shown are looked at closely.
 */

import { MISSING_PLUGINS, MISSING_SERVICE, QUARANTINED, refusalStatus } from "../../model/stand-ins.ts";
import type { RouterConfig } from "../../config/static-config.ts";
import type { AddressSet } from "../../lib/address.ts";
import type { PublishedRoute } from "../../model/published.ts";
import type {
  DescribedRequest,
  ExplainedCandidate,
  ExplainedPlugin,
  Explanation,
  ExplanationFailure,
} from "../../shared/explanation.ts";
import type { Configuration } from "../configuration/configuration.ts";
import type { RouteEntry } from "../configuration/route-table.ts";
import { dropForgedForwarding } from "../exchange/forwarding.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { RouteMatch } from "../route/route-pattern.ts";
import type { RouteCandidate } from "../route/router.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { explainConditions } from "./conditions.ts";
import { describedExchange } from "./described-exchange.ts";
import { explainGlobalPlugins, explainPlugins, replacingGlobal } from "./plugins.ts";
import { explainUpstream } from "./upstream.ts";

export interface ExplainerParts {
  configuration: Configuration;
  router: RouterConfig;
  /** Peers whose X-Forwarded-* are believed; null: no boundary is configured. */
  trusted: AddressSet | null;
  /** Whether what no route knows goes to `cardea.fallback`. */
  hasFallback: boolean;
  slot: number;
  /** Of the configuration that is applied. */
  revision: () => number;
}

const CANDIDATES_SHOWN = 100;
/** Routes that share a path may be as many as there are routes. */
const CANDIDATES_COUNTED = 10_000;

const NO_ROUTE = { status: 404, reason: "no route takes the request" };
const TO_FALLBACK =
  "no route takes the request: it goes to the fallback upstream of the static configuration";
const NOT_RUN =
  "no plugin was run: one that answers, rewrites the request or chooses an upstream changes what follows it";

export class Explainer {
  readonly #parts: ExplainerParts;

  constructor(parts: ExplainerParts) {
    this.#parts = parts;
  }

  /** Never throws. */
  explain(described: DescribedRequest): Explanation | ExplanationFailure {
    try {
      const x = describedExchange(described, this.#parts.router);
      if (x === null) {
        return { error: "uri: no valid reading; the gateway answers 400", isMistake: true };
      }
      return this.#explain(described, x);
    } catch (error) {
      return { error: `internal error: ${String(error)}`, isMistake: false };
    }
  }

  #explain(described: DescribedRequest, x: HttpExchange): Explanation | ExplanationFailure {
    const { configuration, trusted, slot, revision } = this.#parts;
    dropForgedForwarding(x, trusted);
    const { consumer } = described;
    const ofConsumer = consumer === null ? [] : configuration.consumerSources(consumer);
    if (ofConsumer === null) return { error: `consumer: there is none named ${consumer}`, isMistake: true };
    const asked = described.route === null ? null : configuration.routes.get(described.route);
    if (asked === undefined)
      return { error: `route: there is none with the id ${described.route}`, isMistake: true };

    const found = new RouteMatch<RouteEntry>();
    const taken = configuration.router.match(x, found) ? found.value : null;
    const explanation: Explanation = {
      worker: slot,
      revision: revision(),
      request: {
        method: x.method,
        host: x.rawHost,
        path: x.path,
        query: x.request.query,
        client_address: x.clientAddress,
      },
      route: null,
      candidates: [],
      candidates_left_out: 0,
      global_plugins: [],
      plugins: [],
      upstream: null,
      answer: null,
      notes: [],
    };
    this.#explainCandidates(explanation, x, found, taken);
    if (asked !== null && !explanation.candidates.some(({ route }) => route === asked.id)) {
      explanation.candidates.push(this.#candidate(asked, x, "elsewhere"));
    }
    if (taken === null) {
      if (this.#parts.hasFallback) explanation.notes.push(TO_FALLBACK);
      else explanation.answer = NO_ROUTE;
      const global = configuration.globalRules.sources();
      explanation.global_plugins = explainGlobalPlugins(global, new Set(), configuration.catalog, x);
    } else {
      x.consumer = consumer === null ? null : (configuration.consumers.byName(consumer)?.facts ?? null);
      this.#explainTaken(explanation, x, found, taken, ofConsumer);
    }
    if (explanation.plugins.length + explanation.global_plugins.length > 0) explanation.notes.push(NOT_RUN);
    return explanation;
  }

  #explainCandidates(
    explanation: Explanation,
    x: HttpExchange,
    found: RouteMatch<RouteEntry>,
    taken: RouteEntry | null,
  ): void {
    let counted = 0;
    let isTakenShown = taken === null;
    const { candidates } = explanation;
    for (const candidate of this.#parts.configuration.router.candidates(x)) {
      if (++counted > CANDIDATES_COUNTED) break;
      const isTaken = !isTakenShown && isMatch(candidate, found, taken);
      if (isTaken) isTakenShown = true;
      if (candidates.length >= CANDIDATES_SHOWN && !isTaken) {
        explanation.candidates_left_out++;
        continue;
      }
      const shown = this.#candidate(candidate.entry.record.value, x, isTaken ? "taken" : "behind");
      shown.uri = candidate.entry.uri;
      if (candidate.host !== "") shown.host = candidate.host;
      candidates.push(shown);
    }
  }

  /** `verdict` unless a condition fails. */
  #candidate(entry: RouteEntry, x: HttpExchange, verdict: ExplainedCandidate["verdict"]): ExplainedCandidate {
    const { configuration, router } = this.#parts;
    const route = entry.bytes.parse<PublishedRoute>();
    const conditions = explainConditions(route, configuration.routes.hostsOf(entry), router.http, x);
    const isRefused = verdict === "behind" && conditions.some(({ holds }) => !holds);
    const candidate: ExplainedCandidate = {
      route: entry.id,
      priority: route.priority,
      verdict: isRefused ? "refused" : verdict,
      conditions,
    };
    if (route.name !== undefined) candidate.name = route.name;
    return candidate;
  }

  #explainTaken(
    explanation: Explanation,
    x: HttpExchange,
    { matchedUri, matchedHost, paramNames, paramValues }: RouteMatch<RouteEntry>,
    entry: RouteEntry,
    ofConsumer: ReturnType<Configuration["consumerSources"]> & object,
  ): void {
    const { configuration } = this.#parts;
    const route = entry.bytes.parse<PublishedRoute>();
    x.parameterNames = paramNames;
    x.parameterValues = paramValues;
    const compiled = configuration.compiled(entry, matchedUri, matchedHost);
    x.route = compiled.factsFor(matchedUri, matchedHost);
    explanation.route = {
      id: entry.id,
      name: route.name,
      service_id: route.service_id,
      plugin_config_id: route.plugin_config_id,
      matched_uri: matchedUri,
      matched_host: matchedHost,
      parameters: Object.fromEntries(paramNames.map((name, i) => [name, paramValues[i]])),
    };
    const sources = configuration.pluginSources(entry);
    const { catalog } = configuration;
    const replaced = replacingGlobal(sources, catalog);
    explanation.global_plugins = explainGlobalPlugins(
      configuration.globalRules.sources(),
      replaced,
      catalog,
      x,
    );
    explanation.plugins = explainPlugins(sources, ofConsumer, catalog, x);
    const refusing = explanation.plugins.find(({ state }) => state === "unknown");
    const upstream = compiled.upstream?.get() ?? null;
    if (upstream !== null) explanation.upstream = explainUpstream(upstream, route, x);
    const block = configuration.blocks?.answerFor(x, Date.now());
    if (block !== undefined) {
      explanation.answer = { status: block.status, reason: "a block refuses the request" };
    } else if (refusing !== undefined) {
      explanation.answer = { status: refusalStatus(refusing.name), reason: reasonOf(refusing) };
    } else if (compiled.upstream === null) {
      explanation.answer = { status: 503, reason: "the route has no upstream" };
    } else if (upstream === null) {
      explanation.answer = { status: 502, reason: "the upstream that the route names does not exist" };
    } else if (explanation.upstream!.node === null) {
      const reason = whyWithoutNode(upstream, explanation.upstream!.nodes);
      explanation.answer = { status: 503, reason: `the upstream cannot be used: ${reason}` };
    }
  }
}

function whyWithoutNode({ isUnresolved, config }: Upstream, usable: number): string {
  if (isUnresolved) return "the names of its nodes are not resolved yet";
  if (usable > 0)
    return config.zones?.strict === true
      ? "no usable node is in a zone of zones.order, and with zones.strict no other serves"
      : "it has no usable node";
  if (config.service_name !== undefined)
    return `the discovery ${config.discovery_type} knows no node of ${config.service_name}`;
  return config.nodes.length > 0 ? "the names of its nodes have no address" : "it has no usable node";
}

function reasonOf({ name, from }: ExplainedPlugin): string {
  if (name === MISSING_SERVICE || name === MISSING_PLUGINS) return `${from} does not exist`;
  if (name === QUARANTINED) return `the plugins of ${from} are in quarantine`;
  return `${name} of ${from} is no plugin of this node`;
}

function isMatch(
  { entry, host }: RouteCandidate<RouteEntry>,
  found: RouteMatch<RouteEntry>,
  taken: RouteEntry | null,
): boolean {
  // In the modes without a tree of hosts, the table stands for none.
  return (
    entry.record.value === taken &&
    entry.uri === found.matchedUri &&
    (host === "" || host === found.matchedHost)
  );
}
