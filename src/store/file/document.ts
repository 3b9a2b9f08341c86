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
import { readSource, type SourceRules } from "../../config/source.ts";
import { openSource, type Place, type WantedPlace } from "../../config/yaml-thread.ts";
import { parseInSlices } from "../../lib/json-in-slices.ts";
import { slices } from "../../lib/slices.ts";
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

/** The parser takes some 0.7 s per MiB, and its memory is up to 200 times the text. */
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
  const { name, text, format, env } = input;
  if (format === "yaml") requireEndMark(name, text);
  const source = readSource(name, text, env, rulesOf(format));
  if (format === "json") {
    try {
      JSON.parse(text);
    } catch {
      refuseNoJson(name, text);
    }
  }
  const reading = new Reading(source.data, input);
  for (const _ of reading.steps()) continue;
  return reading.document(reading.wanted.map(({ path, ofKey }) => source.place(path, ofKey)));
}

/**
 * The same beside other work: in slices, and a large text is read by a thread of its own. Throws the reason of `signal`
 * when that ends it.
 */
export async function readDocumentAside(input: DocumentInput, signal: AbortSignal): Promise<FileDocument> {
  const { name, text, format, env } = input;
  if (format === "yaml") requireEndMark(name, text);
  const source = await openSource(name, text, env, rulesOf(format), signal);
  try {
    if (format === "json") await parseInSlices(text).catch(() => refuseNoJson(name, text));
    const reading = new Reading(source.data, input);
    const breathe = slices();
    for (const _ of reading.steps()) await breathe();
    signal.throwIfAborted();
    return reading.document(await source.places(reading.wanted));
  } finally {
    await source.end();
  }
}

function rulesOf(format: FileFormat): SourceRules {
  // JSON has no text without quotes.
  const quotesKeepText = format === "yaml";
  return { maxBytes: LONGEST_FILE_BYTES, maxAliases: MAX_ALIASES, quotesKeepText };
}

/** A file that is being written must not pass for a shorter one. */
function requireEndMark(name: string, text: string): void {
  if (END_MARK.test(text.slice(-END_LENGTH))) return;
  refuse(name, "the file does not end with #END: it is not complete, or is being written");
}

/** The other reader knows the places of mistakes, and takes YAML and an empty file as well. */
function refuseNoJson(name: string, text: string): never {
  // The engine's message quotes the file, which may hold secrets.
  refuse(name, text.trim() === "" ? "the file is empty" : "the file is YAML, expected JSON");
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

/** A mistake, which stands where `wanted` says at the same index. */
interface Mistake {
  key: string;
  message: string;
}

class Reading {
  /** Places of all mistakes. */
  readonly wanted: WantedPlace[] = [];
  readonly #input: DocumentInput;
  readonly #data: Record<string, unknown>;
  readonly #mistakes: Mistake[] = [];
  readonly #found = new Map<string, FoundItem>();
  readonly #items: FileItem[] = [];
  readonly #warnings: string[] = [];
  /** No mistake is one of the file as a whole; where there is one, resources are not checked. */
  #isUsable = false;

  constructor(data: Record<string, unknown>, input: DocumentInput) {
    this.#data = data;
    this.#input = input;
  }

  /** All of the work, with a pause after each resource. */
  *steps(): Generator<undefined, void, void> {
    for (const [name, list] of Object.entries(this.#data)) {
      if (LISTS.has(name)) yield* this.#readList(name, list);
      else if (WITHOUT_EFFECT.has(name)) {
        this.#warnings.push(`${name} has no effect: the plugins of a node stand in its config.yaml`);
      } else if (!isVersion(name)) this.#refuseName(name);
    }
    this.#isUsable = this.#mistakes.length === 0;
    if (this.#isUsable) yield* this.#checkItems();
  }

  /** `places`: those that are wanted. Throws `ConfigError` when the file as a whole cannot be used. */
  document(places: readonly Place[]): FileDocument {
    const problems = this.#mistakes.map((mistake, i): ConfigProblem => ({ ...places[i], ...mistake }));
    if (!this.#isUsable) throw new ConfigError(this.#input.name, problems);
    const faults = new Map(problems.map((problem) => [problem.key, problem]));
    return { items: this.#items, faults, warnings: this.#warnings };
  }

  *#readList(plural: string, list: unknown): Generator<undefined, void, void> {
    if (list === null) return;
    if (!Array.isArray(list)) {
      this.#add([plural], plural, "expected a list of resources");
      return;
    }
    for (const [index, item] of list.entries()) {
      yield;
      if (isObject(item)) this.#readItem(plural, index, item);
      else this.#add([plural, index], `${plural}[${index}]`, "expected a map, the resource");
    }
  }

  #readItem(plural: string, index: number, item: JsonObject): void {
    const { modifiedIndex: _ofAnotherMode, ...value } = item;
    if (this.#input.format === "yaml" && isObject(value["plugins"]))
      value["plugins"] = filled(value["plugins"]);
    const key = keyOf(plural, index, value);
    if (this.#found.has(key)) {
      this.#add([plural, index], key, "the resource is given twice, expected an id of its own");
      return;
    }
    this.#found.set(key, { value, plural, index });
  }

  /** When all are known, since they refer to each other in any order. */
  *#checkItems(): Generator<undefined, void, void> {
    const get = (key: string) => this.#found.get(key)?.value;
    for (const [key, { value, plural, index }] of this.#found) {
      yield;
      const fault = this.#input.check(key, value, get);
      if (fault !== null) this.#add([plural, index, ...stepsOf(fault.pointer)], key, fault.message);
      this.#items.push({ key, value: JSON.stringify(value), position: index + 1 });
    }
  }

  #refuseName(name: string): void {
    const known = [...LISTS];
    const similar = nearest(name, known);
    const hint = similar === null ? `expected one of ${known.join(", ")}` : `did you mean ${similar}?`;
    this.#add([name], name, `unknown type of resource; ${hint}`, true);
  }

  #add(path: readonly (string | number)[], key: string, message: string, ofKey = false): void {
    this.wanted.push({ path, ofKey });
    this.#mistakes.push({ key, message });
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
