/**
 * The keyring: encrypts fields at rest as APISIX does, so that both read one store. AES-CBC with the key itself
 * as the initialisation vector (its first 16 bytes), base64; the first key encrypts, all are tried to decrypt. A
 * key has 16 characters (AES-128) or 32 (AES-256).
 *
 * No default key exists: without a configured one, a random one is made at the first start and kept in the data
 * folder, readable by its owner only. APISIX's published keys read, and never encrypt. Where nodes share a store, a key
 * that one of them made would be no use to the others: until they are given one, what needs encryption is refused.
 *
 * The scheme hides values, it does not authenticate them, and equal values look equal: both are APISIX's.
 */

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { join } from "node:path";
import { PUBLIC_KEYS } from "../config/well-known-keys.ts";
import type { FieldCipher } from "../model/encrypted-fields.ts";
import { readOwnerFile, writeOwnerFile } from "../lib/owner-file.ts";

/** 400: nothing of the write was stored. */
class NoKeyError extends Error {
  readonly statusCode = 400;

  constructor() {
    super(
      "a field of it is stored encrypted, and apisix.data_encryption.keyring has no secret key in the first place, " +
        "expected one (16 or 32 characters) that all nodes on this store have",
    );
  }
}

const VECTOR_BYTES = 16;
const OWN_KEY_BYTES = 24;
const FILE_NAME = "keyring";

export class Keyring implements FieldCipher {
  readonly #keys: readonly Buffer[];
  readonly #mayEncrypt: boolean;

  /** Throws when there is no key, or one has neither 16 nor 32 bytes; the message shows none. */
  constructor(keys: readonly string[], mayEncrypt = true) {
    this.#mayEncrypt = mayEncrypt;
    if (keys.length === 0) throw new Error("keyring: given no key, expected at least one");
    this.#keys = keys.map((key, i) => {
      const bytes = Buffer.from(key);
      if (bytes.length === 16 || bytes.length === 32) return bytes;
      throw new Error(`keyring: key ${i + 1} has ${bytes.length} bytes, expected 16 or 32`);
    });
  }

  encrypt(text: string): string {
    const key = this.#keys[0];
    if (!this.#mayEncrypt) throw new NoKeyError();
    const cipher = createCipheriv(algorithmOf(key), key, key.subarray(0, VECTOR_BYTES));
    return Buffer.concat([cipher.update(text, "utf8"), cipher.final()]).toString("base64");
  }

  decrypt(text: string): string | null {
    const bytes = blocksOf(text);
    if (bytes === null) return null;
    for (const key of this.#keys) {
      const plain = decryptWith(key, bytes);
      if (plain !== null) return plain;
    }
    return null;
  }
}

/**
 * The ring of a node: its configured keys, behind one of its own unless the first of them is a secret. With `isShared`
 * there is no own one: without a secret the ring only reads, APISIX's data with the keys that it has by default.
 */
export function openKeyring(dataFolder: string, configured: readonly string[], isShared: boolean): Keyring {
  if (configured.length > 0 && !PUBLIC_KEYS.has(configured[0])) return new Keyring(configured);
  if (isShared) return new Keyring(configured.length > 0 ? configured : [...PUBLIC_KEYS], false);
  return new Keyring([...ownKeys(dataFolder), ...configured]);
}

/** One key per line; the first encrypts. */
function ownKeys(dataFolder: string): string[] {
  const file = join(dataFolder, FILE_NAME);
  const text = readOwnerFile(file);
  if (text === null) {
    const key = randomBytes(OWN_KEY_BYTES).toString("base64url");
    writeOwnerFile(file, `${key}\n`);
    return [key];
  }
  const keys = text.split("\n").filter((line) => line !== "");
  if (keys.length === 0) throw new Error(`${file}: given an empty file, expected one key per line`);
  return keys;
}

function decryptWith(key: Buffer, bytes: Buffer): string | null {
  try {
    const decipher = createDecipheriv(algorithmOf(key), key, key.subarray(0, VECTOR_BYTES));
    const plain = Buffer.concat([decipher.update(bytes), decipher.final()]);
    // One wrong key in 256 leaves valid padding: what comes out must be text too.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(plain);
  } catch {
    // Not made with this key.
    return null;
  }
}

/** Null: not base64 of whole blocks. */
function blocksOf(text: string): Buffer | null {
  if (text.length < 24 || text.length % 4 !== 0) return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.length % VECTOR_BYTES === 0 && bytes.toString("base64") === text ? bytes : null;
}

function algorithmOf(key: Buffer): string {
  return key.length === 32 ? "aes-256-cbc" : "aes-128-cbc";
}
