/**
 * Which fields of a resource are encrypted at rest, and the way in and out: what plugins declare as `encrypted`
 * (dotted paths; text, lists and maps of text at their ends), and private keys of certificates. The store holds
 * them encrypted, everything else sees them plain. How is the cipher's business.
 *
 * A text that no key of the ring decrypts is taken for plain text, as APISIX takes it: it may be older than the
 * encryption. One that looks encrypted is reported.
 */

import { copyJson } from "./json-copy.ts";
import { isObject } from "./resource-type.ts";
import type { JsonObject, PluginCatalog, PluginRules, ResourceType } from "./resource-type.ts";

export interface FieldCipher {
  encrypt(text: string): string;
  /** Null: not made by any key of the ring. */
  decrypt(text: string): string | null;
}

type Change = (text: string, place: string) => string;

/** As private keys in PEM begin; anything else in their place is encrypted already, or a reference to a secret. */
const PEM_START = "---";

export class EncryptedFields {
  readonly #plugins: PluginCatalog;
  readonly #cipher: FieldCipher;
  readonly #encryptsPlugins: boolean;
  readonly #onUnreadable: (place: string) => void;
  readonly #steps = new WeakMap<PluginRules, readonly (readonly string[])[]>();

  /** `onUnreadable` hears of values that no key of the ring decrypts: "plugin key-auth, key". */
  constructor(
    plugins: PluginCatalog,
    cipher: FieldCipher,
    encryptsPlugins: boolean,
    onUnreadable: (place: string) => void,
  ) {
    this.#plugins = plugins;
    this.#cipher = cipher;
    this.#encryptsPlugins = encryptsPlugins;
    this.#onUnreadable = onUnreadable;
  }

  /** A copy as it is stored. */
  protect(type: ResourceType, value: JsonObject): JsonObject {
    const copy = copyJson(value);
    const encrypt = (text: string) => this.#cipher.encrypt(text);
    if (this.#encryptsPlugins) this.#changePlugins(type, copy, encrypt);
    changePrivateKeys(type, copy, (text) => (text.startsWith(PEM_START) ? encrypt(text) : text));
    return copy;
  }

  /** A copy of the metadata of a plugin in which fields that the plugin encrypts elsewhere are encrypted. */
  sealMetadata(plugin: PluginRules, value: JsonObject): JsonObject {
    const copy = copyJson(value);
    for (const steps of this.#stepsOf(plugin))
      changeAt(copy, steps, 0, (text) => this.#cipher.encrypt(text), "");
    return copy;
  }

  /** Changes a value from the store into the plain one; `withPrivateKeys` or with its plugins only. */
  reveal(type: ResourceType, value: JsonObject, withPrivateKeys: boolean): void {
    const decrypt = (text: string, place: string) => this.#decrypt(text, place);
    this.#changePlugins(type, value, decrypt);
    if (withPrivateKeys) this.revealPrivateKeys(type, value);
  }

  /** Changes private keys alone: in what a client had read and sends again. */
  revealPrivateKeys(type: ResourceType, value: JsonObject): void {
    changePrivateKeys(type, value, (text) =>
      text.startsWith(PEM_START) ? text : this.#decrypt(text, `private key of ${type.title}`),
    );
  }

  /** Whether the plugins of this value have anything to encrypt. */
  hasProtectedPlugins(type: ResourceType, value: JsonObject): boolean {
    if (type.plugins === undefined || !isObject(value["plugins"])) return false;
    for (const name in value["plugins"]) if (this.#plugins.get(name)?.encrypted !== undefined) return true;
    return false;
  }

  #decrypt(text: string, place: string): string {
    const plain = this.#cipher.decrypt(text);
    if (plain !== null) return plain;
    if (looksEncrypted(text)) this.#onUnreadable(place);
    return text;
  }

  #changePlugins(type: ResourceType, value: JsonObject, change: Change): void {
    const plugins = type.plugins === undefined ? undefined : value["plugins"];
    if (!isObject(plugins)) return;
    for (const name in plugins) {
      const plugin = this.#plugins.get(name);
      if (plugin?.encrypted === undefined || !isObject(plugins[name])) continue;
      for (const steps of this.#stepsOf(plugin)) {
        changeAt(plugins[name], steps, 0, change, `plugin ${name}, ${steps.join(".")}`);
      }
    }
  }

  #stepsOf(plugin: PluginRules): readonly (readonly string[])[] {
    let steps = this.#steps.get(plugin);
    if (steps === undefined) {
      steps = (plugin.encrypted ?? []).map((path) => path.split("."));
      this.#steps.set(plugin, steps);
    }
    return steps;
  }
}

function changePrivateKeys(type: ResourceType, value: JsonObject, change: Change): void {
  for (const path of type.privateKeys ?? []) changeAt(value, path, 0, change, "");
}

/** Follows the path, through every element of lists on the way, and changes the texts at its end. */
function changeAt(
  holder: JsonObject,
  steps: readonly string[],
  at: number,
  change: Change,
  place: string,
): void {
  const name = steps[at];
  if (!Object.hasOwn(holder, name)) return;
  const value = holder[name];
  if (at === steps.length - 1) holder[name] = changeTexts(value, change, place);
  else if (isObject(value)) changeAt(value, steps, at + 1, change, place);
  else if (Array.isArray(value)) {
    for (const item of value as unknown[]) if (isObject(item)) changeAt(item, steps, at + 1, change, place);
  }
}

function changeTexts(value: unknown, change: Change, place: string): unknown {
  if (typeof value === "string") return change(value, place);
  if (Array.isArray(value)) {
    return (value as unknown[]).map((item) => (typeof item === "string" ? change(item, place) : item));
  }
  if (!isObject(value)) return value;
  for (const key of Object.keys(value)) {
    const text = value[key];
    if (typeof text === "string") value[key] = change(text, place);
  }
  return value;
}

/** Whole blocks of 16 bytes in base64. */
function looksEncrypted(text: string): boolean {
  if (text.length < 24 || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return false;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return ((text.length / 4) * 3 - padding) % 16 === 0;
}
