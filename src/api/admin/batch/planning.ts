/**
 * What a batch means: for every write whether it creates, updates, deletes or changes nothing, and all that is wrong
 * with any of them. Each write is decided by the rules of a single one, over the configuration as the batch leaves it.
 */

import type { StoreFeed } from "../../../control/feed.ts";
import type { ConfigurationState, StateEntry } from "../../../control/state.ts";
import { slices } from "../../../lib/slices.ts";
import { isTooDeep } from "../../../model/json-limits.ts";
import { isObject, type JsonObject } from "../../../model/resource-type.ts";
import { RESOURCE_TYPES } from "../../../model/resources.ts";
import type { Store, StoreWrite } from "../../../store/contract.ts";
import { type Answer, AnswerError, refuse, refuseScope } from "../answer.ts";
import type { OwnListeners } from "../../../control/own-listeners.ts";
import { KEY_PREFIX } from "../reading.ts";
import type { KeyScope } from "../scope.ts";
import { WritePlanner } from "../write-plan.ts";
import { changeOf, isSame, type PlannedChange } from "./changes.ts";
import { BatchOverlay } from "./overlay.ts";
import type { BatchRequest, BatchWrite, Prune } from "./request.ts";

export interface BatchParts {
  state: ConfigurationState;
  store: Store;
  feed: StoreFeed;
  own: OwnListeners;
  now: () => number;
  /** Whether stream routes can be written. */
  hasStreams: boolean;
}

/** A write that changes something, before and after. */
export interface DecidedWrite {
  write: BatchWrite;
  previous: StateEntry | undefined;
  /** Null: it is deleted. */
  value: JsonObject | null;
}

export interface BatchPlan {
  batch: StoreWrite[];
  expect: Record<string, number>;
  changes: PlannedChange[];
  decided: DecidedWrite[];
  unchanged: number;
}

const ERROR_LIMIT = 100;

/** Throws `AnswerError` with everything that is refused. */
export async function planBatch(
  request: BatchRequest,
  parts: BatchParts,
  author: string,
  scope: KeyScope | null,
): Promise<BatchPlan> {
  const { state } = parts;
  const writes = inOrder([...request.writes, ...(await pruned(request, state, scope))]);
  const overlay = await BatchOverlay.of(state, writes);
  const planner = new WritePlanner(overlay, parts.feed, parts.own, parts.now);
  const plan: BatchPlan = { batch: [], expect: {}, changes: [], decided: [], unchanged: 0 };
  const refusals: { key: string; answer: Answer }[] = [];
  const breathe = slices();
  for (const write of writes) {
    await breathe();
    overlay.current = write.key;
    try {
      decide(write, plan, planner, parts, author, scope);
    } catch (error) {
      if (!(error instanceof AnswerError)) throw error;
      refusals.push({ key: KEY_PREFIX + write.key, answer: error.answer });
    }
  }
  if (refusals.length > 0) throw new AnswerError(refusalOf(refusals, writes.length));
  return plan;
}

function decide(
  write: BatchWrite,
  plan: BatchPlan,
  planner: WritePlanner,
  { state, hasStreams }: BatchParts,
  author: string,
  scope: KeyScope | null,
): void {
  const { target, key, value, ifMatch } = write;
  const { type } = target;
  const outside = scope?.refusalOfType(type) ?? null;
  if (outside !== null) throw new AnswerError(refuseScope(outside));
  if (type.plural === "stream_routes" && !hasStreams) {
    throw new AnswerError(refuse(400, "stream mode is disabled, can not add stream routes"));
  }
  const previous = state.get(type.plural, target.id, target.parent);
  const revision = previous?.modRevision ?? 0;
  if (ifMatch !== undefined && ifMatch !== revision) {
    const actual = previous === undefined ? "does not exist" : `has revision ${revision}`;
    throw new AnswerError(refuse(412, `if_match: given ${ifMatch}, but the resource ${actual}`));
  }
  if (value === null && previous === undefined) {
    plan.unchanged++;
    return;
  }
  const method = value === null ? "DELETE" : "PUT";
  if (!type.methods.includes(method))
    throw new AnswerError(refuse(405, `not supported \`${method}\` method for ${type.title}`));
  const conditions = { ttl: undefined, force: false, ifMatch: undefined };
  const decision = planner.plan({ method, target, body: value ?? undefined, ...conditions, author, scope });
  const stored = decision.batch[0];
  const after = stored.type === "put" ? (state.plainText(type, stored.value) ?? null) : null;
  const before = previous === undefined ? null : walkable(state.plain(previous));
  if (before !== null && after !== null && isSame(before, after)) {
    plan.unchanged++;
    return;
  }
  plan.batch.push(...decision.batch);
  Object.assign(plan.expect, decision.expect, { [key]: revision });
  plan.decided.push({ write, previous, value: after });
  plan.changes.push(changeOf(type, key, before, after, state));
}

/** What others wrote may be no object, or too deep to be compared with anything. */
function walkable(value: JsonObject | undefined): JsonObject {
  return value === undefined || isTooDeep(value) ? {} : value;
}

/** Puts first, each type after those that it refers to; deletes the other way round. */
function inOrder(writes: BatchWrite[]): BatchWrite[] {
  const rank = new Map(RESOURCE_TYPES.map((type, i) => [type.plural, i]));
  const place = ({ target, value }: BatchWrite) => {
    const at = rank.get(target.type.plural) ?? 0;
    return value === null ? 2 * RESOURCE_TYPES.length - at : at;
  };
  return writes.sort((a, b) => place(a) - place(b));
}

/** In slices; what changes between the choice and the decision is not deleted unseen: its revision is a condition. */
async function pruned(
  { writes, prune }: BatchRequest,
  state: ConfigurationState,
  scope: KeyScope | null,
): Promise<BatchWrite[]> {
  const chosen: BatchWrite[] = [];
  if (prune === null) return chosen;
  const named = new Set(writes.map(({ key }) => key));
  const breathe = slices();
  for (const type of state.types.values()) {
    if (prune.types === null ? type.isOperation === true : !prune.types.has(type.plural)) continue;
    if (!type.methods.includes("DELETE")) continue;
    for (const entry of state.list(type.plural)) {
      await breathe();
      if (named.has(entry.key) || !carries(entry, prune, state)) continue;
      const { id, parent, key, modRevision: ifMatch } = entry;
      // Lists leave these out as well.
      if (scope !== null && scope.refusalOf(type, state.plain(entry) ?? {}) !== null) continue;
      chosen.push({ target: { type, id, parent, subPath: "" }, key, value: null, ifMatch });
    }
  }
  return chosen;
}

function carries(entry: StateEntry, { labels }: Prune, state: ConfigurationState): boolean {
  if (labels === null) return true;
  const given = state.plain(entry)?.["labels"];
  return isObject(given) && Object.entries(labels).every(([name, value]) => given[name] === value);
}

/** All refusals; the status is theirs where they agree. */
function refusalOf(refusals: readonly { key: string; answer: Answer }[], total: number): Answer {
  const [{ answer: first }] = refusals;
  const isOneStatus = refusals.every(({ answer }) => answer.status === first.status);
  const errors = refusals.slice(0, ERROR_LIMIT).map(({ key, answer }) => {
    const {
      error_msg: message,
      description,
      message: other,
    } = (answer.body ?? {}) as Record<string, unknown>;
    const error: Record<string, unknown> = { key, error_msg: message ?? other };
    if (description !== undefined) error["description"] = description;
    const pointer = answer.headers?.["x-error-pointer"];
    if (pointer !== undefined) error["pointer"] = decodeURI(pointer);
    return error;
  });
  const message = `${refusals.length} of ${total} writes are refused; nothing was changed`;
  return refuse(isOneStatus ? first.status : 400, message, { errors });
}
