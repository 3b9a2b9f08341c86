/**
 * What it means to be a resource: the declaration that the Admin API, the store and control loop over, and
 * what such a declaration may ask of its surroundings. One file beside this one declares each resource;
 * `resources.ts` lists them.
 */

import type { TSchema } from "@sinclair/typebox";
import type { InnerConfig } from "../plugin/definition.ts";

export type JsonObject = Record<string, unknown>;

export type Method = "GET" | "PUT" | "POST" | "PATCH" | "DELETE";

/** A value that is refused. */
export interface ValidationError {
  /** As APISIX words it; begins with what was checked. */
  message: string;
  /** JSON pointer (RFC 6901) to the field inside the resource; "" for the resource as a whole. */
  pointer: string;
}

/** What the model asks of a plugin; every `PluginDefinition` is one. */
export interface PluginRules {
  name: string;
  type?: "auth";
  /** Where it runs. Default: for requests alone. */
  subsystems?: readonly ("http" | "stream")[];
  /** Resources that are written with it are refused. */
  isMadeByControl?: boolean;
  config: TSchema;
  consumer?: TSchema;
  metadata?: TSchema;
  /** Dotted paths of fields that are encrypted at rest, in `config` and in `consumer`. */
  encrypted?: readonly string[];
  check?(config: unknown): string | null;
  /** Parts of a configuration that are upstreams or configurations of other plugins. */
  innerConfigs?(config: unknown): readonly InnerConfig[];
  /** Names of hosts that a published configuration sends to. */
  hostNames?(config: unknown): readonly string[];
}

export interface PluginCatalog {
  get(name: string): PluginRules | undefined;
}

/** What a check may look at beyond the value itself. What is absent is not checked. */
export interface ModelContext {
  plugins: PluginCatalog;
  /** The stored value, for references: "upstreams", "1". */
  get?(plural: string, id: string): JsonObject | undefined;
  /** All stored values of a type with few items (those of the same parent), for conflicts among them. */
  list?(plural: string): Iterable<readonly [id: string, value: JsonObject]>;
  /** Name of the consumer that has this value in that field of that plugin, credentials included. */
  consumerWithKey?(plugin: string, field: string, value: string): string | undefined;
  /** For `credentials`: name of the consumer they belong to. */
  parentId?: string;
}

/** A field that names another resource. */
export interface Reference {
  /** Path of the field; "*" stands for every element. */
  path: readonly string[];
  /** Type of the target. */
  to: string;
  /** What the target is called in messages: "upstream", "plugin config". */
  title: string;
  /** How a target that does not exist is told, where APISIX has other words. */
  missing?(id: string): string;
  /** What is written changes how the target acts: who may not write the target may not write this. */
  isActedOn?: boolean;
  /** Why `target` will not do for `value`; null: it will. */
  unfit?(target: JsonObject, value: JsonObject, id: string): string | null;
}

/** Which configuration of a plugin stands in `plugins`; "stream": that of a plugin that runs for connections. */
export type PluginUse = "config" | "consumer" | "stream";

export interface ResourceType<Published = unknown> {
  /** Part of the path and of the store's key: "routes". Sub-resources stand below their parent. */
  plural: string;
  /** Key in the schema endpoints: "route". */
  singular: string;
  /** Another word for `plural` in paths of the Admin API. */
  alias?: string;
  /** In messages: "route", "global rule". */
  title: string;
  schema: TSchema;
  /** `$secret://` and `$env://` may stand for text outside plugins too. */
  secretReferences?: boolean;
  /** Where the schema depends on the id or on the plugins: plugin metadata, secrets. */
  schemaFor?(id: string | undefined, context: ModelContext): TSchema | undefined;
  /** "consumers" for "/consumers/{parent}/credentials/{id}": goes with its parent. */
  parent?: string;
  /** Field that holds the parent's id; set from the path. */
  parentField?: string;
  /** Paths of private keys in PEM, which are encrypted at rest whatever the settings; through lists too. */
  privateKeys?: readonly (readonly string[])[];
  id: IdRule;
  methods: readonly Method[];
  plugins?: PluginUse;
  /** A write is answered when it is live on all workers of the node, also where the client does not ask for it. */
  isLiveWhenAnswered?: boolean;
  /** What operators do, not what is configured: left alone by batches that prune, and by exports. */
  isOperation?: boolean;
  /** Field with the time (seconds since 1970) at which the resource vanishes from the store. */
  expiryField?: string;
  /** Prefix of errors in `plugins`. */
  pluginErrorPrefix?: string;
  references: readonly Reference[];
  /** How a delete is refused while the resource is in use; null: it may always be deleted. */
  inUse: ((referrerTitle: string, referrerId: string) => string) | null;
  /** Faults that APISIX tells before it asks the schema. */
  checkFirst?(value: JsonObject, context: ModelContext, id: string | undefined): ValidationError | null;
  /** What a schema cannot say. Runs after the schema, before plugins and references. */
  check?(value: JsonObject, context: ModelContext, id: string | undefined): ValidationError | null;
  /**
   * The form for workers of a value that was accepted; null: workers need none. `created` is the store's
   * revision at which it was made, which orders equals.
   */
  normalize: ((id: string, value: JsonObject, plugins: PluginCatalog, created: number) => Published) | null;
  /**
   * What workers get of a value that is not valid and takes the place of nothing, where leaving it out would open what it
   * guards. Null: nothing. Its fields may be anything.
   */
  closed?: (id: string, value: JsonObject, created: number) => Published | null;
}

export interface IdRule {
  /** Field of the body that holds it; null: the path alone has it. */
  field: "id" | "username" | null;
  /** Whether `POST` makes one; else clients choose it. */
  generated: boolean;
}

export function refused(message: string, pointer: string): ValidationError {
  return { message, pointer };
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One step of a JSON pointer (RFC 6901 section 3). */
export function pointerStep(key: string | number): string {
  return `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** Ids may be text or numbers; 1 and "1" are one id. Undefined for anything else. */
export function idText(value: unknown): string | undefined {
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
}
