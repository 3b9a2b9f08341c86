/** `GET /history/{resource path}`: the versions of a resource, newest first. Not part of APISIX. */

import { keyOf } from "../../control/keys.ts";
import type { ConfigurationState } from "../../control/state.ts";
import type { Store } from "../../store/contract.ts";
import { type Answer, refuse } from "./answer.ts";
import { KEY_PREFIX, lastOf, type Query, withoutHidden } from "./reading.ts";
import type { Target } from "./target.ts";

const DEFAULT_LIMIT = 50;
const LARGEST_LIMIT = 500;

export async function historyAnswer(
  target: Target | null,
  store: Store,
  state: ConfigurationState,
  query: Query,
): Promise<Answer> {
  if (target === null || target.id === null) return refuse(404, "not found");
  const limit = Number(lastOf(query["limit"]) ?? DEFAULT_LIMIT);
  if (!(limit >= 1 && limit <= LARGEST_LIMIT)) {
    return refuse(400, `invalid argument limit: expected 1 to ${LARGEST_LIMIT}`);
  }
  const { type, id, parent } = target;
  const key = keyOf(type, id, parent);
  const entries = await store.history(key, Math.trunc(limit));
  const list = entries.map(({ revision, time, author, value }) => ({
    revision,
    time,
    author,
    value: value === null ? null : withoutHidden(type.plural, state.shown(type, value) ?? {}),
  }));
  return { status: 200, body: { key: KEY_PREFIX + key, list, total: list.length } };
}
