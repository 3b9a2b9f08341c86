/**
 * The library that reads YAML, loaded when there is YAML to read: threads that import its users and have none (control on
 * an embedded store, most of the time) keep some megabytes.
 */

import { createRequire } from "node:module";
import type * as Yaml from "yaml";

let library: typeof Yaml | null = null;

export function yaml(): typeof Yaml {
  return (library ??= createRequire(import.meta.url)("yaml") as typeof Yaml);
}
