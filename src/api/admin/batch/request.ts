/**
 * The body of `POST /batch`: writes by their keys, and what is to go because it is not among them.
 *
 *     {"writes": [{"key": "/routes/1", "value": {...}}, {"key": "/routes/2", "value": null, "if_match": 12}],
 *      "prune": {"types": ["routes"], "labels": {"team": "a"}}}
 */

import { isObject, type JsonObject } from "../../../model/resource-type.ts";
import { type Answer, AnswerError, refuse } from "../answer.ts";
import { KEY_PREFIX } from "../reading.ts";
import { stepsOf, type Target, targetOf } from "../target.ts";
import { keyOf, type ResourceTypes } from "../../../control/keys.ts";

export interface BatchWrite {
  target: Target & { id: string };
  /** Key of the store. */
  key: string;
  /** Null: delete it. */
  value: JsonObject | null;
  /** Revision that the resource must have; 0: it must not exist; undefined: no condition. */
  ifMatch: number | undefined;
}

/** What to delete besides: resources of these types with these labels that no write names. */
export interface Prune {
  /** Null: all types. */
  types: ReadonlySet<string> | null;
  /** Null: with any labels, or none. */
  labels: Readonly<Record<string, string>> | null;
}

export interface BatchRequest {
  writes: BatchWrite[];
  prune: Prune | null;
}

const MAX_WRITES = 20_000;
/** Of the body: more than one resource may have, and as much as a thread parses in a tenth of a second. */
export const MAX_BATCH_BYTES = 16 * 1024 * 1024;

/** Throws `AnswerError` for a body that is no batch. */
export function readBatch(body: unknown, types: ResourceTypes): BatchRequest {
  if (!isObject(body)) throw new AnswerError(bad('expected an object, as in {"writes": []}'));
  const unknown = Object.keys(body).find((name) => name !== "writes" && name !== "prune");
  if (unknown !== undefined) throw new AnswerError(bad(`unknown field ${unknown}, expected writes or prune`));
  const given = body["writes"] ?? [];
  if (!Array.isArray(given)) throw new AnswerError(bad("writes: expected a list"));
  if (given.length > MAX_WRITES) {
    throw new AnswerError(bad(`writes: given ${given.length}, expected at most ${MAX_WRITES}`));
  }
  const keys = new Set<string>();
  const writes = given.map((item: unknown, i) => {
    const write = writeOf(item, `writes[${i}]`, types);
    if (keys.has(write.key)) throw new AnswerError(bad(`writes[${i}].key: ${write.key} is given twice`));
    keys.add(write.key);
    return write;
  });
  const prune = body["prune"];
  return { writes, prune: prune === undefined || prune === null ? null : pruneOf(prune, types) };
}

function writeOf(item: unknown, place: string, types: ResourceTypes): BatchWrite {
  if (!isObject(item)) throw new AnswerError(bad(`${place}: expected an object with key and value`));
  const { key, value, if_match: ifMatch } = item;
  const target = typeof key === "string" ? targetByKey(key, types) : null;
  if (target === null) {
    throw new AnswerError(bad(`${place}.key: expected the key of a resource, as in /routes/1`));
  }
  if (value !== null && !isObject(value)) {
    throw new AnswerError(bad(`${place}.value: expected the resource, or null to delete it`));
  }
  const isRevision = Number.isSafeInteger(ifMatch) && (ifMatch as number) >= 0;
  if (ifMatch !== undefined && !isRevision) {
    throw new AnswerError(bad(`${place}.if_match: expected a modifiedIndex, or 0 for what must not exist`));
  }
  const storeKey = keyOf(target.type, target.id, target.parent);
  return { target, key: storeKey, value, ifMatch: ifMatch as number | undefined };
}

/** "/routes/1" and "/apisix/routes/1" alike. */
function targetByKey(key: string, types: ResourceTypes): BatchWrite["target"] | null {
  const steps = stepsOf(key.startsWith(`${KEY_PREFIX}/`) ? key.slice(KEY_PREFIX.length) : key);
  const target = steps === null || steps.length === 0 ? null : targetOf(steps, types);
  return target === null || target.id === null || target.subPath !== "" ? null : { ...target, id: target.id };
}

function pruneOf(prune: unknown, types: ResourceTypes): Prune {
  if (!isObject(prune)) throw new AnswerError(bad("prune: expected an object with types, labels or both"));
  const { types: names, labels } = prune;
  if (names === undefined && labels === undefined) {
    throw new AnswerError(
      bad("prune: expected types, labels or both: nothing is deleted unless it is chosen"),
    );
  }
  if (names !== undefined && !(Array.isArray(names) && names.every((name) => types.has(name as string)))) {
    throw new AnswerError(bad(`prune.types: expected a list of ${[...types.keys()].join(", ")}`));
  }
  if (labels !== undefined && !isLabels(labels)) {
    throw new AnswerError(bad('prune.labels: expected labels, as in {"team": "a"}'));
  }
  return { types: names === undefined ? null : new Set(names as string[]), labels: labels ?? null };
}

function isLabels(value: unknown): value is Record<string, string> {
  if (!isObject(value)) return false;
  const texts = Object.values(value);
  return texts.length > 0 && texts.every((text) => typeof text === "string");
}

function bad(message: string): Answer {
  return refuse(400, `invalid batch: ${message}`);
}
