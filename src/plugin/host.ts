/**
 * What the gateway lends to a compiled plugin configuration. Everything here is owned by the worker that
 * compiled it; only `counters`, `dictionary` and `metrics` reach shared memory.
 */

import type { PublishedProto, PublishedUpstream } from "../model/published.ts";
import type { PluginApi, PluginDefinition } from "./definition.ts";
import type { ConsumerFacts, Exchange } from "./exchange.ts";
import type { Dictionary } from "../shared/dictionary.ts";
import type { LimitCounters } from "../shared/limit-counters.ts";
import type { MetricLane } from "../shared/metric-lane.ts";

export type { PublishedProto } from "../model/published.ts";

export interface PluginHost<Metadata = unknown> {
  /**
   * The resource that brought this configuration to the request: "route#1", "service#a", "plugin_config#p",
   * "consumer#jack", "consumer_group#g", "global_rule#1". Only for plugins with `perOwner`; others get "".
   */
  ownerOf(ctx: Exchange): string;
  /** Current plugin metadata; read it when it is needed, it changes live. */
  metadata(): Metadata | undefined;
  /** `plugin_attr.<name>` of the static file. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Calls the listener with the id of every route that is deleted (of a stream route: "stream_route#" and its id), until the returned function is called. */
  onRouteRemoved(listener: (routeId: string) => void): () => void;
  /** Exact over all workers of the node. */
  readonly counters: LimitCounters;
  /** Key-value memory shared by all workers of the node. */
  readonly dictionary: Dictionary;
  /** Counters, gauges and histograms of this worker, merged by the metrics page. */
  readonly metrics: MetricLane;
  /** Consumers by the value of one field of their configuration of this plugin (`key-auth` → `key`). */
  readonly consumers: ConsumerIndex;
  /** The path of its own that some plugin answers (`PluginDefinition.apis`); null if none does. */
  publicApi(method: string, path: string): PluginApi | null;
  /** The upstream resource of this id, now and whatever it will be; `exists` tells whether there is one. */
  upstreamOf(id: string): UpstreamHandle;
  /** The proto resource of this id as it is now, another object after every change; null: there is none. */
  protoOf(id: string): PublishedProto | null;
  /** An upstream of the plugin's own; the handler `dispose` gives it back. Names of nodes: see `hostNames`. */
  inlineUpstream(config: PublishedUpstream): OwnUpstream;
  /** The host of another plugin, for a configuration of it that this one runs in its place. */
  hostOf(definition: PluginDefinition): PluginHost;
  /** Wall clock, milliseconds since 1970, and monotonic milliseconds; virtual in tests. */
  now(): number;
  monotonicNow(): number;
  /** The node's metrics page, made by control. Never rejects. */
  metricsPage(accept: string | undefined): Promise<HostPage>;
  /** The node's own. Of each plugin some lines a second are written, and how many were left out; of level debug all. */
  log: PluginLog;
}

/** An upstream that requests can be sent to (`ctx.upstreamChoice`, `ctx.mirrorTo`). */
export interface UpstreamHandle {
  readonly exists: boolean;
}

export interface OwnUpstream extends UpstreamHandle {
  dispose(): void;
}

export interface HostPage {
  status: number;
  contentType: string;
  body: Buffer;
}

export interface ConsumerIndex {
  /** The consumer whose configuration of `plugin` has `field` = `value`, with that configuration; null if none. */
  find(plugin: string, field: string, value: string): IndexedConsumer | null;
  byName(username: string): IndexedConsumer | null;
}

export interface IndexedConsumer {
  readonly facts: ConsumerFacts;
  readonly config: Readonly<Record<string, unknown>>;
}

export interface PluginLog {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}
