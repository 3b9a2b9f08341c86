/**
 * A described request and what a worker would do with it, as they travel between control and a worker. Plain data;
 * names are those that clients of the Control API see, so that nobody has to translate.
 *
 * Configurations of plugins are never part of it: the Control API asks for no key.
 */

export interface DescribedRequest {
  method: string;
  /** Host with port if one was named, lower case; "" for none. */
  authority: string;
  /** Origin form: path and query, encoded. */
  target: string;
  headers: readonly (readonly [name: string, value: string])[];
  clientAddress: string;
  scheme: "http" | "https";
  /** Port of the listener that it would come to. */
  serverPort: number;
  body: string | null;
  /** The consumer that authentication would find; null: none is assumed. */
  consumer: string | null;
  /** A route that is looked at in any case. */
  route: string | null;
}

/**
 * "taken": the request goes here. "refused": a condition fails. "behind": it would take the request, were no other
 * before it. "elsewhere": its hosts or paths do not fit, or it is not in service.
 */
export type Verdict = "taken" | "refused" | "behind" | "elsewhere";

export interface ExplainedCondition {
  /** "uri", "host", "methods", "remote_addrs", "vars", "status". */
  condition: string;
  holds: boolean;
  /** What the route asks for. */
  expected: unknown;
  /** What the request has. */
  given: unknown;
}

export interface ExplainedCandidate {
  route: string;
  name?: string;
  /** The entries of `uris` and `hosts` under which it was found. */
  uri?: string;
  host?: string;
  priority: number;
  verdict: Verdict;
  conditions: ExplainedCondition[];
}

export interface ExplainedPlugin {
  name: string;
  priority: number;
  /** "route#1", "service#a", "plugin_config#b", "consumer#jack", "consumer_group#c", "global_rule#1". */
  from: string;
  /** Owners whose configuration of this plugin does not count. */
  instead_of: string[];
  /** "runs", "disabled" (`_meta.disable`), "filtered" (`_meta.filter`), "replaced" (global, the route has it), "unknown" (refuses). */
  state: "runs" | "disabled" | "filtered" | "replaced" | "unknown";
  /** Only the consumer brings it: it rewrites after authentication. */
  after_authentication?: true;
}

export interface ExplainedUpstream {
  /** "upstream#1", or the owner of an upstream that stands inside a route or service. */
  from: string;
  name?: string;
  type: string;
  scheme: string;
  nodes: number;
  /** Null: there is none that could be used. */
  node: { host: string; address: string; port: number; weight: number; priority: number } | null;
  /** `Host` of the request that would be sent. */
  host_header?: string;
  target?: string;
}

export interface Explanation {
  worker: number;
  /** Configuration that the worker serves. */
  revision: number;
  request: { method: string; host: string; path: string; query: string; client_address: string };
  /** Null: no route takes it. */
  route: {
    id: string;
    name?: string;
    service_id?: string;
    plugin_config_id?: string;
    matched_uri: string;
    matched_host: string;
    parameters: Record<string, string>;
  } | null;
  /** In the order in which they are tried. */
  candidates: ExplainedCandidate[];
  /** Candidates that are left out. */
  candidates_left_out: number;
  global_plugins: ExplainedPlugin[];
  /** In the order in which they run in each phase. */
  plugins: ExplainedPlugin[];
  upstream: ExplainedUpstream | null;
  /** What the gateway would answer itself, plugins aside. */
  answer: { status: number; reason: string } | null;
  notes: string[];
}

/** Why there is no explanation. */
export interface ExplanationFailure {
  error: string;
  /** The described request is at fault, not the node. */
  isMistake: boolean;
}
