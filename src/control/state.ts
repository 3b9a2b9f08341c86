/**
 * What control holds: every resource as the store has it and as workers get it, and what is wrong with it.
 *
 * An item of the store that is not valid is quarantined alone, with its reason; everything else goes on.
 * If a valid version of it was in service, that version stays until the item is mended or deleted, since a
 * mistake in the store must not take a working route (or the rule that protects it) away. After a restart
 * there is no earlier version: the item is then out of service.
 *
 * References are not checked here: what is written through the Admin API was checked there, and a store
 * edited by others may name what comes a moment later.
 */

import { QUARANTINED } from "../model/stand-ins.ts";
import type { ConfigurationItem, Kind } from "../shared/configuration-bytes.ts";
import type { StoredItem } from "../store/contract.ts";
import {
  isObject,
  type JsonObject,
  type ModelContext,
  type PluginCatalog,
  type ResourceType,
} from "../model/resource-type.ts";
import type { EncryptedFields } from "../model/encrypted-fields.ts";
import { isTooDeep } from "../model/json-limits.ts";
import { validateResource } from "../model/validate.ts";
import { ConsumerKeys } from "./consumer-keys.ts";
import { HostUses, hostNamesOf } from "./host-uses.ts";
import { redacted } from "./redact.ts";
import { ReferenceIndex } from "./reference-index.ts";
import { addressOf, type ResourceTypes } from "./keys.ts";

export interface StateEntry {
  readonly type: ResourceType;
  readonly id: string;
  readonly parent: string | null;
  readonly key: string;
  /** JSON text as it is in the store: some fields are encrypted. */
  text: string;
  /** Some plugin of it has encrypted fields. */
  isProtected: boolean;
  /** In service as a refusal, since it never was in service as itself. */
  isClosed: boolean;
  createRevision: number;
  modRevision: number;
  /** What workers have, as JSON text; null: nothing. */
  published: string | null;
  fault: QuarantineFault | null;
}

export interface QuarantineFault {
  reason: string;
  /** JSON pointer into the resource. */
  pointer: string;
  /** Milliseconds since 1970. */
  since: number;
}

/** What changed for workers. */
export type PublishChange = (item: ConfigurationItem) => void;

const ROUTES = "routes";
const SERVICES = "services";
const CONSUMERS = "consumers";
const CREDENTIALS = "credentials";

/** Types whose plugins guard requests. A global rule is not among them: closed, it would stop all traffic. */
const CLOSABLE = new Set(["routes", "services", "plugin_configs", "stream_routes"]);

/** Pointers into what may protect a resource. */
const GUARDS = /^\/(?:plugins|script)(?:\/|$)/;

export class ConfigurationState {
  readonly types: ResourceTypes;
  /** Host names among the nodes of all upstreams in service. */
  readonly hosts = new HostUses();
  readonly #plugins: PluginCatalog;
  readonly #fields: EncryptedFields;
  readonly #publish: PublishChange;
  readonly #now: () => number;
  readonly #byType = new Map<string, Map<string, StateEntry>>();
  readonly #consumerKeys = new ConsumerKeys();
  /** "credentials/jack" → by id: what stands below a parent. */
  readonly #children = new Map<string, Map<string, StateEntry>>();
  readonly #references = new ReferenceIndex();
  readonly #quarantined = new Map<string, StateEntry>();
  /** By plural; deletions do not take it back. */
  readonly #newest = new Map<string, number>();

  constructor(
    types: ResourceTypes,
    plugins: PluginCatalog,
    fields: EncryptedFields,
    publish: PublishChange,
    now: () => number = Date.now,
  ) {
    this.types = types;
    this.#plugins = plugins;
    this.#fields = fields;
    this.#publish = publish;
    this.#now = now;
  }

  /** Takes one item of the store. Never throws for anything that a store may hold. */
  put(item: StoredItem): void {
    const address = addressOf(item.key, this.types);
    if (address === null) return;
    const { type, id, parent } = address;
    this.#newest.set(type.plural, Math.max(this.newestRevision(type.plural), item.modRevision));
    const entries = this.#entriesOf(type.plural);
    const name = parent === null ? id : `${parent}/${id}`;
    let entry = entries.get(name);
    if (entry === undefined) {
      const { key, value, createRevision, modRevision } = item;
      entry = {
        type,
        id,
        parent,
        key,
        text: value,
        isProtected: false,
        isClosed: false,
        createRevision,
        modRevision,
        published: null,
        fault: null,
      };
      entries.set(name, entry);
      if (parent !== null) this.#childrenOf(type.plural, parent).set(id, entry);
    } else if (entry.text === item.value && entry.modRevision === item.modRevision) {
      return;
    } else {
      entry.text = item.value;
      entry.createRevision = item.createRevision;
      entry.modRevision = item.modRevision;
    }
    this.#refresh(entry);
  }

  delete(key: string): void {
    const address = addressOf(key, this.types);
    if (address === null) return;
    const { type, id, parent } = address;
    const entries = this.#entriesOf(type.plural);
    const name = parent === null ? id : `${parent}/${id}`;
    const entry = entries.get(name);
    if (entry === undefined) return;
    entries.delete(name);
    this.#quarantined.delete(key);
    this.hosts.set(key, []);
    this.#references.set(key, type, null);
    if (type.plural === CONSUMERS) this.#consumerKeys.set(key, id, null);
    if (parent !== null) this.#forgetChild(type.plural, parent, id);
    if (type.plural === CREDENTIALS) {
      this.#consumerKeys.set(key, parent!, null);
      this.#refreshConsumer(parent!);
    } else if (entry.published !== null) {
      this.#publish({ kind: type.singular as Kind, id, value: null });
    }
  }

  get(plural: string, id: string, parent: string | null = null): StateEntry | undefined {
    return this.#byType.get(plural)?.get(parent === null ? id : `${parent}/${id}`);
  }

  /** All of a type, those of one parent if given. */
  list(plural: string, parent: string | null = null): Iterable<StateEntry> {
    if (parent !== null) return this.#children.get(`${plural}/${parent}`)?.values() ?? [];
    return this.#byType.get(plural)?.values() ?? [];
  }

  /** Revision of the store at which a resource of this type was written last; 0: never. */
  newestRevision(plural: string): number {
    return this.#newest.get(plural) ?? 0;
  }

  count(plural: string): number {
    return this.#byType.get(plural)?.size ?? 0;
  }

  /** Everything as the store has it, at this moment. */
  stored(): StoredItem[] {
    const items: StoredItem[] = [];
    for (const entries of this.#byType.values()) {
      for (const { key, text, createRevision, modRevision } of entries.values()) {
        items.push({ key, value: text, createRevision, modRevision });
      }
    }
    return items;
  }

  keys(): string[] {
    const keys: string[] = [];
    for (const entries of this.#byType.values()) for (const entry of entries.values()) keys.push(entry.key);
    return keys;
  }

  quarantined(): Iterable<StateEntry> {
    return this.#quarantined.values();
  }

  /** A resource that refers to this one, and whether one of its plugins does; routes first. Null: nobody does. */
  userOf(plural: string, id: string): { entry: StateEntry; isInPlugin: boolean } | null {
    let first: { entry: StateEntry; isInPlugin: boolean } | null = null;
    for (const user of this.usersOf(plural, id)) {
      if (user.entry.type.plural === ROUTES) return user;
      if (first === null || user.entry.type.plural === SERVICES) first = user;
    }
    return first;
  }

  /** All that refer to this one. */
  *usersOf(plural: string, id: string): IterableIterator<{ entry: StateEntry; isInPlugin: boolean }> {
    for (const { key, isInPlugin } of this.#references.usesOf(plural, id)) {
      const address = addressOf(key, this.types)!;
      yield { entry: this.get(address.type.plural, address.id, address.parent)!, isInPlugin };
    }
  }

  /** What goes when this one goes. */
  *childrenOf(plural: string, id: string): IterableIterator<StateEntry> {
    for (const type of this.types.values()) {
      if (type.parent === plural) yield* this.list(type.plural, id);
    }
  }

  /** Everything that workers get. */
  *published(): IterableIterator<ConfigurationItem> {
    for (const entries of this.#byType.values()) {
      for (const entry of entries.values()) {
        if (entry.published !== null) {
          yield { kind: entry.type.singular as Kind, id: entry.id, value: entry.published };
        }
      }
    }
  }

  /** The value with everything decrypted; undefined: it is no JSON object. */
  plain(entry: StateEntry): JsonObject | undefined {
    return this.plainText(entry.type, entry.text);
  }

  /** The same for any stored value of `type`. */
  plainText(type: ResourceType, text: string): JsonObject | undefined {
    const value = parseObject(text);
    if (value !== undefined) this.#fields.reveal(type, value, true);
    return value;
  }

  /** What a client sends may have private keys as it read them, encrypted: `value` gets them plain. */
  revealPrivateKeys(type: ResourceType, value: JsonObject): void {
    this.#fields.revealPrivateKeys(type, value);
  }

  /** How a value that passed all checks goes into the store. */
  protect(type: ResourceType, value: JsonObject): JsonObject {
    return this.#fields.protect(type, value);
  }

  /** A stored value of `type` as the Admin API shows it: with plain plugins; private keys stay as they are. */
  shown(type: ResourceType, text: string): JsonObject | undefined {
    const value = parseObject(text);
    if (value === undefined || isTooDeep(value)) return undefined;
    this.#fields.reveal(type, value, false);
    return value;
  }

  /**
   * As it may be shown without a key: what is encrypted at rest is encrypted, also where the store is a plain file. Undefined:
   * it is no object, or metadata of a plugin that is not known, which may hold a secret anywhere.
   */
  sealed(entry: StateEntry): JsonObject | undefined {
    const value = this.plain(entry);
    if (entry.type.plural === "plugin_metadata") {
      const plugin = this.#plugins.get(entry.id);
      if (value === undefined || isTooDeep(value) || plugin === undefined) return undefined;
      return this.#fields.sealMetadata(plugin, value);
    }
    return value === undefined || isTooDeep(value) ? undefined : this.#fields.protect(entry.type, value);
  }

  /** What a check of a write to `key` (null: the id is not known yet) may look at. */
  context(key: string | null, parent: string | null): ModelContext {
    return {
      plugins: this.#plugins,
      get: (plural, id) => {
        const entry = this.get(plural, id);
        return entry === undefined ? undefined : parseObject(entry.text);
      },
      list: (plural) => this.#values(plural, parent),
      consumerWithKey: (plugin, field, value) => this.#consumerKeys.ownerOf(plugin, field, value, key),
      ...(parent === null ? {} : { parentId: parent }),
    };
  }

  *#values(plural: string, parent: string | null): IterableIterator<readonly [string, JsonObject]> {
    for (const entry of this.list(plural, parent)) {
      const value = parseObject(entry.text);
      if (value !== undefined) yield [entry.id, value];
    }
  }

  /** Validates, quarantines or publishes what the entry holds now. */
  #refresh(entry: StateEntry): void {
    const { type, id, key } = entry;
    const value = this.#check(entry);
    if (value !== null) entry.isClosed = false;
    if (value === null) this.#closeInstead(entry);
    if (type.plural === CONSUMERS) this.#consumerKeys.set(key, id, value);
    if (type.plural === CREDENTIALS) {
      this.#consumerKeys.set(key, entry.parent!, value);
      this.#refreshConsumer(entry.parent!);
    } else if (value !== null && type.plural === CONSUMERS) {
      this.#refreshConsumer(id);
    } else if (value !== null && type.normalize !== null) {
      const normal = this.#attempt(entry, () =>
        type.normalize!(id, value, this.#plugins, entry.createRevision),
      );
      if (normal !== null) this.#setPublished(entry, normal);
    }
  }

  /**
   * What is in quarantine for its plugins (or its script, which cannot run here) alone and was never in service is
   * published closed: it answers 404. If it were left out, its requests would fall to a wider route that may protect less.
   */
  #closeInstead(entry: StateEntry): void {
    const { type, id, fault, createRevision } = entry;
    if (fault === null || (entry.published !== null && !entry.isClosed)) return;
    if (type.closed !== undefined) {
      const plain = this.plain(entry) ?? {};
      const closed = this.#attempt(entry, () => type.closed!(id, plain, createRevision));
      if (closed !== null) this.#setPublished(entry, closed);
      else if (entry.isClosed) this.#withdraw(entry);
      entry.isClosed = closed !== null;
      return;
    }
    if (!CLOSABLE.has(type.plural) || !GUARDS.test(fault.pointer)) return;
    const value = this.plain(entry);
    if (value === undefined) return;
    const { script: _lua, script_id: _ofLua, ...rest } = value;
    const open = { ...rest, plugins: {} };
    const normal = this.#attempt(entry, () =>
      validateResource(type, open, { plugins: this.#plugins }, id) === null
        ? type.normalize!(id, open, this.#plugins, createRevision)
        : null,
    );
    if (normal === null) return;
    this.#setPublished(entry, { ...(normal as object), plugins: { [QUARANTINED]: {} } });
    entry.isClosed = true;
  }

  #withdraw(entry: StateEntry): void {
    entry.published = null;
    this.#publish({ kind: entry.type.singular as Kind, id: entry.id, value: null });
  }

  /** The parsed value if it is valid; else null, and the entry is in quarantine. */
  #check(entry: StateEntry): JsonObject | null {
    this.#quarantined.delete(entry.key);
    entry.fault = null;
    const value = this.plain(entry);
    entry.isProtected = value !== undefined && this.#fields.hasProtectedPlugins(entry.type, value);
    if (value === undefined) {
      this.#references.set(entry.key, entry.type, null);
      this.#quarantine(entry, "the value in the store is not a JSON object", "");
      return null;
    }
    this.#references.set(entry.key, entry.type, value);
    const context: ModelContext = { plugins: this.#plugins };
    if (entry.parent !== null) context.parentId = entry.parent;
    const fault = this.#attempt(entry, () => ({
      error: validateResource(entry.type, value, context, entry.id),
    }));
    if (fault === null) return null;
    if (fault.error !== null) {
      // The list of what is in quarantine is shown without a key.
      const { message, pointer } = fault.error;
      this.#quarantine(entry, entry.isProtected ? redacted(message, value, pointer) : message, pointer);
      return null;
    }
    return value;
  }

  /** A defect in the code of one plugin or resource quarantines the item, not the node. */
  #attempt<T>(entry: StateEntry, run: () => T): T | null {
    try {
      return run();
    } catch (error) {
      this.#quarantine(entry, `internal error: ${String(error)}`, "");
      return null;
    }
  }

  #quarantine(entry: StateEntry, reason: string, pointer: string): void {
    entry.fault = { reason, pointer, since: this.#now() };
    this.#quarantined.set(entry.key, entry);
  }

  #refreshConsumer(username: string): void {
    const entry = this.get(CONSUMERS, username);
    const consumer = entry === undefined ? null : this.#consumerOf(entry);
    if (entry === undefined || consumer === null) return;
    const credentials: unknown[] = [];
    // As a cold start finds them: workers must not get another consumer because control is another one.
    const children = [...this.list(CREDENTIALS, username)].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const credential of children) {
      if (credential.fault !== null || credential.type.normalize === null) continue;
      const inner = this.plain(credential)!;
      const normal = this.#attempt(credential, () =>
        credential.type.normalize!(credential.id, inner, this.#plugins, credential.createRevision),
      );
      if (normal !== null) credentials.push(normal);
    }
    this.#setPublished(entry, credentials.length === 0 ? consumer : { ...consumer, credentials });
  }

  /**
   * What workers get of a consumer, without its credentials; null: nothing new. In quarantine it is the version in
   * service, since a credential that is deleted meanwhile must not go on to be good.
   */
  #consumerOf(entry: StateEntry): JsonObject | null {
    if (entry.fault !== null) {
      if (entry.published === null) return null;
      const { credentials: _, ...former } = JSON.parse(entry.published) as JsonObject;
      return former;
    }
    const value = this.plain(entry)!;
    return this.#attempt(
      entry,
      () => entry.type.normalize!(entry.id, value, this.#plugins, entry.createRevision) as JsonObject,
    );
  }

  #setPublished(entry: StateEntry, normal: unknown): void {
    const text = JSON.stringify(normal);
    if (text === entry.published) return;
    entry.published = text;
    this.hosts.set(entry.key, hostNamesOf(normal, this.#plugins));
    this.#publish({ kind: entry.type.singular as Kind, id: entry.id, value: text });
  }

  #entriesOf(plural: string): Map<string, StateEntry> {
    let entries = this.#byType.get(plural);
    if (entries === undefined) this.#byType.set(plural, (entries = new Map()));
    return entries;
  }

  #childrenOf(plural: string, parent: string): Map<string, StateEntry> {
    const name = `${plural}/${parent}`;
    let children = this.#children.get(name);
    if (children === undefined) this.#children.set(name, (children = new Map()));
    return children;
  }

  #forgetChild(plural: string, parent: string, id: string): void {
    const children = this.#childrenOf(plural, parent);
    children.delete(id);
    if (children.size === 0) this.#children.delete(`${plural}/${parent}`);
  }
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
