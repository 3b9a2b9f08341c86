/**
 * Lets the published revision grow over restarts of the node: each start takes a range of its own, written
 * to a file before it is used. Where that file is missing or damaged, it goes on from the present time in
 * milliseconds.
 */

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { flushFolder } from "../lib/owner-file.ts";

/** Revisions that one run of a node may publish; a hundred changes a second last 115 days. */
const RANGE = 1_000_000_000;
const FILE = "published-revision";

/** The revision after which this run begins. */
export function reserveRevisions(dataFolder: string, now: () => number = Date.now): number {
  const file = join(dataFolder, FILE);
  const start = readReserved(file) ?? now();
  const aside = `${file}.new`;
  const descriptor = openSync(aside, "w", 0o600);
  writeSync(descriptor, `${start + RANGE}\n`);
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(aside, file);
  flushFolder(dataFolder);
  return start;
}

function readReserved(file: string): number | null {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    // The first start of this data folder.
    return null;
  }
  const value = Number(text);
  return /^\d{1,16}\n$/.test(text) && Number.isSafeInteger(value + RANGE) ? value : null;
}
