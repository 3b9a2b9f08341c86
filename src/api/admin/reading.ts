/**
 * Reads of the Admin API: one resource, or a list with filters and pages.
 *
 * Stored values are passed on as the text they are; they are parsed only to be filtered. Long lists are
 * written in slices.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { ConfigurationState, StateEntry } from "../../control/state.ts";
import { compilePattern, type Pattern, PatternError } from "../../lib/pattern.ts";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { type Answer, AnswerError, KEY_NOT_FOUND, plainText, refuse, refuseScope } from "./answer.ts";
import { lastOf, type Query } from "./query.ts";
import type { KeyScope } from "./scope.ts";
import type { Target } from "./target.ts";

/** Prefix of keys in answers, as they stand in APISIX's etcd. */
export const KEY_PREFIX = "/apisix";

const SLICE_ENTRIES = 500;
const LEAST_PAGE = 10;
const LARGEST_PAGE = 500;
/** Fields that `filter` may name; others are ignored, as in APISIX. */
const FILTER_FIELDS: Readonly<Record<string, readonly string[]>> = {
  routes: ["service_id", "upstream_id"],
  stream_routes: ["service_id", "upstream_id"],
};
/** Never shown: private keys. */
const HIDDEN_FIELDS: Readonly<Record<string, readonly string[]>> = { ssls: ["key", "keys"] };

export async function readTarget(
  target: Target,
  state: ConfigurationState,
  query: Query,
  scope: KeyScope | null,
): Promise<Answer> {
  if (target.id !== null) {
    const entry = state.get(target.type.plural, target.id, target.parent);
    const reason = entry === undefined || scope === null ? null : refusalOf(scope, entry);
    if (reason !== null) return refuseScope(reason);
    return entry === undefined
      ? KEY_NOT_FOUND
      : {
          status: 200,
          body: `${entryText(entry, state)}\n`,
          isText: true,
          headers: { etag: `"${entry.modRevision}"` },
        };
  }
  const all = [...state.list(target.type.plural, target.parent)];
  const entries = scope === null ? all : await within(scope, all);
  // APISIX has no placeholder for sub-resources: their empty list is a missing key.
  if (target.parent !== null && entries.length === 0) return KEY_NOT_FOUND;
  const chosen = await filterEntries(entries, target, query);
  const page = pageOf(chosen, query);
  if (page.length > SLICE_ENTRIES) return { status: 200, pieces: listPieces(page, chosen.length, state) };
  const text = [...listPieces(page, chosen.length, state)].join("");
  return { status: 200, body: text, isText: true };
}

function* listPieces(
  page: readonly StateEntry[],
  total: number,
  state: ConfigurationState,
): Generator<string, void, void> {
  let before = `{"list":[`;
  for (const entry of page) {
    yield before + entryText(entry, state);
    before = ",";
  }
  yield `${page.length === 0 ? before : ""}],"total":${total}}\n`;
}

/** Those that a limited key may see. */
async function within(scope: KeyScope, entries: readonly StateEntry[]): Promise<StateEntry[]> {
  const seen: StateEntry[] = [];
  for (let i = 0; i < entries.length; i++) {
    if (i % SLICE_ENTRIES === SLICE_ENTRIES - 1) await nextTurn();
    if (refusalOf(scope, entries[i]) === null) seen.push(entries[i]);
  }
  return seen;
}

function refusalOf(scope: KeyScope, entry: StateEntry): string | null {
  return scope.refusalOf(entry.type, parse(entry.text) ?? {});
}

/** One resource as JSON text, with plain fields. */
function entryText(entry: StateEntry, state: ConfigurationState): string {
  const key = JSON.stringify(KEY_PREFIX + entry.key);
  return `{"key":${key},"value":${shownText(entry, state)},"createdIndex":${entry.createRevision},"modifiedIndex":${entry.modRevision}}`;
}

/** The value without what is never shown. */
export function withoutHidden(plural: string, value: JsonObject): JsonObject {
  const hidden = HIDDEN_FIELDS[plural];
  if (hidden === undefined) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => !hidden.includes(name)));
}

function shownText(entry: StateEntry, state: ConfigurationState): string {
  const { type, isProtected, fault } = entry;
  if (HIDDEN_FIELDS[type.plural] === undefined && !isProtected && fault === null) return entry.text;
  const value = state.shown(type, entry.text);
  // What is in the store may be anything, if somebody else wrote it.
  if (value !== undefined) return JSON.stringify(withoutHidden(type.plural, value));
  return HIDDEN_FIELDS[type.plural] === undefined ? JSON.stringify(entry.text) : '"(not shown)"';
}

async function filterEntries(entries: StateEntry[], target: Target, query: Query): Promise<StateEntry[]> {
  const name = patternOf("name", query);
  const uri = patternOf("uri", query);
  const label = lastOf(query["label"]);
  const fields = fieldFilters(target.type.plural, lastOf(query["filter"]));
  if (name === null && uri === null && label === undefined && fields.length === 0) return entries;
  const chosen: StateEntry[] = [];
  for (let i = 0; i < entries.length; i++) {
    if (i % SLICE_ENTRIES === SLICE_ENTRIES - 1) await nextTurn();
    const value = parse(entries[i].text);
    if (value === undefined) continue;
    if (name !== null && !(typeof value["name"] === "string" && name.test(value["name"]))) continue;
    if (label !== undefined && !(isObject(value["labels"]) && Object.hasOwn(value["labels"], label)))
      continue;
    if (uri !== null && !urisOf(value).some((candidate) => uri.test(candidate))) continue;
    if (!fields.every(([field, wanted]) => field in value && String(value[field]) === wanted)) continue;
    chosen.push(entries[i]);
  }
  return chosen;
}

/** Without pages in the order of the keys, with them in that of their age. */
function pageOf(entries: StateEntry[], query: Query): StateEntry[] {
  const page = Number(lastOf(query["page"]) ?? Number.NaN);
  const size = Number(lastOf(query["page_size"]) ?? Number.NaN);
  if (Number.isNaN(page) || Number.isNaN(size)) return entries.toSorted(byKey);
  if (size < LEAST_PAGE || size > LARGEST_PAGE) {
    const message = `page_size must be between ${LEAST_PAGE} and ${LARGEST_PAGE}`;
    throw new AnswerError(plainText(400, message));
  }
  const from = (Math.max(Math.trunc(page), 1) - 1) * Math.trunc(size);
  const sorted = entries.toSorted((a, b) => a.createRevision - b.createRevision || byKey(a, b));
  return sorted.slice(from, from + Math.trunc(size));
}

function byKey(a: StateEntry, b: StateEntry): number {
  return a.key < b.key ? -1 : 1;
}

function patternOf(argument: string, query: Query): Pattern | null {
  const source = lastOf(query[argument]);
  if (source === undefined || source === "") return null;
  try {
    return compilePattern(source);
  } catch (error) {
    if (!(error instanceof PatternError) && !(error instanceof SyntaxError)) throw error;
    throw new AnswerError(refuse(400, `invalid argument ${argument}: ${error.message}`));
  }
}

function fieldFilters(plural: string, text: string | undefined): [string, string][] {
  if (text === undefined) return [];
  const allowed = FILTER_FIELDS[plural] ?? [];
  return [...new Map(new URLSearchParams(text))].filter(([field]) => allowed.includes(field));
}

function urisOf(value: JsonObject): string[] {
  const uris = Array.isArray(value["uris"]) ? (value["uris"] as unknown[]) : [];
  return [value["uri"], ...uris].filter((uri) => typeof uri === "string");
}

function parse(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
