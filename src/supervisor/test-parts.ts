/**
 * Stand-ins for the process tests: `CARDEA_TEST_PARTS` names a JSON file with a ready static configuration and
 * with the modules that run as threads. Nothing else reads the variable, and whoever can set it can
 * run any program as this user anyway.
 */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { StaticConfig } from "../config/static-config.ts";

interface TestParts {
  config?: StaticConfig;
  /** Absolute paths of modules. */
  control?: string;
  worker?: string;
  storeLink?: string;
}

export interface ThreadEntries {
  control: URL;
  worker: URL;
  storeLink: URL;
}

export function testParts(env: NodeJS.ProcessEnv = process.env): TestParts {
  const file = env["CARDEA_TEST_PARTS"];
  return file === undefined ? {} : (JSON.parse(readFileSync(file, "utf8")) as TestParts);
}

/** Modules of the threads; in an installed package they are JavaScript, as this file then is. */
export function threadEntries(parts: TestParts = testParts()): ThreadEntries {
  const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return {
    control: entry(parts.control, `../control/main.${ending}`),
    worker: entry(parts.worker, `../data/worker.${ending}`),
    storeLink: entry(parts.storeLink, `../store/etcd/link/main.${ending}`),
  };
}

function entry(standIn: string | undefined, own: string): URL {
  return standIn === undefined ? new URL(own, import.meta.url) : pathToFileURL(standIn);
}
