/**
 * Many writes as one: all of them are checked together, stored in one step or not at all, and reach the workers in
 * one publication. Not part of APISIX.
 *
 * Like a single write it is a compare-and-swap on everything that it was decided upon, decided anew when another
 * write came between.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { type StoreWrite, StoreConflictError } from "../../../store/contract.ts";
import { AnswerError, refuse } from "../answer.ts";
import { KEY_PREFIX } from "../reading.ts";
import type { KeyScope } from "../scope.ts";
import type { ResourceWriter, WriteOutcome } from "../writing.ts";
import type { ImpactSource } from "./impact.ts";
import { impactOf } from "./impact.ts";
import { type BatchParts, type BatchPlan, planBatch } from "./planning.ts";
import type { BatchRequest } from "./request.ts";

export interface BatchOptions {
  /** Say what would happen, and write nothing. */
  isDryRun: boolean;
  /** Revision that the store must have (`If-Match`); undefined: no condition. */
  ifMatch: number | undefined;
  author: string;
  scope: KeyScope | null;
}

const ATTEMPTS = 10;

export class BatchWriter {
  readonly #parts: BatchParts;
  readonly #writer: Pick<ResourceWriter, "alone">;
  readonly #impact: ImpactSource;

  constructor(parts: BatchParts, writer: Pick<ResourceWriter, "alone">, impact: ImpactSource) {
    this.#parts = parts;
    this.#writer = writer;
    this.#impact = impact;
  }

  /** Throws `AnswerError` for what is refused, and what the store throws. */
  async write(request: BatchRequest, options: BatchOptions): Promise<WriteOutcome> {
    if (options.isDryRun) return await this.#describe(request, options);
    return await this.#writer.alone(() => this.#writeUntilDone(request, options));
  }

  async #describe(request: BatchRequest, options: BatchOptions): Promise<WriteOutcome> {
    const { revision } = this.#parts.feed;
    const plan = await this.#plan(request, options);
    // What a limited key may not see must not be told by its effects.
    const impact =
      options.scope === null ? await impactOf(plan.decided, this.#parts.state, this.#impact) : null;
    return { answer: answerOf(plan, revision, { dry_run: true, impact }) };
  }

  async #writeUntilDone(request: BatchRequest, options: BatchOptions): Promise<WriteOutcome> {
    const { store, feed } = this.#parts;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const expectedAt = feed.revision;
      const plan = await this.#plan(request, options);
      if (plan.batch.length === 0) return { answer: answerOf(plan, feed.revision) };
      try {
        const { expect } = plan;
        const { author, ifMatch } = options;
        // Of what goes, nobody may come to refer to it meanwhile on another node.
        const takesAway = plan.batch.some((write) => write.type === "delete");
        const unchangedSince = ifMatch ?? (takesAway ? expectedAt : undefined);
        const conditions = { expect, expectedAt, ...(unchangedSince !== undefined && { unchangedSince }) };
        const revision = await store.write(once(plan.batch), { ...conditions, author });
        await feed.whenTaken(revision);
        const resources = plan.changes.map(({ action, key }) => `${action} ${key.slice(KEY_PREFIX.length)}`);
        return { answer: answerOf(plan, revision), revision, resources };
      } catch (error) {
        if (!(error instanceof StoreConflictError)) throw error;
        await feed.whenTaken(error.actual);
        await nextTurn();
      }
    }
    return { answer: refuse(503, "value changed before overwritten") };
  }

  async #plan(request: BatchRequest, { ifMatch, author, scope }: BatchOptions): Promise<BatchPlan> {
    const { revision } = this.#parts.feed;
    if (ifMatch !== undefined && ifMatch !== revision) {
      const message = `If-Match: given ${ifMatch}, but the configuration has revision ${revision}`;
      throw new AnswerError(refuse(412, message));
    }
    return await planBatch(request, this.#parts, author, scope);
  }
}

/** What goes with its parent may be named as well. */
function once(batch: readonly StoreWrite[]): StoreWrite[] {
  return [...new Map(batch.map((write) => [write.key, write])).values()];
}

function answerOf(plan: BatchPlan, revision: number, more: object = {}): WriteOutcome["answer"] {
  const { changes, unchanged } = plan;
  return {
    status: 200,
    body: { revision, changes, unchanged, ...more },
    headers: { etag: `"${revision}"` },
  };
}
