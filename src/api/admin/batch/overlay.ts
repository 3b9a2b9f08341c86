/**
 * The configuration as it will be once a batch is written, for the checks of each of its writes: references lead to
 * what the batch brings and not to what it deletes, and no two consumers have one key.
 *
 * The resource that is being decided about is seen as it is: its times and revision count.
 */

import type { ConfigurationState, StateEntry } from "../../../control/state.ts";
import { slices } from "../../../lib/slices.ts";
import { usesOf } from "../../../model/references.ts";
import {
  isObject,
  type JsonObject,
  type ModelContext,
  type ResourceType,
} from "../../../model/resource-type.ts";
import type { WriteState } from "../write-plan.ts";
import type { BatchWrite } from "./request.ts";

export class BatchOverlay implements WriteState {
  readonly types: WriteState["types"];
  /** Key of the resource that is being decided about. */
  current = "";
  readonly #state: ConfigurationState;
  readonly #writes = new Map<string, BatchWrite>();
  /** "consumers" and "credentials/jack" → what the batch brings of them. */
  readonly #puts = new Map<string, BatchWrite[]>();
  /** Plugin, field and value of a consumer's key → who brings it. */
  readonly #consumerKeys = new Map<string, { key: string; username: string }[]>();
  /** "upstreams/1" → who refers to it. */
  readonly #uses = new Map<string, { write: BatchWrite; isInPlugin: boolean }>();

  static async of(state: ConfigurationState, writes: readonly BatchWrite[]): Promise<BatchOverlay> {
    const overlay = new BatchOverlay(state);
    const breathe = slices();
    for (const write of writes) {
      overlay.#add(write);
      await breathe();
    }
    return overlay;
  }

  private constructor(state: ConfigurationState) {
    this.#state = state;
    this.types = state.types;
  }

  get(plural: string, id: string, parent: string | null = null): StateEntry | undefined {
    const entry = this.#state.get(plural, id, parent);
    const write = this.#writeOf(plural, id, parent);
    if (write === undefined || write.key === this.current) return entry;
    if (write.value === null) return undefined;
    return entry ?? comingEntry(write);
  }

  context(key: string | null, parent: string | null): ModelContext {
    const now = this.#state.context(key, parent);
    return {
      ...now,
      get: (plural, id) => {
        const write = this.#writeOf(plural, id, null);
        return write === undefined ? now.get!(plural, id) : (write.value ?? undefined);
      },
      list: (plural) => this.#list(plural, parent, now),
      consumerWithKey: (plugin, field, value) => this.#ownerOf(plugin, field, value, key),
    };
  }

  /** Who will still refer to this one; null: nobody. */
  userOf(plural: string, id: string): { entry: StateEntry; isInPlugin: boolean } | null {
    const coming = this.#uses.get(`${plural}/${id}`);
    if (coming !== undefined) return { entry: comingEntry(coming.write), isInPlugin: coming.isInPlugin };
    for (const user of this.#state.usersOf(plural, id)) {
      if (!this.#writes.has(user.entry.key) && !this.#goesWithParent(user.entry)) return user;
    }
    return null;
  }

  *childrenOf(plural: string, id: string): IterableIterator<StateEntry> {
    for (const child of this.#state.childrenOf(plural, id)) if (!this.#writes.has(child.key)) yield child;
  }

  plain(entry: StateEntry): JsonObject | undefined {
    return this.#state.plain(entry);
  }

  protect(type: ResourceType, value: JsonObject): JsonObject {
    return this.#state.protect(type, value);
  }

  revealPrivateKeys(type: ResourceType, value: JsonObject): void {
    this.#state.revealPrivateKeys(type, value);
  }

  #add(write: BatchWrite): void {
    const { target, key, value } = write;
    this.#writes.set(key, write);
    if (value === null) return;
    const group = target.parent === null ? target.type.plural : `${target.type.plural}/${target.parent}`;
    const puts = this.#puts.get(group);
    if (puts === undefined) this.#puts.set(group, [write]);
    else puts.push(write);
    for (const { to, id, pointer } of usesOf(target.type, value)) {
      this.#uses.set(`${to}/${id}`, { write, isInPlugin: pointer.startsWith("/plugins/") });
    }
    const username = target.type.plural === "consumers" ? target.id : target.parent;
    if (username !== null) this.#addConsumerKeys(key, username, value);
  }

  #addConsumerKeys(key: string, username: string, value: JsonObject): void {
    for (const name of keyNames(value)) {
      const owners = this.#consumerKeys.get(name);
      if (owners === undefined) this.#consumerKeys.set(name, [{ key, username }]);
      else owners.push({ key, username });
    }
  }

  #ownerOf(plugin: string, field: string, value: string, exceptKey: string | null): string | undefined {
    const name = keyName(plugin, field, value);
    const coming = this.#consumerKeys.get(name)?.find(({ key }) => key !== exceptKey);
    if (coming !== undefined) return coming.username;
    const owner = this.#state.context(exceptKey, null).consumerWithKey!(plugin, field, value);
    return owner !== undefined && this.#keeps(owner, name) ? owner : undefined;
  }

  /** Whether what the batch leaves of a consumer has this key. */
  #keeps(username: string, name: string): boolean {
    const consumer = this.#state.get("consumers", username);
    const entries = [...this.#state.childrenOf("consumers", username)];
    if (consumer !== undefined) entries.push(consumer);
    return entries.some((entry) => {
      if (this.#writes.has(entry.key) || this.#goesWithParent(entry)) return false;
      return keyNames(this.#state.plain(entry) ?? {}).includes(name);
    });
  }

  *#list(
    plural: string,
    parent: string | null,
    now: ModelContext,
  ): IterableIterator<readonly [string, JsonObject]> {
    for (const item of now.list!(plural)) {
      const write = this.#writeOf(plural, item[0], parent);
      if (write === undefined) yield item;
    }
    for (const { target, value } of this.#puts.get(parent === null ? plural : `${plural}/${parent}`) ?? []) {
      yield [target.id, value!];
    }
  }

  /** Its parent is deleted, and with it this one. */
  #goesWithParent({ type, parent }: StateEntry): boolean {
    return parent !== null && this.#writes.get(`/${type.parent}/${parent}`)?.value === null;
  }

  #writeOf(plural: string, id: string, parent: string | null): BatchWrite | undefined {
    const type = this.types.get(plural);
    const key = parent === null ? `/${plural}/${id}` : `/${type?.parent}/${parent}/${plural}/${id}`;
    return this.#writes.get(key);
  }
}

/** Of a resource that is not there yet; revision 0 says so to the store. */
function comingEntry({ target, key, value }: BatchWrite): StateEntry {
  return {
    type: target.type,
    id: target.id,
    parent: target.parent,
    key,
    text: JSON.stringify(value),
    isProtected: false,
    isClosed: false,
    createRevision: 0,
    modRevision: 0,
    published: null,
    fault: null,
  };
}

function keyNames(value: JsonObject): string[] {
  const names: string[] = [];
  const plugins = isObject(value["plugins"]) ? value["plugins"] : {};
  for (const [plugin, config] of Object.entries(plugins)) {
    if (!isObject(config)) continue;
    for (const [field, text] of Object.entries(config)) {
      if (typeof text === "string") names.push(keyName(plugin, field, text));
    }
  }
  return names;
}

function keyName(plugin: string, field: string, value: string): string {
  return `${plugin}\0${field}\0${value}`;
}
