/**
 * The API-driven mode: `GET`, `HEAD` and `PUT /configs`, with which a client keeps the whole configuration of a node
 * as one document. Statuses, headers and messages are those of APISIX. A `PUT` is valid as a whole or changes nothing.
 */

import type { StoreFeed } from "../../control/feed.ts";
import type { ConfigurationState } from "../../control/state.ts";
import { jsonPieces } from "../../lib/json-in-slices.ts";
import type { Log } from "../../lib/log.ts";
import { yamlPieces } from "../../lib/yaml-pieces.ts";
import { isObject, type JsonObject } from "../../model/resource-type.ts";
import { type ConfigsDocument, nextDocument, shownDocument, unknownKeys } from "../../store/api/document.ts";
import type { DocumentStore } from "../../store/api/store.ts";
import { type Answer, AnswerError, refuse } from "./answer.ts";
import { findingsOf, wholeDocument } from "./validate-configs.ts";

/** JSON of this size is parsed in about half a second. */
export const LONGEST_DOCUMENT_BYTES = 64 * 1024 * 1024;

export interface ConfigsParts {
  document: DocumentStore;
  state: ConfigurationState;
  feed: StoreFeed;
  log: Log;
  now?: () => number;
}

export interface ConfigsOutcome {
  answer: Answer;
  /** Of the store, when it is another one now. */
  revision?: number;
}

/** `isHidden`: who asks may not see private keys. */
export function readConfigs(
  { document: store, state }: Pick<ConfigsParts, "document" | "state">,
  accept: string | undefined,
  isHidden: boolean,
): Answer {
  const shown = shownDocument(store.document);
  const value = isHidden ? withoutPrivateKeys(shown, state.types) : shown;
  const headers = metadataOf(store.document);
  if (accept?.startsWith("application/yaml") !== true) {
    return { status: 200, pieces: withLineFeed(jsonPieces(value)), headers };
  }
  return {
    status: 200,
    pieces: yamlPieces(value),
    headers: { ...headers, "content-type": "application/yaml" },
  };
}

function* withLineFeed(pieces: Iterable<string>): Generator<string, void, void> {
  yield* pieces;
  yield "\n";
}

export function headOfConfigs(store: DocumentStore): Answer {
  return { status: 200, headers: metadataOf(store.document) };
}

/** Throws `AnswerError` for what is refused, and what the store throws. */
export async function putConfigs(
  parts: ConfigsParts,
  digest: string | undefined,
  readBody: () => Promise<unknown>,
): Promise<ConfigsOutcome> {
  if (digest === undefined) throw new AnswerError(refuse(400, "missing digest header"));
  const { document: store, state, feed, log } = parts;
  const body = wholeDocument(await readBody());
  const now = parts.now ?? Date.now;
  if (store.document?.digest === digest) return { answer: { status: 204 } };
  for await (const finding of findingsOf(body, state, true)) {
    throw new AnswerError(refuse(400, messageOf(finding.error)));
  }
  const revision = await store.replace((before) => {
    if (before?.digest === digest) return null;
    const next = nextDocument(before, body, digest, now());
    if (typeof next === "string") throw new AnswerError(refuse(400, next));
    return next;
  });
  const ignored = unknownKeys(body);
  if (ignored.length > 0)
    log.warn("keys of a document that mean nothing here", { keys: ignored.slice(0, 20) });
  if (revision === null) return { answer: { status: 204 } };
  await feed.whenTaken(revision);
  return { answer: { status: 202, headers: metadataOf(store.document) }, revision };
}

/** Of a version that is no number, the validation says more than this answer. */
function messageOf(error: string): string {
  return error.replace(/^(\w+_conf_version must be a number), got \w+$/, "$1");
}

function metadataOf(document: ConfigsDocument | null): Record<string, string> {
  if (document === null) return {};
  return { "x-last-modified": String(document.lastModified), "x-digest": document.digest };
}

function withoutPrivateKeys(shown: JsonObject, types: ConfigurationState["types"]): JsonObject {
  const value = { ...shown };
  for (const { plural, privateKeys } of types.values()) {
    const list = value[plural];
    if (privateKeys === undefined || !Array.isArray(list)) continue;
    value[plural] = list.map((item: unknown) =>
      isObject(item) ? privateKeys.reduce((rest, path) => without(rest, path), item) : item,
    );
  }
  return value;
}

/** The same but for what stands at the path. */
function without(value: JsonObject, [name, ...steps]: readonly string[]): JsonObject {
  if (!Object.hasOwn(value, name)) return value;
  const { [name]: inner, ...others } = value;
  if (steps.length === 0) return others;
  return isObject(inner) ? { ...others, [name]: without(inner, steps) } : value;
}
