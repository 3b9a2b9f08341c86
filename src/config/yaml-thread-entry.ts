/** The thread that reads one text for `yaml-thread.ts`; whoever started it ends it. */

import { parentPort, workerData } from "node:worker_threads";
import { yaml } from "../lib/yaml.ts";
import { ConfigError } from "./config-error.ts";
import { type ConfigSource, readSource } from "./source.ts";
import type { FromYamlThread, ToYamlThread, YamlJob } from "./yaml-thread.ts";

const port = parentPort!;
const job = workerData as YamlJob;

function post(message: FromYamlThread): void {
  port.postMessage(message);
}

function readAll(): ConfigSource | null {
  const { name, text, env, rules } = job;
  // No warnings: they would stand among the lines of the log.
  if (rules === null) {
    const value: unknown = yaml().parse(text, { maxAliasCount: job.maxAliases, logLevel: "error" });
    post({ type: "value", json: JSON.stringify(value) });
    return null;
  }
  const source = readSource(name, text, env, rules);
  post({ type: "value", json: JSON.stringify(source.data) });
  return source;
}

try {
  const source = readAll();
  port.on("message", ({ paths }: ToYamlThread) => {
    const places = paths.map(({ path, ofKey }) => source!.place(path, ofKey));
    post({ type: "places", places });
  });
} catch (error) {
  if (error instanceof ConfigError) post({ type: "problems", problems: error.problems });
  else post({ type: "unreadable", message: error instanceof Error ? error.message : String(error) });
}
