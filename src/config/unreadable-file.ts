/** Files that the configuration names are read when they are needed, which may be late: what is wrong is told at once. */

import { accessSync, constants } from "node:fs";

/** Null: the file can be read; else a sentence for a warning. `key`: where the configuration names it. */
export function unreadableFile(key: string, path: string | null): string | null {
  if (path === null) return null;
  try {
    accessSync(path, constants.R_OK);
    return null;
  } catch (error) {
    return `${key}: the file ${path} cannot be read now (${(error as NodeJS.ErrnoException).code ?? String(error)})`;
  }
}
