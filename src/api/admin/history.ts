/**
 * The versions of a resource: their list, what differs between two, and the way back to one. Not part of APISIX.
 *
 *     GET  /history?key=/routes/1 · /history/routes/1
 *     GET  /history/diff?key=/routes/1&from=12&to=15
 *     POST /history/rollback?key=/routes/1&revision=12
 */

import { keyOf } from "../../control/keys.ts";
import type { ConfigurationState } from "../../control/state.ts";
import { isTooDeep } from "../../model/json-limits.ts";
import { isObject, type JsonObject, pointerStep } from "../../model/resource-type.ts";
import type { HistoryEntry, Store } from "../../store/contract.ts";
import { type Answer, AnswerError, refuse, refuseScope } from "./answer.ts";
import { lastOf, type Query } from "./query.ts";
import { KEY_PREFIX, withoutHidden } from "./reading.ts";
import type { KeyScope } from "./scope.ts";
import { stepsOf, type Target, targetOf } from "./target.ts";

const DEFAULT_LIMIT = 50;
/** Versions that are looked through for the one that is asked for. */
const LARGEST_LIMIT = 500;
const CHANGE_LIMIT = 1000;

export interface HistoryParts {
  store: Store;
  state: ConfigurationState;
}

/** A change in the manner of JSON Patch (RFC 6902), with the old value beside the new one. */
export interface Change {
  op: "add" | "remove" | "replace";
  path: string;
  from?: unknown;
  to?: unknown;
}

/** `steps`: the path behind "/history". Throws `AnswerError` when nothing is named, or nothing that may be seen. */
export function historyTarget(steps: readonly string[], query: Query, state: ConfigurationState): Target {
  const inQuery = lastOf(query["key"]);
  const path = inQuery?.startsWith(`${KEY_PREFIX}/`) === true ? inQuery.slice(KEY_PREFIX.length) : inQuery;
  const named = path === undefined ? steps : stepsOf(path);
  const target = named === null || named.length === 0 ? null : targetOf(named, state.types);
  if (target === null || target.id === null || target.subPath !== "") {
    throw new AnswerError(
      refuse(400, "invalid argument key: expected the key of a resource, as in /routes/1"),
    );
  }
  return target;
}

/** All versions, newest first, those outside the scope left out. */
export async function historyAnswer(
  target: Target,
  { store, state }: HistoryParts,
  query: Query,
  scope: KeyScope | null,
): Promise<Answer> {
  const limit = Number(lastOf(query["limit"]) ?? DEFAULT_LIMIT);
  if (!(limit >= 1 && limit <= LARGEST_LIMIT)) {
    return refuse(400, `invalid argument limit: expected 1 to ${LARGEST_LIMIT}`);
  }
  const entries = await store.history(storeKey(target), Math.trunc(limit));
  const list = entries
    .filter((entry) => refusalOf(target, entry, state, scope) === null)
    .map((entry) => {
      const { revision, time, author, ttl } = entry;
      // JSON leaves out what is undefined.
      return { revision, time, author, value: shownValue(target, entry), ttl };
    });
  return { status: 200, body: { key: KEY_PREFIX + storeKey(target), list, total: list.length } };
}

/** `to`: the newest version unless given; `from`: the one before `to` unless given. */
export async function diffAnswer(
  target: Target,
  { store, state }: HistoryParts,
  query: Query,
  scope: KeyScope | null,
): Promise<Answer> {
  const entries = await store.history(storeKey(target), LARGEST_LIMIT);
  const to = versionOf(entries, revisionOf(query, "to")) ?? 0;
  const from = versionOf(entries, revisionOf(query, "from")) ?? to + 1;
  const older = entries[from];
  const newer = entries[to];
  if (newer === undefined) return refuse(404, "no version is known");
  for (const entry of [older, newer]) {
    const reason = entry === undefined ? null : refusalOf(target, entry, state, scope);
    if (reason !== null) return refuseScope(reason);
  }
  const changes = differences(
    older === undefined ? null : shownValue(target, older),
    shownValue(target, newer),
  );
  const body = {
    key: KEY_PREFIX + storeKey(target),
    from: older === undefined ? null : facts(older),
    to: facts(newer),
    changes: changes.slice(0, CHANGE_LIMIT),
  };
  return { status: 200, body };
}

/** Throws `AnswerError` when the query names none. */
export function revisionToRestore(query: Query): number {
  const revision = revisionOf(query, "revision");
  if (revision !== undefined) return revision;
  throw new AnswerError(refuse(400, "invalid argument revision: expected a revision of the history"));
}

export interface RestoredVersion {
  /** Plain; null where the resource was deleted. */
  body: JsonObject | null;
  /** Seconds that it lives anew; undefined: without an end, or as the resource itself says. */
  ttl: number | undefined;
}

/** Throws `AnswerError` for what is not there, and what must not be restored. */
export async function versionToRestore(
  target: Target,
  { store, state }: HistoryParts,
  revision: number,
  scope: KeyScope | null,
): Promise<RestoredVersion> {
  const entries = await store.history(storeKey(target), LARGEST_LIMIT);
  const entry = entries[versionOf(entries, revision)!];
  const reason = refusalOf(target, entry, state, scope);
  if (reason !== null) throw new AnswerError(refuseScope(reason));
  // What nobody may write by hand (drains, the progress of rollouts) nobody may restore.
  const method = entry.value === null ? "DELETE" : "PUT";
  if (!target.type.methods.includes(method)) {
    throw new AnswerError(refuse(405, `not supported \`${method}\` method for ${target.type.title}`));
  }
  if (entry.value === null) return { body: null, ttl: undefined };
  const body = state.plainText(target.type, entry.value);
  if (body !== undefined) return { body, ttl: target.type.expiryField === undefined ? entry.ttl : undefined };
  throw new AnswerError(refuse(400, `the version of revision ${revision} is not a JSON object`));
}

function storeKey({ type, id, parent }: Target): string {
  return keyOf(type, id!, parent);
}

function facts({ revision, time, author }: HistoryEntry) {
  return { revision, time, author };
}

/** As it is stored: nobody needs the secrets of former versions, and equal ones look equal encrypted, too. */
function shownValue({ type }: Target, { value }: HistoryEntry): JsonObject | null {
  if (value === null) return null;
  return withoutHidden(type.plural, objectOf(value) ?? {});
}

/** Undefined: what others left in the store is no JSON object. */
function objectOf(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && !isTooDeep(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function refusalOf(
  target: Target,
  { value }: HistoryEntry,
  state: ConfigurationState,
  scope: KeyScope | null,
): string | null {
  if (scope === null) return null;
  if (value === null) return scope.refusalOfType(target.type);
  return scope.refusalOf(target.type, state.shown(target.type, value) ?? {});
}

function revisionOf(query: Query, argument: string): number | undefined {
  const text = lastOf(query[argument]);
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new AnswerError(refuse(400, `invalid argument ${argument}: given ${text}, expected a revision`));
}

/** Index of a revision in the history; undefined when none is asked for. */
function versionOf(entries: readonly HistoryEntry[], revision: number | undefined): number | undefined {
  if (revision === undefined) return undefined;
  const index = entries.findIndex((entry) => entry.revision === revision);
  if (index === -1) throw new AnswerError(refuse(404, `the history has no version of revision ${revision}`));
  return index;
}

/** From one JSON value to another, field by field; lists of one length item by item. */
export function differences(from: unknown, to: unknown): Change[] {
  const changes: Change[] = [];
  compare(from, to, "", changes);
  return changes;
}

function compare(from: unknown, to: unknown, path: string, changes: Change[]): void {
  if (isObject(from) && isObject(to)) {
    for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
      const at = path + pointerStep(name);
      if (!Object.hasOwn(from, name)) changes.push({ op: "add", path: at, to: to[name] });
      else if (!Object.hasOwn(to, name)) changes.push({ op: "remove", path: at, from: from[name] });
      else compare(from[name], to[name], at, changes);
    }
  } else if (Array.isArray(from) && Array.isArray(to) && from.length === to.length) {
    for (let i = 0; i < from.length; i++) compare(from[i], to[i], path + pointerStep(i), changes);
  } else if (JSON.stringify(from) !== JSON.stringify(to)) {
    if (from === null && path === "") changes.push({ op: "add", path, to });
    else if (to === null && path === "") changes.push({ op: "remove", path, from });
    else changes.push({ op: "replace", path, from, to });
  }
}
