/**
 * `POST /configs/validate`: checks a whole declarative configuration, every resource with its plugins and
 * for double ids, without a look at references. Nothing is written.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { ConfigurationState } from "../../control/state.ts";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { validateResource } from "../../model/validate.ts";
import { keyOf } from "../../store/file/document.ts";
import { type Answer, AnswerError, refuse } from "./answer.ts";

export interface Finding {
  resource_type: string;
  resource_id?: string;
  /** Position in its list, from 0. */
  index?: number;
  error: string;
}

const FINDING_LIMIT = 1000;
/** Work in one turn of the event loop. */
const SLICE_MS = 8;

/** `isWhole`: the document is one that may be put, whose items may have a `modifiedIndex`. */
export async function validateConfigs(
  document: unknown,
  state: ConfigurationState,
  isWhole: boolean,
): Promise<Answer> {
  const errors: Finding[] = [];
  for await (const finding of findingsOf(wholeDocument(document), state, isWhole)) {
    if (errors.push(finding) === FINDING_LIMIT) break;
  }
  if (errors.length === 0) return { status: 200, body: {} };
  return { status: 400, body: { error_msg: "Configuration validation failed", errors } };
}

/** Throws `AnswerError` when a body is none. */
export function wholeDocument(body: unknown): JsonObject {
  if (body === undefined) throw new AnswerError(refuse(400, "invalid request body: empty request body"));
  if (isObject(body)) return body;
  throw new AnswerError(refuse(400, "invalid request body: expected an object"));
}

/** In slices: a document may have tens of thousands of resources. */
export async function* findingsOf(
  document: JsonObject,
  state: ConfigurationState,
  isWhole: boolean,
): AsyncGenerator<Finding, void, void> {
  for (const plural of state.types.keys()) {
    const version = document[`${plural}_conf_version`];
    if (version !== undefined && typeof version !== "number") {
      const error = `${plural}_conf_version must be a number, got ${typeof version === "object" ? "table" : typeof version}`;
      yield { resource_type: plural, error };
    }
    const items = document[plural];
    if (Array.isArray(items)) yield* checkItems(plural, items, state, isWhole);
  }
}

async function* checkItems(
  plural: string,
  items: readonly unknown[],
  state: ConfigurationState,
  isWhole: boolean,
): AsyncGenerator<Finding, void, void> {
  let end = performance.now() + SLICE_MS;
  const ids = new Set<string>();
  const keys = new Set<string>();
  const context = { plugins: state.context(null, null).plugins };
  for (const [index, given] of items.entries()) {
    const item = isWhole ? withoutIndex(given) : given;
    const id = idOf(item);
    const isCredential = plural === "consumers" && id.includes("/credentials/");
    const type = state.types.get(isCredential ? "credentials" : plural)!;
    const fault =
      plural === "secrets" && !id.includes("/")
        ? `invalid secret id: ${id}`
        : validateResource(type, item, context, id === "" ? undefined : id)?.message;
    const at = { resource_type: plural, resource_id: id, index };
    if (fault !== undefined) yield { ...at, error: fault };
    if (id !== "" && ids.has(id)) {
      yield { ...at, error: `found duplicate ${idName(plural, isCredential)} ${id} in ${plural}` };
    }
    const key = isWhole && isObject(item) ? keyOf(plural, index, item) : null;
    // Two entries with other ids may be one resource: the username is what counts.
    if (key !== null && keys.has(key) && !ids.has(id)) {
      yield { ...at, error: `found duplicate ${key} in ${plural}` };
    }
    if (key !== null) keys.add(key);
    ids.add(id);
    if (performance.now() < end) continue;
    await nextTurn();
    end = performance.now() + SLICE_MS;
  }
}

/** What is no whole number stays, and is refused as an unknown field. */
function withoutIndex(item: unknown): unknown {
  if (!isObject(item) || !Number.isSafeInteger(item["modifiedIndex"])) return item;
  const { modifiedIndex: _ofTheClient, ...rest } = item;
  return rest;
}

function idName(plural: string, isCredential: boolean): string {
  if (isCredential) return "credential id";
  return plural === "consumers" ? "username" : "id";
}

function idOf(item: unknown): string {
  if (!isObject(item)) return "";
  const id = item["id"] ?? item["username"] ?? "";
  return typeof id === "string" || typeof id === "number" ? String(id) : "";
}
