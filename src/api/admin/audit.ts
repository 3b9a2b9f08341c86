/**
 * One line for every write that was tried: who, from where, what, and how it ended. Bodies and keys are never in
 * it. The lines have a log of their own, since the level of the node's log must not silence them.
 *
 * Whoever has no key cannot fill the disk with them: beyond `ANONYMOUS_LINES` in `WINDOW_MS`, refusals of strangers are
 * only counted, and a line at the end of the window tells how many. Writes with a key always have their line.
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
  /** What the path does not name. */
  subject?: AuditSubject;
}

export interface AuditSubject {
  /** Keys, "/routes/1", or "create /routes/1" where it was done. */
  resources: readonly string[];
  /** Revision that was asked for. */
  toRevision?: number;
}

const PATH_CHARACTERS = 512;
const REASON_CHARACTERS = 1024;
/** Of the resources of a batch: a line has to stay whole. */
const RESOURCES_CHARACTERS = 2048;
export const ANONYMOUS_LINES = 60;
const WINDOW_MS = 10_000;

export class AuditTrail {
  readonly #log: Log;
  readonly #onSuppressed: () => void;
  #window: NodeJS.Timeout | null = null;
  #anonymous = 0;
  #suppressed = 0;

  /** `onSuppressed` is called for each line that is not written. */
  constructor(log: Log, onSuppressed: () => void = () => {}) {
    this.#log = log;
    this.#onSuppressed = onSuppressed;
  }

  write(record: AuditRecord, answer: Answer, revision?: number): void {
    if (record.author === null && !this.#admits()) return;
    const { author, address, method, path, subject } = record;
    const line: Record<string, unknown> = {
      author,
      address,
      method,
      path: path.slice(0, PATH_CHARACTERS),
      status: answer.status,
    };
    if (revision !== undefined) line["revision"] = revision;
    if (subject !== undefined) Object.assign(line, told(subject));
    if (answer.status >= 400) line["reason"] = reasonOf(answer);
    this.#log.info("admin write", line);
  }

  /** What was only counted until now is told. */
  close(): void {
    if (this.#window !== null) clearTimeout(this.#window);
    this.#endWindow();
  }

  #admits(): boolean {
    this.#window ??= setTimeout(() => this.#endWindow(), WINDOW_MS).unref();
    this.#anonymous++;
    if (this.#anonymous <= ANONYMOUS_LINES) return true;
    this.#suppressed++;
    this.#onSuppressed();
    return false;
  }

  #endWindow(): void {
    this.#window = null;
    this.#anonymous = 0;
    if (this.#suppressed === 0) return;
    this.#log.info("admin writes without a key", { author: null, suppressed: this.#suppressed });
    this.#suppressed = 0;
  }
}

/** As many as fit, and how many there are. */
function told({ resources, toRevision }: AuditSubject): object {
  let characters = 0;
  const named = resources.findIndex((name) => {
    characters += name.length + 3;
    return characters > RESOURCES_CHARACTERS;
  });
  return {
    resources: named === -1 ? resources : resources.slice(0, named),
    ...(named !== -1 && { resources_total: resources.length }),
    ...(toRevision !== undefined && { to_revision: toRevision }),
  };
}

/** What says 400 may repeat a part of the body, which may be a secret: only the place of the fault is told. */
function reasonOf(answer: Answer): string {
  if (answer.status === 400) return `not valid: ${answer.headers?.["x-error-pointer"] ?? "the request"}`;
  const { error_msg: message, description } = (answer.body ?? {}) as Record<string, unknown>;
  const parts = [message, description].filter((part) => typeof part === "string");
  return parts.join(": ").slice(0, REASON_CHARACTERS);
}
