/**
 * The admin key of a node whose operator configured none: made at random at the first start, kept in the
 * data folder, readable by its owner only. No default key exists.
 */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { readOwnerFile, writeOwnerFile } from "../../lib/owner-file.ts";

const KEY_BYTES = 32;

export interface KeyFile {
  file: string;
  key: string;
  isNew: boolean;
}

/** Reads the key, or makes it. Throws when the file cannot be read or written, or holds no key. */
export function readOrMakeAdminKey(dataFolder: string): KeyFile {
  const file = join(dataFolder, "admin.key");
  const existing = readOwnerFile(file);
  if (existing !== null) {
    const key = existing.trim();
    if (key.length < 16)
      throw new Error(`${file}: given ${key.length} characters, expected a key of at least 16`);
    return { file, key, isNew: false };
  }
  const key = randomBytes(KEY_BYTES).toString("base64url");
  writeOwnerFile(file, `${key}\n`);
  return { file, key, isNew: true };
}
