/**
 * Compiles plugin configurations into handlers and chains, once per distinct content.
 *
 * Configurations are interned by plugin, version and content, chains by the configurations in them: fifty
 * thousand routes with the same plugins share one chain. What is compiled lives as long as somebody holds it;
 * then its plugins are disposed.
 *
 * A plugin that is unknown, or that fails to compile, must not silently vanish: authentication and security
 * plugins, and those of which nothing is known, answer 503; others are left out with an error in the log.
 */

import { refusalStatus } from "../../model/stand-ins.ts";
import { hash } from "node:crypto";
import type { PluginApi, PluginDefinition, PluginHandlers } from "../../plugin/definition.ts";
import type { Answer, Exchange } from "../../plugin/exchange.ts";
import type { PluginHost, PluginLog } from "../../plugin/host.ts";
import { compileExpression, type Expression } from "../../lib/expression.ts";
import { PluginChain, type ChainLink } from "./chain.ts";
import { ownerKind, ownerReader } from "./owner.ts";
import { BoundedPluginLog } from "./plugin-log.ts";

export interface Catalog {
  get(name: string): PluginDefinition | undefined;
  list(): PluginDefinition[];
}

/** Everything a host offers besides what depends on the plugin and its owner. */
export interface HostServices extends Omit<
  PluginHost,
  "ownerOf" | "metadata" | "attributes" | "publicApi" | "hostOf"
> {
  attributesOf(plugin: string): Readonly<Record<string, unknown>>;
}

/** One plugin of a merged set: its configuration and the resource that it comes from. */
export interface MergedPlugin {
  config: Record<string, unknown>;
  owner: string;
  fromConsumer: boolean;
}

export type MergedPlugins = ReadonlyMap<string, MergedPlugin>;

interface Meta {
  disable?: boolean;
  priority?: number;
  filter?: Expression;
  error_response?: string | object;
}

/** A compiled configuration, held by the chains that it is part of. */
interface Interned {
  key: string;
  handlers: PluginHandlers;
  users: number;
}

/** A chain, held by the routes (or global rules) that were compiled to it. */
export class HeldChain {
  readonly key: string;
  readonly chain: PluginChain;
  readonly parts: readonly Interned[];
  users = 0;

  constructor(key: string, chain: PluginChain, parts: readonly Interned[]) {
    this.key = key;
    this.chain = chain;
    this.parts = parts;
  }
}

const NO_OWNER = (): string => "";

export class PluginCompiler {
  readonly #catalog: Catalog;
  readonly #services: HostServices;
  readonly #metadata: (plugin: string) => unknown;
  readonly #configurations = new Map<string, Interned>();
  readonly #chains = new Map<string, HeldChain>();
  readonly #hosts = new Map<string, PluginHost>();
  /** By plugin. */
  readonly #logs = new Map<string, PluginLog>();
  /** By method and path; made when one is first asked for. */
  #apis: Map<string, PluginApi> | null = null;

  constructor(catalog: Catalog, services: HostServices, metadata: (plugin: string) => unknown) {
    this.#catalog = catalog;
    this.#services = services;
    this.#metadata = metadata;
  }

  /** The chain of a merged set; to be given back by `release`. */
  compile(merged: MergedPlugins): HeldChain {
    const links: ChainLink[] = [];
    const parts: Interned[] = [];
    let key = "";
    let isNew = false;
    for (const [name, plugin] of merged) {
      const meta = (plugin.config._meta ?? {}) as Meta;
      if (meta.disable === true) continue;
      const interned = this.#intern(name, plugin);
      parts.push(interned);
      isNew ||= interned.users === 1;
      links.push(linkOf(name, this.#catalog.get(name), interned.handlers, meta, plugin.fromConsumer));
      key += `${interned.key}${plugin.fromConsumer ? "+" : ""}${plugin.config._meta === undefined ? "" : JSON.stringify(meta)}`;
    }
    // A chain with a configuration that nobody else has cannot be anybody else's: it needs no name.
    return this.#hold(isNew ? "" : digest(key), links, parts);
  }

  release(held: HeldChain): void {
    if (--held.users > 0) return;
    if (held.key !== "") this.#chains.delete(held.key);
    for (const part of held.parts) this.#releasePart(part);
  }

  #hold(key: string, links: ChainLink[], parts: readonly Interned[]): HeldChain {
    let held = key === "" ? undefined : this.#chains.get(key);
    if (held === undefined) {
      held = new HeldChain(key, new PluginChain(links), parts.slice());
      if (key !== "") this.#chains.set(key, held);
    } else {
      for (const part of parts) this.#releasePart(part);
    }
    held.users++;
    return held;
  }

  #releasePart(part: Interned): void {
    if (--part.users > 0) return;
    this.#configurations.delete(part.key);
    part.handlers.dispose?.();
  }

  #intern(name: string, plugin: MergedPlugin): Interned {
    const { _meta: _, ...config } = plugin.config;
    const definition = this.#catalog.get(name);
    const owner = definition?.perOwner === true ? ownerKind(plugin.owner) : "";
    const key = digest(`${name}@${definition?.version ?? ""}#${owner}:${JSON.stringify(config)}`);
    let interned = this.#configurations.get(key);
    if (interned === undefined) {
      interned = { key, handlers: this.#handlersOf(name, definition, config, plugin.owner), users: 0 };
      this.#configurations.set(key, interned);
    }
    interned.users++;
    return interned;
  }

  #handlersOf(
    name: string,
    definition: PluginDefinition | undefined,
    config: Record<string, unknown>,
    owner: string,
  ): PluginHandlers {
    const { log } = this.#services;
    try {
      if (definition === undefined) throw new Error("no such plugin is loaded");
      return definition.compile(config, this.#hostOf(definition, owner));
    } catch (error) {
      log.error("plugin configuration cannot be used", { plugin: name, owner, reason: String(error) });
      if (definition !== undefined && definition.type !== "auth" && definition.failsClosed !== true)
        return {};
      return refusal(name, log);
    }
  }

  /** One per plugin and kind of owner, whatever the number of configurations. */
  #hostOf({ name, perOwner }: PluginDefinition, owner: string): PluginHost {
    const key = perOwner === true ? `${name}#${ownerKind(owner)}` : name;
    let host = this.#hosts.get(key);
    if (host === undefined) {
      const { attributesOf, ...services } = this.#services;
      host = {
        ...services,
        ownerOf: perOwner === true ? ownerReader(owner) : NO_OWNER,
        attributes: attributesOf(name),
        log: this.#logOf(name),
        metadata: () => this.#metadata(name),
        hostOf: (other) => this.#hostOf(other, owner),
        publicApi: (method, path) => (this.#apis ??= this.#gatherApis()).get(`${method} ${path}`) ?? null,
      };
      this.#hosts.set(key, host);
    }
    return host;
  }

  #logOf(plugin: string): PluginLog {
    let log = this.#logs.get(plugin);
    if (log === undefined) {
      log = new BoundedPluginLog(plugin, this.#services.log, this.#services.now);
      this.#logs.set(plugin, log);
    }
    return log;
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
}

function linkOf(
  name: string,
  definition: PluginDefinition | undefined,
  handlers: PluginHandlers,
  meta: Meta,
  fromConsumer: boolean,
): ChainLink {
  return {
    name,
    // What is unknown refuses before anything else runs.
    priority: meta.priority ?? definition?.priority ?? Number.MAX_SAFE_INTEGER,
    isAuth: definition?.type === "auth",
    canBeSkipped: definition?.canBeSkipped === true,
    fromConsumer,
    handlers,
    filter: meta.filter === undefined ? null : compileExpression(meta.filter),
    errorResponse: meta.error_response ?? null,
  };
}

function refusal(plugin: string, log: PluginLog): PluginHandlers {
  const status = refusalStatus(plugin);
  const body = { error_msg: status === 404 ? "404 Route Not Found" : "503 Service Unavailable" };
  const refuse = (ctx: Exchange): Answer => {
    log.debug("request refused", { plugin });
    return ctx.answer(status, body);
  };
  return { rewrite: refuse, preread: refuse };
}

/** 32 bytes instead of the text: there are as many keys as distinct configurations. */
function digest(text: string): string {
  return hash("sha256", text, "binary");
}
