/** The data folder, made if it is missing. Plain JavaScript: the launcher runs on Node.js 20. */

import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes the folder and what is missing above it, level by level: the recursive mkdir of Node.js never returns where the
 * system says that a folder is neither there nor to be made (/proc). Throws an Error that names the option.
 */
export function makeDataFolder(folder) {
  const missing = [];
  try {
    for (let at = folder; !isThere(at); at = dirname(at)) missing.unshift(at);
    for (const level of missing) mkdirSync(level, { mode: 0o700 });
    if (!statSync(folder).isDirectory()) throw new Error("it is a file");
  } catch (error) {
    throw new Error(
      `--data: given ${folder}, expected a folder, or a place where one can be made: ${error.message}`,
      { cause: error },
    );
  }
}

function isThere(path) {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
