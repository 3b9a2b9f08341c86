/**
 * Resources in a file: read as those of file mode, each with an id of its own; and written so that they read the same.
 */

import { readFileSync } from "node:fs";
import { stringify } from "yaml";
import { ConfigError, problemText } from "../config/config-error.ts";
import { RESOURCE_NAMES } from "../model/resource-names.ts";
import { isObject, type JsonObject } from "../model/resource-type.ts";
import { type FileDocument, type FileFormat, readDocument } from "../store/file/document.ts";
import { CommandError } from "./terminal.ts";

/** Lists of resources by type, as they stand in a file. */
export type ResourceLists = Record<string, JsonObject[]>;

export interface FileWrite {
  key: string;
  value: JsonObject;
}

/** A refusal of a resource, and where in it. */
export interface Refusal {
  key: string;
  message: string;
  /** JSON pointer. */
  pointer: string;
}

const END_MARK = /#END\s*$/;
const SERVER_SET = new Set(["create_time", "update_time"]);
const CREDENTIAL_KEY = /^\/consumers\/([^/]+)\/credentials\/([^/]+)$/;
const LINE_WIDTH = 120;

export class ResourceFile {
  readonly warnings: readonly string[];
  readonly writes: FileWrite[];
  readonly #name: string;
  readonly #text: string;
  readonly #format: FileFormat;
  readonly #env: NodeJS.ProcessEnv;

  /** "-" is the standard input. Throws `ConfigError` or `CommandError`. */
  constructor(name: string, env: NodeJS.ProcessEnv) {
    const text = readText(name);
    this.#name = name;
    this.#format =
      name.endsWith(".json") || (name === "-" && text.trimStart().startsWith("{")) ? "json" : "yaml";
    // The mark keeps a node from a file that is being written; who runs a command knows that it is complete.
    this.#text = this.#format === "json" || END_MARK.test(text) ? text : `${text}\n#END\n`;
    this.#env = env;
    const { items, faults, warnings } = this.#read(new Map());
    if (faults.size > 0) this.#fail(faults);
    this.warnings = warnings;
    this.writes = items.map(({ key, value }) => ({
      key,
      value: withoutFileFields(key, JSON.parse(value) as JsonObject),
    }));
  }

  /** Types that the file has a list of, also an empty one. */
  get types(): string[] {
    const named = new Set(topLevelNames(this.#text, this.#format));
    if (named.has("consumers")) named.add("credentials");
    return RESOURCE_NAMES.filter((name) => named.has(name));
  }

  /** One line for each refusal, with its place in the file. */
  located(refusals: readonly Refusal[]): string {
    const { faults } = this.#read(new Map(refusals.map((refusal) => [refusal.key, refusal])));
    const lines = [...faults.values()].map((fault) => problemText(this.#name, fault));
    const others = refusals
      .filter(({ key }) => !faults.has(key))
      .map(({ key, message }) => `${key}: ${message}`);
    return [...lines, ...others].join("\n");
  }

  #read(refusals: ReadonlyMap<string, Refusal>): FileDocument {
    return readDocument({
      name: this.#name,
      text: this.#text,
      format: this.#format,
      env: this.#env,
      check: (key, value) =>
        refusals.get(key) ?? (isNamed(key, value) ? null : { message: "expected an id", pointer: "" }),
    });
  }

  #fail(faults: FileDocument["faults"]): never {
    throw new ConfigError(this.#name, [...faults.values()]);
  }
}

/** In file mode the place in the list may stand for an id; here a line more would move all that follow. */
function isNamed(key: string, { id, username }: JsonObject): boolean {
  return id !== undefined || (username !== undefined && key.startsWith("/consumers/"));
}

function readText(name: string): string {
  try {
    return readFileSync(name === "-" ? 0 : name, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${name} cannot be read: ${reason}`);
  }
}

function topLevelNames(text: string, format: FileFormat): string[] {
  if (format === "json") return Object.keys(JSON.parse(text) as object);
  return [...text.matchAll(/^(?:"(\w+)"|'(\w+)'|(\w+))[ \t]*:/gm)].map(([, a, b, c]) => a ?? b ?? c);
}

/** The id that a credential has in a file says whose it is, which its key says already. */
function withoutFileFields(key: string, value: JsonObject): JsonObject {
  const { id, ...rest } = withoutTimes(value);
  return id === undefined || CREDENTIAL_KEY.test(key) ? rest : { id, ...rest };
}

function withoutTimes(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !SERVER_SET.has(name)));
}

/** Files a resource under its type, with what the file needs to know it by. */
export function addToLists(lists: ResourceLists, key: string, value: JsonObject): void {
  const { id: _id, username: _name, ...rest } = withoutTimes(value);
  const credential = CREDENTIAL_KEY.exec(key);
  const [, plural, ...steps] = key.split("/");
  const list = (lists[plural] ??= []);
  if (credential !== null) list.push({ id: `${credential[1]}/credentials/${credential[2]}`, ...rest });
  else if (plural === "consumers") list.push({ username: steps[0], ...rest });
  else list.push({ id: steps.join("/"), ...rest });
}

/** The text of a file with these resources. */
export function fileText(lists: ResourceLists, format: FileFormat): string {
  const filled = Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
  if (format === "json") return `${JSON.stringify(filled, null, 2)}\n`;
  // Texts that YAML 1.1 takes for something else are quoted: readers of such files follow it.
  const text =
    Object.keys(filled).length === 0
      ? ""
      : stringify(filled, { version: "1.1", lineWidth: LINE_WIDTH, aliasDuplicateObjects: false });
  return `${text}#END\n`;
}

/** Whether some text would be taken for a variable of the environment when the file is read. */
export function namesVariables(value: unknown): boolean {
  if (typeof value === "string") return value.includes("${{");
  if (Array.isArray(value)) return value.some(namesVariables);
  return (
    isObject(value) &&
    Object.entries(value).some(([name, inner]) => name.includes("${{") || namesVariables(inner))
  );
}
