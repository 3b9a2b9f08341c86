/**
 * Reads the static configuration of a node: file, environment, defaults; complete and checked, or a
 * `ConfigError` that names every mistake with its line. Without a file the defaults hold.
 */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConfigError } from "./config-error.ts";
import type { ConfigProblem } from "./config-error.ts";
import { decode, keyName } from "./decode.ts";
import { resolveConfig } from "./resolve.ts";
import type { ResolveInput } from "./resolve.ts";
import { FileSchema } from "./schema.ts";
import { readSource } from "./source.ts";
import type { ConfigSource } from "./source.ts";
import type { StaticConfig } from "./static-config.ts";

export { ConfigError } from "./config-error.ts";

export interface LoadOptions {
  /** Path of the file; absent: `config.yaml` in the data folder if it is there, else the defaults. */
  file?: string;
  dataFolder: string;
  env: NodeJS.ProcessEnv;
}

export interface LoadedConfig {
  config: StaticConfig;
  /** One line each, without a line break. */
  warnings: string[];
}

/** Throws `ConfigError`; its message has one line per problem. */
export function loadStaticConfig(options: LoadOptions): LoadedConfig {
  const inDataFolder = join(options.dataFolder, "config.yaml");
  const file = options.file ?? (existsSync(inDataFolder) ? inDataFolder : undefined);
  if (file === undefined) return parseStaticConfig("(defaults)", "", options.env);
  return parseStaticConfig(file, readText(file), options.env);
}

/** The same for a text that is already there; `name` stands in messages, other files are looked for beside it. */
export function parseStaticConfig(name: string, text: string, env: NodeJS.ProcessEnv): LoadedConfig {
  const source = readSource(name, text, env);
  const complete = decode(FileSchema, source, true);
  if (complete.problems.length > 0) throw new ConfigError(name, sorted(complete.problems));

  const problems: ConfigProblem[] = [];
  const warnings: string[] = warningsOf(source, complete.withoutEffect);
  const config = resolveConfig({
    filled: complete.value as ResolveInput["filled"],
    given: decode(FileSchema, source, false).value as ResolveInput["given"],
    env,
    folder: dirname(name),
    addProblem: (path, message) => problems.push({ ...source.place(path), key: keyName(path), message }),
    addProblemOutside: (problem) => problems.push({ line: null, column: null, ...problem }),
    addWarning: (text) => warnings.push(text),
  });
  if (problems.length > 0) throw new ConfigError(name, sorted(problems));
  return { config, warnings };
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    const message = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new ConfigError(file, [{ line: null, column: null, key: "", message }]);
  }
}

function warningsOf(source: ConfigSource, withoutEffect: readonly string[]): string[] {
  const warnings: string[] = [];
  if (withoutEffect.includes("etcd")) {
    const { line } = source.place(["etcd"], true);
    warnings.push(`etcd (line ${line}) is not used: the place of an etcd is deployment.etcd`);
  }
  const others = withoutEffect.filter((key) => key !== "etcd");
  if (others.length > 0) warnings.push(`keys of APISIX that have no effect yet: ${others.join(", ")}`);
  return warnings;
}

function sorted(problems: ConfigProblem[]): ConfigProblem[] {
  return problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}
