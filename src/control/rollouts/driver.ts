/**
 * Takes rollouts from step to step, and back when they fail.
 *
 * How far a rollout came is in the store (`model/rollout.ts`). One node drives it, the holder; it says so with every
 * write, at least every `BEAT_MS`, and another one takes over when nothing was written for `LEASE_MS`. Time is measured
 * by each node's own clock, from when it saw a write: clocks need not agree. Every write is a compare-and-swap on the
 * rollout and its progress, so that two nodes that drive at the same moment cannot both step.
 *
 * Every node judges its own requests, and any of them may roll back: at once for itself, and through the store for all.
 * Steps that ask for requests count those of the holder; a node without traffic does not drive such a rollout. Where counts
 * are lost, since workers have no room for them, the time does not count for those that could fail unseen.
 *
 * Nothing here is needed for requests: without the store, or without control, shares stay as they are.
 */

import type { Log } from "../../lib/log.ts";
import type {
  PublishedProgress,
  PublishedRollout,
  RolloutAction,
  RolloutPhase,
} from "../../model/rollout.ts";
import { type Store, StoreConflictError, type StoreWrite } from "../../store/contract.ts";
import type { StoreFeed } from "../feed.ts";
import { keyOf } from "../keys.ts";
import type { ConfigurationState, StateEntry } from "../state.ts";
import type { RolloutItems } from "./items.ts";
import {
  type AllTotals,
  countOf,
  faultOf,
  noTotals,
  type RolloutTotals,
  TotalsWindow,
  type VariantTotals,
} from "./measurement.ts";

export interface DriverParts {
  items: RolloutItems;
  state: Pick<ConfigurationState, "types" | "get">;
  store: Pick<Store, "write">;
  feed: Pick<StoreFeed, "origin" | "whenTaken">;
  read: () => Promise<AllTotals>;
  /** Whether requests come to this node. Default: they do. */
  hasTraffic?: boolean;
  /** This node, among those of its store. */
  holder: string;
  log: Log;
  /** Monotonic milliseconds. */
  now?: () => number;
  /** Milliseconds since 1970. */
  wallNow?: () => number;
}

/** What is seen of a rollout here, besides what the store has. */
export interface Observed {
  /** Seconds and requests of the canary in this step, as far as this node knows. */
  elapsed: number;
  requests: number;
  /** Within the window. */
  canary: VariantTotals;
  stable: VariantTotals;
  /** Why it must not go on; null: it may. */
  fault: string | null;
}

/** This node's view of one run of a rollout. */
interface Watch extends Observed {
  readonly run: string;
  readonly canaryWindow: TotalsWindow;
  readonly stableWindow: TotalsWindow;
  /** Requests of the canary at the last look. */
  counted: number | null;
  lookedAtMs: number;
  /** What was seen and is not yet part of the step. */
  newMs: number;
  newRequests: number;
  /** Revisions of the rollout and of its progress, and when they were seen first. */
  seenRollout: number;
  seenProgress: number;
  seenAtMs: number;
  writtenAtMs: number;
}

export const BEAT_MS = 15_000;
export const LEASE_MS = 50_000;
/** More time than that between two looks was not watched: it does not count. */
const LONGEST_LOOK_MS = 5000;
const DEFAULT_WINDOW_S = 60;
/** For what was written to come back. Later, the next write meets a conflict and changes nothing. */
const TAKEN_WITHIN_MS = 10_000;
const AUTHOR = "rollout";
const PLURALS = { route: "routes", service: "services" } as const;

export class RolloutDriver {
  readonly #parts: DriverParts;
  readonly #now: () => number;
  readonly #wallNow: () => number;
  readonly #watches = new Map<string, Watch>();
  /** Rollouts of which a failed write was told. */
  readonly #failing = new Set<string>();
  /** Counts without a rollout, at the last look. */
  #lost = 0;
  #isLosing = false;
  #isLooking = false;
  #isDriving = false;

  constructor(parts: DriverParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#wallNow = parts.wallNow ?? Date.now;
  }

  /**
   * To be called every second. Never rejects. Judges all rollouts at once, also while the store lets an earlier call wait;
   * what is to be written then waits for the next call.
   */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    let rollouts: readonly PublishedRollout[] = [];
    try {
      rollouts = await this.#judged();
    } catch (error) {
      this.#parts.log.error("rollouts cannot be judged", { error: String(error) });
    } finally {
      this.#isLooking = false;
    }
    if (this.#isDriving) return;
    this.#isDriving = true;
    try {
      for (const rollout of rollouts) await this.#drive(rollout);
    } catch (error) {
      this.#parts.log.error("rollouts cannot be driven", { error: String(error) });
    } finally {
      this.#isDriving = false;
    }
  }

  /** Null: it was not looked at yet. */
  observed({ id, run }: PublishedRollout): Observed | null {
    const watch = this.#watches.get(id);
    return watch?.run === run ? watch : null;
  }

  async #judged(): Promise<readonly PublishedRollout[]> {
    const { items, read } = this.#parts;
    for (const id of this.#watches.keys()) if (items.get(id) === null) this.#watches.delete(id);
    let rollouts = [...items.list()];
    if (rollouts.length === 0) return rollouts;
    const totals = await read();
    this.#lookForLost(totals);
    rollouts = [...items.list()];
    for (const rollout of rollouts) this.#judge(rollout, totals.get(rollout.id));
    return rollouts;
  }

  #lookForLost({ lost = 0 }: AllTotals): void {
    const wasLosing = this.#isLosing;
    this.#isLosing = lost > this.#lost;
    this.#lost = lost;
    if (this.#isLosing && !wasLosing)
      this.#parts.log.warn("workers have no room for the counts of rollouts: those with a rollback wait");
  }

  #judge(rollout: PublishedRollout, totals: RolloutTotals | undefined): void {
    const { items, feed, log } = this.#parts;
    const { id, run, action, rollback } = rollout;
    const now = this.#now();
    const watch = this.#watchOf(rollout, now);
    this.#measure(watch, totals, now);
    if (this.#isLosing && rollback !== undefined) watch.newMs = 0;
    const progress = items.progressOf(id);
    const current = progress?.run === run ? progress : null;
    if (feed.origin === "nothing" || current === null || isOver(current, action) || isEnding(action)) return;
    if (watch.fault !== null || rollback === undefined) return;
    watch.fault = faultOf(rollback, watch.canary);
    if (watch.fault === null) return;
    items.hold(rollout);
    log.warn("a rollout is rolled back", { rollout: id, reason: watch.fault });
  }

  async #drive(rollout: PublishedRollout): Promise<void> {
    const { items, state, feed, holder } = this.#parts;
    const { id, run, action } = rollout;
    const entry = state.get("rollouts", id);
    const watch = this.#watches.get(id);
    // It was deleted or replaced while another one was written.
    if (entry === undefined || watch?.run !== run || items.get(id) !== rollout) return;
    const written = state.get("progress", id, id);
    const now = this.#now();
    const progress = items.progressOf(id);
    const current = progress?.run === run ? progress : null;
    const revision = written?.modRevision ?? 0;
    if (watch.seenRollout !== entry.modRevision || watch.seenProgress !== revision) watch.seenAtMs = now;
    if (watch.seenProgress !== revision && current !== null)
      ({ elapsed: watch.elapsed, requests: watch.requests } = current);
    watch.seenRollout = entry.modRevision;
    watch.seenProgress = revision;
    const { newMs, newRequests } = watch;
    watch.newMs = 0;
    watch.newRequests = 0;
    // Another node promoted it in the moment in which this one saw it fail.
    const hasFailedHere = watch.fault !== null && current?.phase === "promoted" && !rollout.adopt;
    if (feed.origin === "nothing" || (isOver(current, action) && !hasFailedHere)) return;

    const base = current ?? this.#begun(run);
    const write = (next: PublishedProgress) => this.#write(rollout, entry, written, next);
    if (watch.fault !== null) {
      await write(this.#ended(base, watch, "rolled_back", watch.fault));
      return;
    }
    const isMine = current === null || current.holder === holder || now - watch.seenAtMs > LEASE_MS;
    if (!isMine) return;
    if (isEnding(action)) {
      await write(this.#ended(base, watch, action === "abort" ? "aborted" : "promoted"));
      return;
    }
    if (!this.#mayDrive(rollout)) return;
    if (current === null) {
      await write(base);
      return;
    }
    if (action === "pause") return;
    if (current.holder !== holder) {
      await write({ ...current, holder });
      return;
    }
    watch.elapsed += newMs / 1000;
    watch.requests += newRequests;
    const next = this.#advanced(rollout, current, watch);
    if (next !== null) await write(next);
    else if (now - watch.writtenAtMs >= BEAT_MS) await write({ ...current, ...stepOf(watch) });
  }

  #mayDrive({ steps }: PublishedRollout): boolean {
    return this.#parts.hasTraffic !== false || steps.every(({ requests }) => requests === undefined);
  }

  #watchOf(rollout: PublishedRollout, now: number): Watch {
    const { id, run, rollback } = rollout;
    const former = this.#watches.get(id);
    const windowMs = (rollback?.window ?? DEFAULT_WINDOW_S) * 1000;
    if (former?.run === run) {
      former.canaryWindow.lengthMs = windowMs;
      former.stableWindow.lengthMs = windowMs;
      return former;
    }
    const watch: Watch = {
      run,
      canaryWindow: new TotalsWindow(windowMs),
      stableWindow: new TotalsWindow(windowMs),
      counted: null,
      lookedAtMs: now,
      newMs: 0,
      newRequests: 0,
      seenRollout: 0,
      seenProgress: 0,
      seenAtMs: now,
      writtenAtMs: now,
      fault: null,
      elapsed: 0,
      requests: 0,
      canary: noTotals(),
      stable: noTotals(),
    };
    this.#watches.set(id, watch);
    return watch;
  }

  /** What happened since the last look. */
  #measure(watch: Watch, totals: RolloutTotals | undefined, now: number): void {
    watch.newMs += Math.min(now - watch.lookedAtMs, LONGEST_LOOK_MS);
    watch.lookedAtMs = now;
    const { canary, stable } = totals ?? { canary: noTotals(), stable: noTotals() };
    watch.canaryWindow.add(now, canary);
    watch.stableWindow.add(now, stable);
    watch.canary = watch.canaryWindow.change();
    watch.stable = watch.stableWindow.change();
    const count = countOf(canary);
    if (watch.counted !== null) watch.newRequests += Math.max(0, count - watch.counted);
    watch.counted = count;
  }

  #begun(run: string): PublishedProgress {
    const { holder } = this.#parts;
    return { id: "", run, phase: "running", step: 0, elapsed: 0, requests: 0, holder, since: this.#second() };
  }

  #ended(from: PublishedProgress, watch: Watch, phase: RolloutPhase, reason?: string): PublishedProgress {
    const { holder } = this.#parts;
    const next: PublishedProgress = { ...from, ...stepOf(watch), phase, holder, since: this.#second() };
    if (reason !== undefined) next.reason = reason;
    return next;
  }

  /** The next step, or the end; null: this step is not over. */
  #advanced(rollout: PublishedRollout, current: PublishedProgress, watch: Watch): PublishedProgress | null {
    const step = rollout.steps[current.step];
    if (step !== undefined) {
      if (watch.elapsed < (step.duration ?? 0) || watch.requests < (step.requests ?? 0)) return null;
    }
    const isLast = current.step >= rollout.steps.length - 1;
    if (isLast) return this.#ended(current, watch, "promoted");
    return { ...current, step: current.step + 1, elapsed: 0, requests: 0, since: this.#second() };
  }

  async #write(
    rollout: PublishedRollout,
    entry: StateEntry,
    written: StateEntry | undefined,
    next: PublishedProgress,
  ): Promise<void> {
    const { state, store, feed, log } = this.#parts;
    const { id } = rollout;
    const key = keyOf(state.types.get("progress")!, id, id);
    const batch: StoreWrite[] = [{ type: "put", key, value: JSON.stringify({ ...next, id }) }];
    const expect: Record<string, number> = {
      [entry.key]: entry.modRevision,
      [key]: written?.modRevision ?? 0,
    };
    if (next.phase === "promoted" && rollout.adopt) this.#adopt(rollout, batch, expect);
    try {
      await within(TAKEN_WITHIN_MS, feed.whenTaken(await store.write(batch, { expect, author: AUTHOR })));
    } catch (error) {
      // Another node, or somebody who changed the rollout, was quicker: the next look sees what they wrote.
      if (error instanceof StoreConflictError) return;
      if (!this.#failing.has(id))
        log.warn("the progress of a rollout cannot be stored", { rollout: id, error: String(error) });
      this.#failing.add(id);
      return;
    }
    this.#failing.delete(id);
    const watch = this.#watches.get(id);
    if (watch !== undefined) {
      watch.writtenAtMs = this.#now();
      // While the store let it wait, what is written now was not in force.
      watch.newMs = 0;
      watch.newRequests = 0;
    }
    const { phase, step, reason } = next;
    const message = phase === "running" ? "a rollout goes on" : "a rollout is over";
    // Counted from 1, as the Control API does.
    log.info(message, { rollout: id, phase, step: step + 1, ...(reason !== undefined && { reason }) });
  }

  /** The canary becomes the target's own upstream. */
  #adopt({ target, canary }: PublishedRollout, batch: StoreWrite[], expect: Record<string, number>): void {
    const entry = this.#parts.state.get(PLURALS[target.kind], target.id);
    if (entry === undefined || entry.fault !== null) return;
    const { upstream: _former, ...value } = JSON.parse(entry.text) as Record<string, unknown>;
    if (value["upstream_id"] === canary) return;
    const adopted = { ...value, upstream_id: canary, update_time: this.#second() };
    batch.push({ type: "put", key: entry.key, value: JSON.stringify(adopted) });
    expect[entry.key] = entry.modRevision;
  }

  #second(): number {
    return Math.floor(this.#wallNow() / 1000);
  }
}

/** Nothing is left to be done, but that what was promoted may still be taken back. */
function isOver(current: PublishedProgress | null, action: RolloutAction): boolean {
  if (current === null || current.phase === "running") return false;
  return current.phase !== "promoted" || action !== "abort";
}

function isEnding(action: RolloutAction): boolean {
  return action === "abort" || action === "promote";
}

function stepOf({ elapsed, requests }: Observed): { elapsed: number; requests: number } {
  return { elapsed: Math.round(elapsed * 1000) / 1000, requests };
}

async function within(timeMs: number, done: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeMs);
  await Promise.race([done, late]);
  clearTimeout(timer);
}
