/**
 * Who owns which authentication key: every text field of the plugins of consumers and credentials, so that
 * the second owner of a key is refused at write without a look at all consumers.
 */

import { isObject, type JsonObject } from "../model/resource-type.ts";

export class ConsumerKeys {
  /** Key of the field → store keys of those that have it, mapped to their consumer. */
  readonly #owners = new Map<string, Map<string, string>>();
  readonly #fields = new Map<string, string[]>();

  /** `storeKey` now has this value; null: it is gone. */
  set(storeKey: string, username: string, value: JsonObject | null): void {
    for (const field of this.#fields.get(storeKey) ?? []) {
      const owners = this.#owners.get(field)!;
      owners.delete(storeKey);
      if (owners.size === 0) this.#owners.delete(field);
    }
    const fields = value === null ? [] : textFieldsOf(value["plugins"]);
    if (fields.length === 0) {
      this.#fields.delete(storeKey);
      return;
    }
    this.#fields.set(storeKey, fields);
    for (const field of fields) {
      const owners = this.#owners.get(field);
      if (owners === undefined) this.#owners.set(field, new Map([[storeKey, username]]));
      else owners.set(storeKey, username);
    }
  }

  /** The consumer that has it in something else than `exceptKey`, which is about to be replaced. */
  ownerOf(plugin: string, field: string, value: string, exceptKey: string | null): string | undefined {
    const owners = this.#owners.get(fieldKey(plugin, field, value));
    if (owners === undefined) return undefined;
    for (const [storeKey, username] of owners) if (storeKey !== exceptKey) return username;
    return undefined;
  }
}

function textFieldsOf(plugins: unknown): string[] {
  const fields: string[] = [];
  if (!isObject(plugins)) return fields;
  for (const [plugin, config] of Object.entries(plugins)) {
    if (!isObject(config)) continue;
    for (const [field, value] of Object.entries(config)) {
      if (typeof value === "string") fields.push(fieldKey(plugin, field, value));
    }
  }
  return fields;
}

function fieldKey(plugin: string, field: string, value: string): string {
  return `${plugin}\0${field}\0${value}`;
}
