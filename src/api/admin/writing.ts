/**
 * Writes of the Admin API: a decision (`write-plan.ts`), tried until it does not collide.
 *
 * Every write is a compare-and-swap on what it was decided upon: on the resource itself, and on those that
 * it refers to. When another write came between, it is decided anew. Deletes of what others may refer to,
 * and writes of what must differ from its like, are alone in their circle (`write-order.ts`), so that no
 * reference is left dangling and no key is given twice by two writes at the same moment on this node.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { StoreFeed } from "../../control/feed.ts";
import type { OwnListeners } from "../../control/own-listeners.ts";
import { giveWay } from "../../lib/give-way.ts";
import { type Store, StoreConflictError } from "../../store/contract.ts";
import { type Answer, refuse } from "./answer.ts";
import { WriteOrder } from "./write-order.ts";
import {
  type Plan,
  type StorePut,
  usedBy,
  type User,
  WritePlanner,
  type WriteRequest,
  type WriteState,
} from "./write-plan.ts";

export interface WriteOutcome {
  answer: Answer;
  /** Revision of the store; undefined when nothing was written. */
  revision?: number;
  /** What was written, for the audit log, where the path does not say it. */
  resources?: readonly string[];
}

const ATTEMPTS = 10;
/** Checked against all others of their kind. */
const DISTINCT_AMONG_THEMSELVES: ReadonlySet<string> = new Set([
  "consumers",
  "credentials",
  "global_rules",
  "graphql_cost_decorations",
  "rollouts",
]);
/** The deletion and what it deleted; more where others wrote between. */
const VERSIONS_AROUND_DELETION = 4;
/** Of what would have ended by now: etcd counts in whole seconds. */
const SHORTEST_LIFE_SECONDS = 1;

export class ResourceWriter {
  readonly #state: WriteState;
  readonly #store: Store;
  readonly #feed: StoreFeed;
  readonly #planner: WritePlanner;
  readonly #now: () => number;
  readonly #references = new WriteOrder();
  readonly #distinct = new WriteOrder();

  constructor(state: WriteState, store: Store, feed: StoreFeed, own: OwnListeners, now = Date.now) {
    this.#state = state;
    this.#store = store;
    this.#feed = feed;
    this.#planner = new WritePlanner(state, feed, own, now);
    this.#now = now;
  }

  /** Throws `AnswerError` for what is refused, and what the store throws. */
  async write(request: WriteRequest): Promise<WriteOutcome> {
    const { type } = request.target;
    const { method } = request;
    const run = () => this.#writeUntilDone(request);
    const inOrder = () => {
      if (method !== "DELETE") return this.#references.shared(run);
      return type.inUse === null ? run() : this.#references.exclusive(run);
    };
    return await (DISTINCT_AMONG_THEMSELVES.has(type.plural) ? this.#distinct.exclusive(inOrder) : inOrder());
  }

  /** Runs while no other write of this node is under way. */
  alone<T>(run: () => Promise<T>): Promise<T> {
    return this.#distinct.exclusive(() => this.#references.exclusive(run));
  }

  async #writeUntilDone(request: WriteRequest): Promise<WriteOutcome> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      giveWay();
      const plan = this.#planner.plan(request);
      try {
        giveWay();
        const { expect } = plan;
        const revision = await this.#store.write(plan.batch, { expect, author: request.author });
        await this.#feed.whenTaken(revision);
        giveWay();
        const user = request.force ? null : this.#overtakenBy(request, revision);
        if (user !== null) return { answer: await this.#takeBack(request, plan, revision, user) };
        return { answer: plan.answer(revision), revision };
      } catch (error) {
        if (!(error instanceof StoreConflictError)) throw error;
        await this.#feed.whenTaken(error.actual);
        await nextTurn();
      }
    }
    return { answer: refuse(503, "value changed before overwritten") };
  }

  /**
   * Who came to refer to what was deleted between the decision and the deletion: on another node, since this one holds
   * such writes apart. The state has all that was written before. What comes later is refused by its own condition.
   */
  #overtakenBy({ method, target }: WriteRequest, revision: number): User | null {
    const { plural, inUse } = target.type;
    if (method !== "DELETE" || inUse === null || target.id === null) return null;
    const user = this.#state.userOf(plural, target.id);
    return user !== null && user.entry.modRevision < revision ? user : null;
  }

  /**
   * The answer that there would have been, had the other write been known. What was to live for a time has the rest of
   * it, as the history knows it: a store that keeps none gives back for good.
   */
  async #takeBack(
    { target, author }: WriteRequest,
    { undo }: Plan,
    revision: number,
    user: User,
  ): Promise<Answer> {
    const expect = Object.fromEntries(undo!.map(({ key }) => [key, 0]));
    try {
      const batch = await Promise.all(undo!.map((put) => this.#withRestOfLife(put)));
      await this.#feed.whenTaken(await this.#store.write(batch, { expect, author }));
    } catch (error) {
      // Somebody made it anew: the reference leads somewhere, and what they wrote is newer.
      if (!(error instanceof StoreConflictError)) throw error;
      await this.#feed.whenTaken(Math.max(error.actual, revision));
    }
    return usedBy(target, user);
  }

  /** `put`: as it was until a moment ago. */
  async #withRestOfLife(put: StorePut): Promise<StorePut> {
    // It has to be there again, whatever else is not known of it.
    const versions = await this.#store.history(put.key, VERSIONS_AROUND_DELETION).catch(() => []);
    const last = versions.find(({ value }) => value !== null);
    if (last?.ttl === undefined) return put;
    const rest = last.ttl - (this.#now() - last.time) / 1000;
    return { ...put, ttl: Math.max(rest, SHORTEST_LIFE_SECONDS) };
  }
}
