/**
 * What is fetched for certificates and fetched again before it is too old: secrets, certificates on other servers, OCSP
 * answers. Each is asked for once, however many certificates use it, and only as long as one does.
 *
 * The last good value stays for as long as nothing newer can be had. It is in the memory of control alone.
 */

import { Slots } from "../../store/etcd/slots.ts";
import { Rounds } from "../discovery/rounds.ts";

export type FetchedType = "secret" | "remote" | "ocsp";

export interface Fetched {
  value: string;
  /** After which it is asked for again. */
  pauseMs: number;
}

/** One thing to fetch. */
export interface FetchPlan {
  /** Plans with one key are one. */
  key: string;
  type: FetchedType;
  /** For people: neither a credential nor a secret. */
  shown: string;
  /** Throws why there is no value; the reason is logged. */
  fetch(signal: AbortSignal): Promise<Fetched>;
}

export interface FetchedReport {
  type: FetchedType;
  shown: string;
  /** Milliseconds since 1970 of the last good answer; null: there was none. */
  fetchedAt: number | null;
  failures: number;
  users: ReadonlySet<string>;
}

export interface FetchedValuesParts {
  /** Users whose values changed. */
  onAnswer(users: ReadonlySet<string>): void;
  onFailure(report: FetchedReport, reason: string): void;
  now?: () => number;
}

/** When nothing says how long a value may be kept. */
const PAUSE_MS = 300_000;
/** Of one type, that are asked at a time: with thousands of certificates the last would time out before its turn. */
const AT_A_TIME = 16;

interface Held extends FetchedReport {
  users: Set<string>;
  value: string | null;
  rounds: Rounds;
}

export class FetchedValues {
  readonly #parts: FetchedValuesParts;
  readonly #now: () => number;
  readonly #held = new Map<string, Held>();
  readonly #keysOf = new Map<string, Set<string>>();
  readonly #slots: Readonly<Record<FetchedType, Slots>> = {
    secret: new Slots(AT_A_TIME),
    remote: new Slots(AT_A_TIME),
    ocsp: new Slots(AT_A_TIME),
  };

  constructor(parts: FetchedValuesParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  /** From now on the user needs these and nothing else. */
  use(user: string, plans: readonly FetchPlan[]): void {
    const before = this.#keysOf.get(user);
    const keys = new Set(plans.map(({ key }) => key));
    if (keys.size === 0) this.#keysOf.delete(user);
    else this.#keysOf.set(user, keys);
    for (const plan of plans) (this.#held.get(plan.key) ?? this.#begin(plan)).users.add(user);
    for (const key of before ?? []) if (!keys.has(key)) this.#leave(user, key);
  }

  /** Null: none yet. */
  value(key: string): string | null {
    return this.#held.get(key)?.value ?? null;
  }

  /** Asks again for all of a type. */
  async refresh(type: FetchedType): Promise<void> {
    const rounds: Promise<void>[] = [];
    for (const held of this.#held.values()) if (held.type === type) rounds.push(held.rounds.now());
    await Promise.all(rounds);
  }

  list(): Iterable<FetchedReport> {
    return this.#held.values();
  }

  close(): void {
    for (const { rounds } of this.#held.values()) rounds.close();
    this.#held.clear();
    this.#keysOf.clear();
  }

  #begin(plan: FetchPlan): Held {
    const rounds = new Rounds({
      pauseMs: PAUSE_MS,
      run: async (signal) => {
        const { value, pauseMs } = await this.#slots[plan.type].run(() => fetchNow(plan, signal));
        const isNew = held.value !== value;
        held.value = value;
        held.fetchedAt = this.#now();
        if (isNew) this.#parts.onAnswer(held.users);
        return pauseMs;
      },
      onFailure: (reason) => {
        held.failures++;
        this.#parts.onFailure(held, reason);
      },
    });
    const held: Held = {
      type: plan.type,
      shown: plan.shown,
      users: new Set(),
      value: null,
      fetchedAt: null,
      failures: 0,
      rounds,
    };
    this.#held.set(plan.key, held);
    // What it needs may come a moment later, in the same batch.
    setImmediate(() => void rounds.now());
    return held;
  }

  #leave(user: string, key: string): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    held.users.delete(user);
    if (held.users.size > 0) return;
    held.rounds.close();
    this.#held.delete(key);
  }
}

/** Not for who left while it waited. */
function fetchNow(plan: FetchPlan, signal: AbortSignal): Promise<Fetched> {
  signal.throwIfAborted();
  return plan.fetch(signal);
}
