/**
 * The consumers of the node, found by the value that an authentication plugin read from a request: one index
 * per plugin and field, kept as consumers come and go.
 */

import type { ConsumerIndex, IndexedConsumer } from "../../plugin/host.ts";
import type { PluginConfigs, PublishedConsumer } from "../../model/published.ts";
import type { ItemBytes } from "../../shared/configuration-bytes.ts";

interface Indexed extends IndexedConsumer {
  readonly plugin: string;
}

interface ConsumerEntry {
  /** Grows with every change of this consumer, so that chains made with an older one are noticed. */
  version: number;
  config: PublishedConsumer;
  identities: Indexed[];
}

export class Consumers implements ConsumerIndex {
  readonly #isAuth: (plugin: string) => boolean;
  readonly #entries = new Map<string, ConsumerEntry>();
  /** "plugin\0field" → value → identity. Built when first asked for; dropped when a consumer changes its shape. */
  readonly #indexes = new Map<string, Map<string, Indexed>>();
  #versions = 0;

  constructor(isAuth: (plugin: string) => boolean) {
    this.#isAuth = isAuth;
  }

  find(plugin: string, field: string, value: string): IndexedConsumer | null {
    const key = `${plugin}\0${field}`;
    let index = this.#indexes.get(key);
    if (index === undefined) {
      index = new Map();
      for (const entry of this.#entries.values()) addToIndex(index, entry, plugin, field);
      this.#indexes.set(key, index);
    }
    return index.get(value) ?? null;
  }

  byName(username: string): IndexedConsumer | null {
    const entry = this.#entries.get(username);
    return entry === undefined ? null : { facts: factsOf(entry.config, undefined), config: {} };
  }

  /** Ordinary plugins of the consumer, its group and version; null for an unknown one. */
  pluginsOf(
    username: string,
  ): { plugins: PluginConfigs | undefined; groupId: string | undefined; version: number } | null {
    const entry = this.#entries.get(username);
    if (entry === undefined) return null;
    return { plugins: entry.config.plugins, groupId: entry.config.group_id, version: entry.version };
  }

  put(username: string, bytes: ItemBytes): void {
    this.delete(username);
    const config = bytes.parse<PublishedConsumer>();
    const entry: ConsumerEntry = { version: ++this.#versions, config, identities: this.#identities(config) };
    this.#entries.set(username, entry);
    for (const [key, index] of this.#indexes) {
      const [plugin, field] = key.split("\0") as [string, string];
      addToIndex(index, entry, plugin, field);
    }
  }

  delete(username: string): void {
    const entry = this.#entries.get(username);
    if (entry === undefined) return;
    this.#entries.delete(username);
    for (const [key, index] of this.#indexes) {
      const field = key.slice(key.indexOf("\0") + 1);
      for (const identity of entry.identities) {
        const value = identity.config[field];
        if (typeof value === "string" && index.get(value) === identity) index.delete(value);
      }
    }
  }

  #identities(config: PublishedConsumer): Indexed[] {
    const identities: Indexed[] = [];
    for (const [plugin, settings] of Object.entries(config.plugins ?? {})) {
      if (this.#isAuth(plugin))
        identities.push({ plugin, facts: factsOf(config, undefined), config: settings });
    }
    for (const credential of config.credentials ?? []) {
      for (const [plugin, settings] of Object.entries(credential.plugins)) {
        identities.push({ plugin, facts: factsOf(config, credential.id), config: settings });
      }
    }
    return identities;
  }
}

function addToIndex(index: Map<string, Indexed>, entry: ConsumerEntry, plugin: string, field: string): void {
  for (const identity of entry.identities) {
    const value = identity.config[field];
    if (identity.plugin === plugin && typeof value === "string") index.set(value, identity);
  }
}

function factsOf(config: PublishedConsumer, credentialId: string | undefined): IndexedConsumer["facts"] {
  return { username: config.username, groupId: config.group_id, credentialId, labels: config.labels };
}
