/**
 * What a write of the Admin API means for the store: decided upon the configuration as it is, or as a batch leaves it, and
 * not yet written.
 *
 * A decision names what it was made upon (the resource itself, and those that it refers to), so that the write can be a
 * compare-and-swap on all of it. What is refused is thrown as `AnswerError`.
 */

import type { StoreFeed } from "../../control/feed.ts";
import { keyOf } from "../../control/keys.ts";
import type { OwnListeners } from "../../control/own-listeners.ts";
import type { ConfigurationState, StateEntry } from "../../control/state.ts";
import { checkJsonLimits } from "../../model/json-limits.ts";
import { InvalidSubPathError, mergePatch, patchAt } from "../../model/merge-patch.ts";
import { referencesOf } from "../../model/references.ts";
import {
  idText,
  isObject,
  type JsonObject,
  refused,
  type ValidationError,
} from "../../model/resource-type.ts";
import { validateResource } from "../../model/validate.ts";
import type { StoreWrite } from "../../store/contract.ts";
import { type Answer, AnswerError, KEY_NOT_FOUND, refuse, refuseField, refuseScope } from "./answer.ts";
import { KEY_PREFIX, withoutHidden } from "./reading.ts";
import type { KeyScope } from "./scope.ts";
import type { Target } from "./target.ts";

export interface WriteRequest {
  /** RESTORE: `body` is an earlier version, plain. */
  method: "PUT" | "POST" | "PATCH" | "DELETE" | "RESTORE";
  target: Target;
  /** Undefined: the request had no body. */
  body: unknown;
  /** Seconds. */
  ttl: number | undefined;
  /** Delete although others refer to it. */
  force: boolean;
  /** Revision that the resource must have (`If-Match`); null: any existing one; undefined: no condition. */
  ifMatch: number | null | undefined;
  author: string;
  /** Limits of the key; null: none. */
  scope: KeyScope | null;
}

export type StorePut = Extract<StoreWrite, { type: "put" }>;

/** What decisions look at; a batch shows it as it will be. */
export type WriteState = Pick<
  ConfigurationState,
  "types" | "get" | "plain" | "revealPrivateKeys" | "protect" | "context" | "userOf" | "childrenOf"
>;

/** One decision: what goes to the store, on which grounds, and what is answered when it is there. */
export interface Plan {
  batch: StoreWrite[];
  /** Puts there what a deletion took. */
  undo?: StorePut[];
  expect: Record<string, number>;
  answer(revision: number): Answer;
}

/** What refers to a resource, and how. */
export type User = NonNullable<ReturnType<WriteState["userOf"]>>;

const POST_ID_DIGITS = 20;
const SERVER_SET = ["create_time", "update_time"];

export class WritePlanner {
  readonly #state: WriteState;
  readonly #feed: Pick<StoreFeed, "revision">;
  readonly #own: OwnListeners;
  readonly #now: () => number;
  #lastPostId = 0;

  constructor(state: WriteState, feed: Pick<StoreFeed, "revision">, own: OwnListeners, now = Date.now) {
    this.#state = state;
    this.#feed = feed;
    this.#own = own;
    this.#now = now;
  }

  /** What a request means, not yet written. Throws `AnswerError` for what is refused. */
  plan(request: WriteRequest): Plan {
    switch (request.method) {
      case "PUT":
        return this.#planPut(request);
      case "POST":
        return this.#planPost(request);
      case "PATCH":
        return this.#planPatch(request);
      case "RESTORE":
        return this.#planRestore(request);
      default:
        return this.#planDelete(request);
    }
  }

  #planPut(request: WriteRequest): Plan {
    const { target } = request;
    const { type, parent } = target;
    const value = this.#bodyOf(target, request.body);
    const id = this.#idOfPut(target, value);
    refuseServerSet(value);
    setParent(target, value);
    if (target.type.id.field === "id") value["id"] = target.id ?? value["id"];
    this.#validate(target, id, value);
    if (id === undefined) throw new AnswerError(refuse(400, `missing ${type.title} id`));
    this.#refuseOrphan(target);
    const previous = this.#state.get(type.plural, id, parent);
    checkCondition(request.ifMatch, previous);
    if (type.id.field === null) value["id"] = id;
    else this.#setTimes(value, previous);
    return this.#put(request, id, value, previous, previous === undefined ? 201 : 200);
  }

  #planPost(request: WriteRequest): Plan {
    const { target } = request;
    const value = this.#bodyOf(target, request.body);
    if (target.id !== null || value["id"] !== undefined) {
      throw new AnswerError(refuse(400, `wrong ${target.type.title} id, do not need it`));
    }
    refuseServerSet(value);
    setParent(target, value);
    this.#validate(target, undefined, value);
    this.#refuseOrphan(target);
    this.#lastPostId = Math.max(this.#lastPostId, this.#feed.revision) + 1;
    const id = String(this.#lastPostId).padStart(POST_ID_DIGITS, "0");
    value["id"] = id;
    this.#setTimes(value, undefined);
    return this.#put(request, id, value, undefined, 201);
  }

  #planPatch(request: WriteRequest): Plan {
    const { target, body } = request;
    const { type, parent, subPath } = target;
    if (target.id === null) {
      throw new AnswerError(
        refuse(400, type.plural === "secrets" ? "no secret id" : `missing ${type.title} id`),
      );
    }
    if (body === undefined) throw new AnswerError(refuse(400, "missing new configuration"));
    if (subPath === "" && !isObject(body)) throw new AnswerError(refuse(400, "invalid configuration"));
    const { parentField } = type;
    if (parentField !== undefined && isObject(body) && Object.hasOwn(body, parentField)) {
      throw new AnswerError(refuseField(refused(`${parentField} can not be patched`, `/${parentField}`)));
    }
    // Before the merge, which is recursive.
    const outOfBounds = checkJsonLimits(body);
    if (outOfBounds !== null) throw new AnswerError(refuseField(outOfBounds));
    const previous = this.#state.get(type.plural, target.id, parent);
    if (previous === undefined) throw new AnswerError(KEY_NOT_FOUND);
    checkCondition(request.ifMatch, previous);
    const value = this.#bodyOf(target, patched(this.#state.plain(previous), subPath, body));
    this.#idOfPut(target, value);
    if (type.id.field === "id") value["id"] = target.id;
    if (subPath !== "" || !Object.hasOwn(body as object, "update_time")) delete value["update_time"];
    this.#setTimes(value, previous);
    this.#validate(target, target.id, value);
    return this.#put(request, target.id, value, previous, 200);
  }

  /** An earlier version becomes the newest one; it must fit what is valid now. */
  #planRestore(request: WriteRequest): Plan {
    const { target } = request;
    const id = target.id!;
    const previous = this.#state.get(target.type.plural, id, target.parent);
    checkCondition(request.ifMatch, previous);
    const value = this.#bodyOf(target, request.body);
    if (target.type.id.field !== null) {
      delete value["update_time"];
      this.#setTimes(value, previous);
    }
    this.#validate(target, id, value);
    this.#refuseOrphan(target);
    return this.#put(request, id, value, previous, previous === undefined ? 201 : 200);
  }

  #planDelete(request: WriteRequest): Plan {
    const { type, id, parent } = request.target;
    if (id === null) throw new AnswerError(refuse(400, `missing ${type.title} id`));
    const previous = this.#state.get(type.plural, id, parent);
    if (previous === undefined) throw new AnswerError(KEY_NOT_FOUND);
    checkCondition(request.ifMatch, previous);
    this.#permit(request, previous, null);
    if (!request.force) this.#refuseIfUsed(request.target, id);
    const batch: StoreWrite[] = [{ type: "delete", key: previous.key }];
    for (const child of this.#state.childrenOf(type.plural, id)) {
      batch.push({ type: "delete", key: child.key });
    }
    const body = { deleted: "1", key: KEY_PREFIX + previous.key };
    const undo = [previous, ...this.#state.childrenOf(type.plural, id)].map(({ key, text }): StorePut => ({
      type: "put",
      key,
      value: text,
    }));
    const expect = { [previous.key]: previous.modRevision };
    return { batch, undo, expect, answer: () => ({ status: 200, body }) };
  }

  #put(
    request: WriteRequest,
    id: string,
    value: JsonObject,
    previous: StateEntry | undefined,
    status: number,
  ): Plan {
    const { type, parent } = request.target;
    this.#permit(request, previous, value);
    const ttl = this.#timeToLive(request, value);
    const key = keyOf(type, id, parent);
    const expect: Record<string, number> = { [key]: previous?.modRevision ?? 0 };
    for (const reference of referencesOf(type, value)) {
      const referred = this.#state.get(reference.to, reference.id);
      if (referred !== undefined) expect[referred.key] = referred.modRevision;
    }
    if (parent !== null) {
      const owner = this.#state.get(type.parent!, parent);
      if (owner !== undefined) expect[owner.key] = owner.modRevision;
    }
    const stored = this.#state.protect(type, value);
    const put: StoreWrite = { type: "put", key, value: JSON.stringify(stored) };
    if (ttl !== undefined) put.ttl = ttl;
    const body = { key: KEY_PREFIX + key, value: withoutHidden(type.plural, stored) };
    return {
      batch: [put],
      expect,
      answer: (revision) => ({ status, body, headers: { etag: `"${revision}"` } }),
    };
  }

  /** The body as an object that may be changed. */
  #bodyOf(target: Target, body: unknown): JsonObject {
    if (body === undefined || body === null) throw new AnswerError(refuse(400, "missing configurations"));
    // In Lua an empty array is an empty object, and clients may rely on it.
    if (Array.isArray(body) && body.length === 0) return {};
    if (!isObject(body) || Object.hasOwn(body, "__proto__")) {
      const error = validateResource(target.type, body, this.#state.context(null, target.parent));
      throw new AnswerError(refuseField(error ?? refused("invalid configuration: expected an object", "")));
    }
    const value = { ...body };
    this.#state.revealPrivateKeys(target.type, value);
    return value;
  }

  /** Path and body must agree. Undefined: neither names one. */
  #idOfPut(target: Target, value: JsonObject): string | undefined {
    const { type, id } = target;
    const field = type.id.field;
    const inBody = field === null ? undefined : value[field];
    const given = typeof inBody === "string" || typeof inBody === "number" ? String(inBody) : undefined;
    if (id !== null && given !== undefined && given !== id) {
      const message = field === "username" ? "wrong username" : `wrong ${type.title} id`;
      throw new AnswerError(refuseField(refused(message, `/${field}`)));
    }
    if (id === null && given === undefined && field === "id") {
      throw new AnswerError(refuse(400, `missing ${type.title} id`));
    }
    return field === "username" ? given : (id ?? given);
  }

  #validate(target: Target, id: string | undefined, value: JsonObject): void {
    const key = id === undefined ? null : keyOf(target.type, id, target.parent);
    const context = this.#state.context(key, target.parent);
    const error: ValidationError | null = validateResource(target.type, value, context, id);
    if (error !== null) throw new AnswerError(refuseField(error));
  }

  /**
   * The scope must hold for what is there, for what would be there, and for the parent of both. What would be there
   * must not lead to the node's own APIs.
   */
  #permit({ scope, target }: WriteRequest, previous: StateEntry | undefined, value: JsonObject | null): void {
    if (scope === null) return;
    const { type, parent } = target;
    const owner = parent === null ? undefined : this.#state.get(type.parent!, parent);
    const reason =
      (previous === undefined ? null : scope.refusalOf(type, this.#state.plain(previous) ?? {})) ??
      (value === null ? null : (scope.refusalOf(type, value) ?? this.#own.refusalOf(value))) ??
      (owner === undefined ? null : scope.refusalOfParent(owner.type, this.#state.plain(owner) ?? {})) ??
      this.#refusalOfTargets(scope, type, previous === undefined ? null : this.#state.plain(previous)) ??
      this.#refusalOfTargets(scope, type, value);
    if (reason !== null) throw new AnswerError(refuseScope(reason));
  }

  /** A rollout, say, changes where the requests of its route go. */
  #refusalOfTargets(
    scope: KeyScope,
    type: Target["type"],
    value: JsonObject | null | undefined,
  ): string | null {
    if (value === null || value === undefined) return null;
    for (const { to, id, reference } of referencesOf(type, value)) {
      const target = reference.isActedOn === true ? this.#state.get(to, id) : undefined;
      if (target === undefined) continue;
      const reason = scope.refusalOfParent(target.type, this.#state.plain(target) ?? {});
      if (reason !== null) return reason;
    }
    return null;
  }

  #refuseOrphan({ type, parent }: Target): void {
    if (parent === null || this.#state.get(type.parent!, parent) !== undefined) return;
    const title = this.#state.types.get(type.parent!)?.title ?? "parent";
    throw new AnswerError(refuse(404, `${title} not found`));
  }

  #setTimes(value: JsonObject, previous: StateEntry | undefined): void {
    const now = Math.floor(this.#now() / 1000);
    if (value["create_time"] === undefined) {
      // What the store holds may be anything: a write must be able to mend it.
      const before = previous === undefined ? undefined : this.#state.plain(previous)?.["create_time"];
      value["create_time"] = typeof before === "number" ? before : now;
    }
    if (value["update_time"] === undefined) value["update_time"] = now;
  }

  /** Seconds; where the resource says when it ends, that and the store agree. */
  #timeToLive({ target, ttl }: WriteRequest, value: JsonObject): number | undefined {
    const { expiryField: field } = target.type;
    if (field === undefined) return ttl;
    const now = this.#now() / 1000;
    if (ttl !== undefined) value[field] = Math.ceil(now + ttl);
    const expiry = value[field];
    if (typeof expiry !== "number") return undefined;
    if (expiry > now) return expiry - now;
    const message = `${field}: given ${expiry}, expected a time to come, in seconds since 1970; it is ${Math.floor(now)}`;
    throw new AnswerError(refuseField(refused(message, `/${field}`)));
  }

  #refuseIfUsed(target: Target, id: string): void {
    const { plural, inUse } = target.type;
    const user = inUse === null ? null : this.#state.userOf(plural, id);
    if (user !== null) throw new AnswerError(usedBy(target, user));
  }
}

/** The refusal of a deletion. */
export function usedBy({ type }: Target, { entry, isInPlugin }: User): Answer {
  const { singular } = entry.type;
  // As APISIX has it, plural in this one place.
  const name = singular === "global_rule" ? "global_rules" : singular;
  return refuse(400, type.inUse!(isInPlugin ? `plugin in ${name}` : name, entry.id));
}

/** The path says which parent; a body may repeat it. */
function setParent({ type, parent }: Target, value: JsonObject): void {
  const field = type.parentField;
  if (field === undefined || parent === null) return;
  if (value[field] !== undefined && idText(value[field]) !== parent) {
    throw new AnswerError(refuseField(refused(`wrong ${field}, it is taken from the path`, `/${field}`)));
  }
  value[field] = parent;
}

function refuseServerSet(value: JsonObject): void {
  for (const [place, holder] of [
    ["", value],
    ["upstream", value["upstream"]],
    ["plugins", value["plugins"]],
  ] as const) {
    if (!isObject(holder)) continue;
    for (const field of SERVER_SET) {
      if (!Object.hasOwn(holder, field)) continue;
      const name = place === "" ? field : `${place}.${field}`;
      const pointer = place === "" ? `/${field}` : `/${place}/${field}`;
      throw new AnswerError(refuseField(refused(`the property is forbidden:  ${name}`, pointer)));
    }
  }
}

function patched(stored: unknown, subPath: string, body: unknown): unknown {
  if (subPath === "") return mergePatch(stored, body);
  try {
    return patchAt(stored, subPath, body);
  } catch (error) {
    if (!(error instanceof InvalidSubPathError)) throw error;
    throw new AnswerError(refuse(400, error.message));
  }
}

function checkCondition(ifMatch: number | null | undefined, previous: StateEntry | undefined): void {
  if (ifMatch === undefined) return;
  if (previous !== undefined && (ifMatch === null || previous.modRevision === ifMatch)) return;
  const actual = previous === undefined ? "does not exist" : `has revision ${previous.modRevision}`;
  throw new AnswerError(refuse(412, `If-Match: given ${ifMatch ?? "*"}, but the resource ${actual}`));
}
