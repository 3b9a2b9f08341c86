/**
 * The programs that the benchmark needs beside Node.js, and what to do when one is missing.
 *
 * All of them are Debian packages; nothing is downloaded.
 */

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const PACKAGE_OF: Record<string, string> = {
  nginx: "nginx",
  wrk: "wrk",
  h2load: "nghttp2-client",
  taskset: "util-linux",
  etcd: "etcd-server",
};

/** Debian puts nginx into a folder that an ordinary user does not search. */
const EXTRA_FOLDERS = ["/usr/sbin", "/sbin"];

/** Paths of all programs by name; throws an error that says which are missing and how to install them. */
export function findTools(
  path = process.env.PATH ?? "",
  extraFolders = EXTRA_FOLDERS,
): Record<string, string> {
  const folders = [...path.split(delimiter).filter((folder) => folder !== ""), ...extraFolders];
  const found: Record<string, string> = {};
  const missing: string[] = [];
  for (const name of Object.keys(PACKAGE_OF)) {
    const file = folders.map((folder) => join(folder, name)).find(isExecutable);
    if (file === undefined) missing.push(name);
    else found[name] = file;
  }
  if (missing.length > 0) {
    const packages = missing.map((name) => PACKAGE_OF[name]).join(" ");
    throw new Error(
      `missing: ${missing.join(", ")}. On Debian or Ubuntu: apt-get install --no-install-recommends ${packages}`,
    );
  }
  return found;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us: the next folder may have it
  }
}
