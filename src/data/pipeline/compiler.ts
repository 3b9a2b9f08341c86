/**
 * Compiles plugin configurations into handlers, once per distinct configuration.
 *
 * Configurations are interned by plugin, version and content: fifty thousand routes with the same rate limit
 * share one. A compiled configuration lives as long as a chain holds it; then it is disposed.
 *
 * A plugin that is unknown, or that fails to compile, must not silently vanish: authentication and security
 * plugins, and those of which nothing is known, answer 503; others are left out with an error in the log.
 */

import type { PluginApi, PluginDefinition, PluginHandlers } from "../../plugin/definition.ts";
import type { PluginHost, PluginLog } from "../../plugin/host.ts";
import { compileExpression, type Expression } from "../../lib/expression.ts";
import { PluginChain, type ChainLink } from "./chain.ts";

export interface Catalog {
  get(name: string): PluginDefinition | undefined;
  list(): PluginDefinition[];
}

/** Everything a host offers besides what depends on the plugin and its owner. */
export interface HostServices extends Omit<PluginHost, "owner" | "metadata" | "attributes" | "publicApi"> {
  attributesOf(plugin: string): Readonly<Record<string, unknown>>;
}

/** One plugin of a merged set: its configuration and the resource that it comes from. */
export interface MergedPlugin {
  config: Record<string, unknown>;
  owner: string;
  fromConsumer: boolean;
}

interface Meta {
  disable?: boolean;
  priority?: number;
  filter?: Expression;
  error_response?: string | object;
}

interface Interned {
  key: string;
  handlers: PluginHandlers;
  users: number;
}

export class PluginCompiler {
  readonly #catalog: Catalog;
  readonly #services: HostServices;
  readonly #metadata: (plugin: string) => unknown;
  readonly #interned = new Map<string, Interned>();
  /** By method and path; made when one is first asked for. */
  #apis: Map<string, PluginApi> | null = null;

  constructor(catalog: Catalog, services: HostServices, metadata: (plugin: string) => unknown) {
    this.#catalog = catalog;
    this.#services = services;
    this.#metadata = metadata;
  }

  /** Distinct configurations alive on this worker. */
  get size(): number {
    return this.#interned.size;
  }

  compile(merged: ReadonlyMap<string, MergedPlugin>): PluginChain {
    const links: ChainLink[] = [];
    for (const [name, plugin] of merged) {
      const link = this.#link(name, plugin);
      if (link !== null) links.push(link);
    }
    return new PluginChain(links);
  }

  #link(name: string, { config, owner, fromConsumer }: MergedPlugin): ChainLink | null {
    const meta = (config._meta ?? {}) as Meta;
    if (meta.disable === true) return null;
    const definition = this.#catalog.get(name);
    try {
      if (definition === undefined) throw new Error("no such plugin is loaded");
      const interned = this.#acquire(definition, config, owner);
      return {
        name,
        priority: meta.priority ?? definition.priority,
        isAuth: definition.type === "auth",
        fromConsumer,
        handlers: interned.handlers,
        filter: meta.filter === undefined ? null : compileExpression(meta.filter),
        errorResponse: meta.error_response ?? null,
        release: () => this.#release(interned),
      };
    } catch (error) {
      this.#services.log.error("plugin configuration cannot be used", {
        plugin: name,
        owner,
        reason: String(error),
      });
      if (definition !== undefined && definition.type !== "auth" && definition.failsClosed !== true)
        return null;
      return refusal(name, definition?.priority ?? Number.MAX_SAFE_INTEGER, this.#services.log);
    }
  }

  #acquire(definition: PluginDefinition, config: Record<string, unknown>, owner: string): Interned {
    const { _meta: _, ...own } = config;
    const key = `${definition.name}@${definition.version}${definition.perOwner === true ? `#${owner}` : ""}:${JSON.stringify(own)}`;
    let interned = this.#interned.get(key);
    if (interned === undefined) {
      interned = { key, handlers: definition.compile(own, this.#hostOf(definition, owner)), users: 0 };
      this.#interned.set(key, interned);
    }
    interned.users++;
    return interned;
  }

  #hostOf({ name }: PluginDefinition, owner: string): PluginHost {
    const { attributesOf, ...services } = this.#services;
    return {
      ...services,
      owner,
      attributes: attributesOf(name),
      metadata: () => this.#metadata(name),
      publicApi: (method, path) => (this.#apis ??= this.#gatherApis()).get(`${method} ${path}`) ?? null,
    };
  }

  #gatherApis(): Map<string, PluginApi> {
    const apis = new Map<string, PluginApi>();
    for (const definition of this.#catalog.list()) {
      for (const api of definition.apis?.(this.#hostOf(definition, `plugin#${definition.name}`)) ?? []) {
        for (const method of api.methods) apis.set(`${method} ${api.uri}`, api);
      }
    }
    return apis;
  }

  #release(interned: Interned): void {
    if (--interned.users > 0) return;
    this.#interned.delete(interned.key);
    interned.handlers.dispose?.();
  }
}

function refusal(name: string, priority: number, log: PluginLog): ChainLink {
  return {
    name,
    priority,
    isAuth: false,
    fromConsumer: false,
    handlers: {
      rewrite(ctx) {
        log.debug("request refused", { plugin: name });
        return ctx.answer(503, { error_msg: "503 Service Unavailable" });
      },
    },
    filter: null,
    errorResponse: null,
    release: () => undefined,
  };
}
