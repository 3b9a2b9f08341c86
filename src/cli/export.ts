/**
 * `cardea export`: what a node holds as a file that `cardea apply` and file mode read. Private keys never leave a node:
 * variables of the environment stand in their place.
 */

import { writeFileSync } from "node:fs";
import { RESOURCE_NAMES } from "../model/resource-names.ts";
import { isObject, type JsonObject } from "../model/resource-type.ts";
import { refusalText, type Connection } from "./connection.ts";
import { addToLists, fileText, namesVariables, type ResourceLists } from "./resource-file.ts";
import { CommandError, DONE, type Terminal } from "./terminal.ts";

export interface ExportOptions {
  /** Null: the standard output. */
  output: string | null;
  format: "yaml" | "json";
}

interface Listed {
  key: string;
  value: unknown;
}

/** Those that stand below others are asked for with these. */
const BELOW: ReadonlySet<string> = new Set(["credentials", "graphql_cost_decorations", "progress"]);
/** What operators do for a time is no configuration. */
const OPERATIONS: ReadonlySet<string> = new Set(["drains"]);
const NOT_FOUND = 404;
const DISABLED = 400;

export async function exportResources(
  options: ExportOptions,
  connection: Connection,
  terminal: Terminal,
): Promise<number> {
  const warn = (text: string) => terminal.stderr.write(`warning: ${text}\n`);
  const lists: ResourceLists = {};
  for (const type of RESOURCE_NAMES) {
    if (BELOW.has(type) || OPERATIONS.has(type)) continue;
    for (const { key, value } of await listOf(`/${type}`, connection)) {
      await take(key, value);
      if (type !== "consumers") continue;
      for (const credential of await listOf(`${plainKey(key)}/credentials`, connection)) {
        await take(credential.key, credential.value);
      }
    }
  }
  const text = fileText(lists, options.format);
  if (options.output === null) terminal.stdout.write(text);
  else writeFileSync(options.output, text, { mode: 0o600 });
  return DONE;

  async function take(key: string, value: unknown): Promise<void> {
    const name = plainKey(key);
    if (!isObject(value)) {
      warn(`${name} is left out: what is stored is no resource`);
      return;
    }
    if (namesVariables(value)) warn(`${name} holds \${{, which is read as a variable of the environment`);
    addToLists(lists, name, name.startsWith("/ssls/") ? withKeyVariable(name, value, warn) : value);
  }
}

async function listOf(path: string, connection: Connection): Promise<Listed[]> {
  const reply = await connection.admin({ method: "GET", path });
  // A sub-resource without any is a missing key; stream routes may be switched off.
  if (reply.status === NOT_FOUND || (reply.status === DISABLED && path === "/stream_routes")) return [];
  const { list } = (reply.body ?? {}) as { list?: Listed[] };
  if (reply.status !== 200 || !Array.isArray(list)) {
    throw new CommandError(`the node refuses: ${refusalText(reply)}`);
  }
  return list;
}

function withKeyVariable(name: string, value: JsonObject, warn: (text: string) => void): JsonObject {
  if (value["type"] === "client" && value["cert"] === undefined) return value;
  const variable = `CARDEA_KEY_OF_SSL_${name.slice("/ssls/".length).replace(/\W/g, "_")}`.toUpperCase();
  const complete: JsonObject = { ...value, key: `\${{${variable}}}` };
  const names = [variable];
  if (Array.isArray(value["certs"])) {
    const more = value["certs"].map((_certificate, i) => `${variable}_${i + 1}`);
    complete["keys"] = more.map((each) => `\${{${each}}}`);
    names.push(...more);
  }
  warn(`${name}: private keys are not exported; the file expects ${names.join(", ")} in the environment`);
  return complete;
}

function plainKey(key: string): string {
  return key.replace(/^\/apisix/, "");
}
