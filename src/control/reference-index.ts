/**
 * Who refers to what, so that a delete knows at once whether its resource is in use, with any number of
 * others in the store.
 */

import { usesOf } from "../model/references.ts";
import type { JsonObject, ResourceType } from "../model/resource-type.ts";

export interface Use {
  /** Store key of the resource that refers. */
  key: string;
  /** The reference stands in the configuration of a plugin. */
  isInPlugin: boolean;
}

export class ReferenceIndex {
  /** "upstreams/1" → those that refer to it, by their store key. */
  readonly #uses = new Map<string, Map<string, Use>>();
  /** Store key → what it refers to. */
  readonly #targets = new Map<string, string[]>();

  /** `key` holds this value now; null: it is gone. */
  set(key: string, type: ResourceType, value: JsonObject | null): void {
    const before = this.#targets.get(key);
    const uses = value === null ? [] : usesOf(type, value);
    if (before === undefined && uses.length === 0) return;
    for (const target of before ?? []) {
      const users = this.#uses.get(target);
      users?.delete(key);
      if (users?.size === 0) this.#uses.delete(target);
    }
    for (const { to, id, pointer } of uses) {
      const target = `${to}/${id}`;
      const use = { key, isInPlugin: pointer.startsWith("/plugins/") };
      const users = this.#uses.get(target);
      if (users === undefined) this.#uses.set(target, new Map([[key, use]]));
      else users.set(key, use);
    }
    if (uses.length === 0) this.#targets.delete(key);
    else
      this.#targets.set(
        key,
        uses.map(({ to, id }) => `${to}/${id}`),
      );
  }

  /** Those that refer to this resource, in the order in which they came. */
  usesOf(plural: string, id: string): Iterable<Use> {
    return this.#uses.get(`${plural}/${id}`)?.values() ?? [];
  }
}
