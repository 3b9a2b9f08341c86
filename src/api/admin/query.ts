/** What a request asks for beside its path and body: arguments of the query, and the condition in `If-Match`. */

import type { FastifyRequest } from "fastify";
import { AnswerError, refuse } from "./answer.ts";

export type Query = Readonly<Record<string, string | string[] | undefined>>;

const WAIT_SECONDS = 10;
const LONGEST_WAIT_SECONDS = 60;

export function lastOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.at(-1) : value;
}

export function ttlOf(query: Query): number | undefined {
  const text = lastOf(query["ttl"]);
  if (text === undefined) return undefined;
  const seconds = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(seconds))
    throw new AnswerError(refuse(400, "invalid argument ttl: should be a number"));
  if (seconds <= 0)
    throw new AnswerError(refuse(400, `invalid argument ttl: given ${text}, expected more than 0`));
  return seconds;
}

/** Milliseconds to wait until the write is live; 0: do not wait. `byDefault`: also where nobody asks for it. */
export function waitOf(query: Query, byDefault = false): number {
  const wait = lastOf(query["wait"]);
  if (wait === undefined && !byDefault) return 0;
  if (wait !== undefined && wait !== "live")
    throw new AnswerError(refuse(400, `invalid argument wait: given ${wait}, expected live`));
  const text = lastOf(query["wait_timeout"]) ?? String(WAIT_SECONDS);
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= LONGEST_WAIT_SECONDS)) {
    const message = `invalid argument wait_timeout: given ${text}, expected up to ${LONGEST_WAIT_SECONDS} seconds`;
    throw new AnswerError(refuse(400, message));
  }
  return seconds * 1000;
}

/** The revision in `If-Match` (RFC 9110 13.1.1), null for "*". */
export function ifMatchOf(request: FastifyRequest): number | null | undefined {
  const text = request.headers["if-match"];
  if (text === undefined) return undefined;
  if (text.trim() === "*") return null;
  const match = /^\s*(?:W\/)?"?(\d{1,15})"?\s*$/.exec(text);
  if (match === null) {
    throw new AnswerError(refuse(400, `If-Match: given ${text}, expected the modifiedIndex of the resource`));
  }
  return Number(match[1]);
}
