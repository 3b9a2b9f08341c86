/**
 * The contract of a plugin: one module exports one definition, made by `definePlugin`.
 *
 * `compile` runs once per distinct configuration and worker, when the configuration is first used, and
 * again whenever the host wishes: it must be pure. What it returns are handlers that close over everything
 * precomputed; a phase that is absent costs nothing.
 */

import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { Answer, Exchange } from "./exchange.ts";
import type { ClientHello, HelloConnection } from "./client-hello.ts";
import type { PluginHost } from "./host.ts";
import type { StreamExchange } from "./stream.ts";

/** Nothing goes on; an `Answer` ends the request with it. The engine awaits only a promise. */
export type PhaseResult = void | Answer | Promise<void | Answer>;

/**
 * The phases, in the order of a request's life. Global rules run before the route's plugins in each; within
 * one, the higher priority runs first.
 */
export interface PluginHandlers {
  /**
   * A TLS client said hello; no certificate is chosen, and no route is known: this phase runs for global rules alone.
   * Synchronous. A handler that throws ends the connection. A plugin with `_meta.filter` takes no part.
   */
  clientHello?(hello: ClientHello, connection: HelloConnection): void;
  /**
   * The first phase of a connection of a stream route; `beforeProxy` and `log` follow, nothing else does. Only for plugins
   * whose `subsystems` have "stream". An answer, whatever its status, closes the connection without a byte.
   */
  preread?(ctx: StreamExchange): PhaseResult;
  /** Before authentication and routing decisions of other plugins: identify, rewrite. */
  rewrite?(ctx: Exchange): PhaseResult;
  /** Decide whether the request may go on. */
  access?(ctx: Exchange): PhaseResult;
  /** Each chunk of the request body on its way upstream; returns what goes on instead (an empty buffer: nothing). */
  requestBody?(ctx: Exchange, chunk: Buffer, last: boolean): Buffer;
  /** The node is chosen; again before every retry. */
  beforeProxy?(ctx: Exchange): PhaseResult;
  /** The head of the answer is known and not yet sent: `ctx.response` may change. Gateway answers pass here too. */
  responseHeaders?(ctx: Exchange): void | Promise<void>;
  /** Each chunk of the answer's body; returns what goes on instead. `last` comes once, possibly with an empty chunk. */
  responseBody?(ctx: Exchange, chunk: Buffer, last: boolean): Buffer;
  /** Exactly once per exchange, after its end, however it ended. Must not wait. */
  log?(ctx: Exchange): void;
  /** The configuration went away; timers and handles end here. */
  dispose?(): void;
}

export const PHASES = [
  "rewrite",
  "access",
  "requestBody",
  "beforeProxy",
  "responseHeaders",
  "responseBody",
  "log",
] as const satisfies readonly (keyof PluginHandlers)[];

export type Phase = (typeof PHASES)[number];

/** A part of a plugin's configuration that is of another kind; it stands at `holder[key]`. */
export interface InnerConfig {
  /** "upstream", or the configuration of this plugin. */
  kind: "upstream" | { plugin: string };
  holder: Record<string | number, unknown>;
  key: string | number;
  /** Stands before the reason of a refusal. */
  prefix: string;
}

/** A path of the gateway's own, reachable from outside through a route that has `public-api`. */
export interface PluginApi {
  methods: readonly string[];
  /** Exact path. */
  uri: string;
  /** Runs in the access phase of that route. Answers; nothing is proxied. */
  handle(ctx: Exchange): Answer | Promise<Answer>;
}

export interface PluginDefinition<
  Config extends TSchema = TSchema,
  Consumer extends TSchema = TSchema,
  Metadata extends TSchema = TSchema,
> {
  name: string;
  version: string;
  /** Order within a phase: higher first. The numbers of APISIX are kept. */
  priority: number;
  /** Shown by the Admin API: authentication plugins identify consumers and fail closed. */
  type?: "auth";
  /** Security plugins fail closed: a route whose configuration of it cannot be compiled answers 503. */
  failsClosed?: boolean;
  /** What it runs for: requests, connections of stream routes, or both. Default: requests. */
  subsystems?: readonly ("http" | "stream")[];
  /** Where an instance may stand. Default: everywhere. */
  scope?: "global" | "route";
  /** Control puts it where it is wanted: resources that are written with it are refused. */
  isMadeByControl?: boolean;
  /** Also present in a route, the global instance steps back (APISIX's run_policy). */
  runPolicy?: "prefer_route";
  config: Config;
  /** Schema of the configuration inside a consumer or credential. */
  consumer?: Consumer;
  metadata?: Metadata;
  /**
   * Asks `host.ownerOf`. Equal configurations of two routes still share one compiled form, those of a route and a
   * service do not.
   */
  perOwner?: boolean;
  /** Dotted paths of fields that are encrypted at rest, in `config` and in `consumer`. */
  encrypted?: readonly string[];
  /** Another plugin may run it in its place (`ctx.skipPlugin`): all its handlers but `log` then do nothing for that request. */
  canBeSkipped?: boolean;
  /** Checks beyond the schema, at write time: an error text that names the field, or null. */
  check?(config: Static<Config>): string | null;
  /** What in a configuration is an upstream or belongs to another plugin: checked and completed as such. */
  innerConfigs?(config: Static<Config>): readonly InnerConfig[];
  /** Names (or addresses) of hosts that a published configuration sends to; the node resolves them. */
  hostNames?(config: Static<Config>): readonly string[];
  /** Paths that the plugin answers itself, made once per worker. */
  apis?(host: PluginHost<Static<Metadata>>): readonly PluginApi[];
  compile(config: Static<Config>, host: PluginHost<Static<Metadata>>): PluginHandlers;
}

/** Gives a definition its types. It changes nothing: a plugin stays a plain object. */
export function definePlugin<
  Config extends TObject | TSchema,
  Consumer extends TSchema = TSchema,
  Metadata extends TSchema = TSchema,
>(definition: PluginDefinition<Config, Consumer, Metadata>): PluginDefinition<Config, Consumer, Metadata> {
  return definition;
}
