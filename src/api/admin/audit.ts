/**
 * One line for every write that was tried: who, from where, what, and how it ended. Bodies and keys are never in
 * it. The lines have a log of their own, since the level of the node's log must not silence them.
 */

import type { Log } from "../../lib/log.ts";
import type { Answer } from "./answer.ts";

export interface AuditRecord {
  /** Name of the admin key; null: there was none that is known. */
  author: string | null;
  address: string;
  method: string;
  /** Path behind the prefix, as it was sent; the query, which may hold a key, is not part of it. */
  path: string;
}

const PATH_CHARACTERS = 512;
const REASON_CHARACTERS = 1024;

export function audit(log: Log, record: AuditRecord, answer: Answer, revision?: number): void {
  const { author, address, method, path } = record;
  const line: Record<string, unknown> = {
    author,
    address,
    method,
    path: path.slice(0, PATH_CHARACTERS),
    status: answer.status,
  };
  if (revision !== undefined) line["revision"] = revision;
  if (answer.status >= 400) line["reason"] = reasonOf(answer);
  log.info("admin write", line);
}

/** What says 400 may repeat a part of the body, which may be a secret: only the place of the fault is told. */
function reasonOf(answer: Answer): string {
  if (answer.status === 400) return `not valid: ${answer.headers?.["x-error-pointer"] ?? "the request"}`;
  const { error_msg: message, description } = (answer.body ?? {}) as Record<string, unknown>;
  const parts = [message, description].filter((part) => typeof part === "string");
  return parts.join(": ").slice(0, REASON_CHARACTERS);
}
