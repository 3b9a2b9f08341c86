/**
 * The declarative file of a data plane as items of a store: which key each entry has, and where in the file
 * what stands. Reads APISIX's `apisix.yaml` and `apisix.json`: a list per resource type; consumers by
 * username, their credentials among them by ids like "jack/credentials/one".
 *
 * What makes the file as a whole doubtful (syntax, the end mark, unset variables, unknown types, double ids)
 * is an error; what is wrong with one resource is a fault of that resource, and who reads decides about it.
 */

import { ConfigError, type ConfigProblem } from "../../config/config-error.ts";
import { nearest } from "../../config/nearest.ts";
import { type ConfigSource, readSource, type SourceRules } from "../../config/source.ts";
import { RESOURCE_NAMES } from "../../model/resource-names.ts";
import { isObject, type JsonObject, type ValidationError } from "../../model/resource-type.ts";

export type FileFormat = "yaml" | "json";

/** What is wrong with the value of a key ("/routes/1"); null: nothing. `get` gives the value of another key. */
export type ItemCheck = (
  key: string,
  value: JsonObject,
  get: (key: string) => JsonObject | undefined,
) => ValidationError | null;

export interface DocumentInput {
  /** Stands in messages. */
  name: string;
  text: string;
  format: FileFormat;
  env: NodeJS.ProcessEnv;
  check: ItemCheck;
}

export interface FileItem {
  key: string;
  /** JSON text. */
  value: string;
  /** From 1, in its list. */
  position: number;
}

export interface FileDocument {
  items: FileItem[];
  /** By key: one resource that is not valid. */
  faults: Map<string, ConfigProblem>;
  warnings: string[];
}

/** The parser holds the thread for some 0.7 s per MiB: a greater file would cost heartbeats. */
const LONGEST_FILE_BYTES = 4 * 1024 * 1024;
const MAX_ALIASES = 10_000;
/** Of text at the end in which the mark is looked for. */
const END_LENGTH = 100;
const END_MARK = /#END\s*$/;
const CREDENTIAL_ID = /^([^/]+)\/credentials\/([^/]+)$/;
const LISTS: ReadonlySet<string> = new Set(RESOURCE_NAMES.filter((name) => name !== "credentials"));
/** Of APISIX; the plugins of a node are chosen in its static configuration. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(["plugins", "stream_plugins"]);
const VERSION_SUFFIX = "_conf_version";

/** Throws `ConfigError` with every problem of the file as a whole. */
export function readDocument(input: DocumentInput): FileDocument {
  const { name, text, format, env, check } = input;
  if (format === "yaml") requireEndMark(name, text);
  const rules: SourceRules = {
    maxBytes: LONGEST_FILE_BYTES,
    maxAliases: MAX_ALIASES,
    // JSON has no text without quotes.
    quotesKeepText: format === "yaml",
  };
  const source = readSource(name, text, env, rules);
  if (format === "json") requireJson(name, text);
  const reading = new Reading(source, format, check);
  const document = reading.read();
  if (reading.problems.length > 0) throw new ConfigError(name, reading.problems);
  return document;
}

/** A file that is being written must not pass for a shorter one. */
function requireEndMark(name: string, text: string): void {
  if (END_MARK.test(text.slice(-END_LENGTH))) return;
  refuse(name, "the file does not end with #END: it is not complete, or is being written");
}

/** The other reader knows the places of mistakes, and takes YAML and an empty file as well. */
function requireJson(name: string, text: string): void {
  try {
    JSON.parse(text);
  } catch {
    // The engine's message quotes the file, which may hold secrets.
    refuse(name, text.trim() === "" ? "the file is empty" : "the file is YAML, expected JSON");
  }
}

function refuse(name: string, message: string): never {
  throw new ConfigError(name, [{ line: null, column: null, key: "", message }]);
}

interface FoundItem {
  value: JsonObject;
  plural: string;
  /** From 0, in its list. */
  index: number;
}

class Reading {
  readonly problems: ConfigProblem[] = [];
  readonly #source: ConfigSource;
  readonly #format: FileFormat;
  readonly #check: ItemCheck;
  readonly #found = new Map<string, FoundItem>();
  readonly #document: FileDocument = { items: [], faults: new Map(), warnings: [] };

  constructor(source: ConfigSource, format: FileFormat, check: ItemCheck) {
    this.#source = source;
    this.#format = format;
    this.#check = check;
  }

  read(): FileDocument {
    for (const [name, list] of Object.entries(this.#source.data)) {
      if (LISTS.has(name)) this.#readList(name, list);
      else if (WITHOUT_EFFECT.has(name)) {
        this.#document.warnings.push(`${name} has no effect: the plugins of a node stand in its config.yaml`);
      } else if (!isVersion(name)) this.#refuseName(name);
    }
    if (this.problems.length === 0) this.#checkItems();
    return this.#document;
  }

  #readList(plural: string, list: unknown): void {
    if (list === null) return;
    if (!Array.isArray(list)) {
      this.#add([plural], plural, "expected a list of resources");
      return;
    }
    for (const [index, item] of list.entries()) {
      if (isObject(item)) this.#readItem(plural, index, item);
      else this.#add([plural, index], `${plural}[${index}]`, "expected a map, the resource");
    }
  }

  #readItem(plural: string, index: number, item: JsonObject): void {
    const { modifiedIndex: _ofAnotherMode, ...value } = item;
    if (this.#format === "yaml" && isObject(value["plugins"])) value["plugins"] = filled(value["plugins"]);
    const key = keyOf(plural, index, value);
    if (this.#found.has(key)) {
      this.#add([plural, index], key, "the resource is given twice, expected an id of its own");
      return;
    }
    this.#found.set(key, { value, plural, index });
  }

  /** When all are known, since they refer to each other in any order. */
  #checkItems(): void {
    const get = (key: string) => this.#found.get(key)?.value;
    for (const [key, { value, plural, index }] of this.#found) {
      const fault = this.#check(key, value, get);
      if (fault !== null) {
        const place = this.#source.place([plural, index, ...stepsOf(fault.pointer)]);
        this.#document.faults.set(key, { ...place, key, message: fault.message });
      }
      this.#document.items.push({ key, value: JSON.stringify(value), position: index + 1 });
    }
  }

  #refuseName(name: string): void {
    const known = [...LISTS];
    const similar = nearest(name, known);
    const hint = similar === null ? `expected one of ${known.join(", ")}` : `did you mean ${similar}?`;
    this.#add([name], name, `unknown type of resource; ${hint}`, true);
  }

  #add(path: readonly (string | number)[], key: string, message: string, ofKey = false): void {
    this.problems.push({ ...this.#source.place(path, ofKey), key, message });
  }
}

/** Of the mode of APISIX in which the document comes through an API. */
function isVersion(name: string): boolean {
  return name.endsWith(VERSION_SUFFIX) && LISTS.has(name.slice(0, -VERSION_SUFFIX.length));
}

/** Key of an entry of a list. A resource without an id is known by its place (`index`, from 0), as in APISIX. */
export function keyOf(plural: string, index: number, { id, username }: JsonObject): string {
  if (plural === "consumers") {
    const credential = typeof id === "string" ? CREDENTIAL_ID.exec(id) : null;
    if (credential !== null) return `/consumers/${credential[1]}/credentials/${credential[2]}`;
  }
  const name = plural === "consumers" ? (username ?? id) : id;
  const isName = (typeof name === "string" && name !== "") || typeof name === "number";
  return `/${plural}/${isName ? name : `arr_${index + 1}`}`;
}

/** `key-auth:` with nothing behind it is a plugin with an empty configuration, as APISIX reads YAML. */
function filled(plugins: JsonObject): JsonObject {
  const entries = Object.entries(plugins).map(([name, config]) => [name, config ?? {}] as const);
  return Object.fromEntries(entries);
}

/** Steps of a JSON pointer (RFC 6901), numbers where lists may be meant. */
function stepsOf(pointer: string): (string | number)[] {
  if (pointer === "") return [];
  return pointer
    .slice(1)
    .split("/")
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step.replaceAll("~1", "/").replaceAll("~0", "~")));
}
