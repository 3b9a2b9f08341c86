/**
 * Folders for tests, gone when the process of the test file ends.
 *
 * Not with the test: its hooks (`t.after`) run in the order in which they were set. A folder is made before what works in it,
 * so it would be taken from under a node that still runs, which writes on, and the removal fails.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders: string[] = [];

/** A new one below the system's folder for such. */
export function processFolder(prefix: string): string {
  if (folders.length === 0) process.once("exit", removeAll);
  const folder = mkdtempSync(join(tmpdir(), prefix));
  folders.push(folder);
  return folder;
}

function removeAll(): void {
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    } catch {
      // Somebody writes there who should be gone: a test says so if it is one's business, this is tidying up.
    }
  }
}
