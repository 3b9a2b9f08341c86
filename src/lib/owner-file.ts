/** Small files with secrets in the data folder: readable by their owner only, whole or not at all. */

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Null: there is no such file. Throws when it cannot be read. */
export function readOwnerFile(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Written aside, flushed and renamed; durable when it returns. */
export function writeOwnerFile(file: string, text: string): void {
  const aside = `${file}.new`;
  // A rest of an interrupted write may have another mode.
  rmSync(aside, { force: true });
  const descriptor = openSync(aside, "wx", 0o600);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(aside, file);
  flushFolder(dirname(file));
}

/** So that a renaming in it, too, outlives a loss of power: what is encrypted with a key must not outlive the key. */
export function flushFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
