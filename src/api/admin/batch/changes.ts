/**
 * What one write of a batch changes, as the answer tells it. Values that the store encrypts are never told, nor are
 * private keys: plans end up in the logs of builds.
 */

import type { ConfigurationState } from "../../../control/state.ts";
import { canonicalJson } from "../../../lib/content-hash.ts";
import { isObject, type JsonObject, type ResourceType } from "../../../model/resource-type.ts";
import { type Change, differences } from "../history.ts";
import { KEY_PREFIX, withoutHidden } from "../reading.ts";

export interface PlannedChange {
  /** As answers name it: "/apisix/routes/1". */
  key: string;
  action: "create" | "update" | "delete";
  /** Of an update. */
  changes?: Change[];
}

/** Of one resource. */
const CHANGE_LIMIT = 100;
const SECRET = "(not shown)";

/** What the server sets on its own is no change. */
export function isSame(before: JsonObject, after: JsonObject): boolean {
  return canonicalJson(withoutTimes(before)) === canonicalJson(withoutTimes(after));
}

/** `before` and `after` are plain; null: it is not there. */
export function changeOf(
  type: ResourceType,
  key: string,
  before: JsonObject | null,
  after: JsonObject | null,
  state: Pick<ConfigurationState, "protect">,
): PlannedChange {
  const shownKey = KEY_PREFIX + key;
  if (before === null) return { key: shownKey, action: "create" };
  if (after === null) return { key: shownKey, action: "delete" };
  const [was, will] = [before, after].map(withoutTimes);
  const shown = (value: JsonObject) =>
    withoutHidden(type.plural, withoutSecrets(value, state.protect(type, value)) as JsonObject);
  const [shownWas, shownWill] = [shown(was), shown(will)];
  const changes = differences(was, will)
    .slice(0, CHANGE_LIMIT)
    .map(({ op, path }) => {
      const change: Change = { op, path };
      const [from, to] = [valueAt(shownWas, path), valueAt(shownWill, path)];
      if (from !== undefined) change.from = from;
      if (to !== undefined) change.to = to;
      return change;
    });
  return { key: shownKey, action: "update", changes };
}

function withoutTimes({ create_time: _made, update_time: _changed, ...value }: JsonObject): JsonObject {
  return value;
}

/** What is stored in another form than it has is a secret. */
function withoutSecrets(plain: unknown, stored: unknown): unknown {
  if (Array.isArray(plain) && Array.isArray(stored)) {
    return plain.map((item, i) => withoutSecrets(item, stored[i]));
  }
  if (isObject(plain) && isObject(stored)) {
    const entries = Object.entries(plain).map(([name, value]) => [name, withoutSecrets(value, stored[name])]);
    return Object.fromEntries(entries) as JsonObject;
  }
  return plain === stored ? plain : SECRET;
}

/** Undefined where there is nothing. */
function valueAt(value: unknown, pointer: string): unknown {
  let found = value;
  for (const step of pointer.split("/").slice(1)) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(found)) found = found[Number(name)];
    else if (isObject(found) && Object.hasOwn(found, name)) found = found[name];
    else return undefined;
  }
  return found;
}
