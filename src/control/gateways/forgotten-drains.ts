/**
 * Drains of all gateways whose node left its upstream and whose undo never came are deleted after some time. Not at once: a
 * gateway that still lists the node (discovery may be slower there) must not take it up again.
 */

import type { Log } from "../../lib/log.ts";
import type { Store } from "../../store/contract.ts";
import type { SharedDrain } from "../health/drains.ts";
import { keyOf } from "../keys.ts";
import { drainType } from "../../model/drain.ts";
import type { ConfigurationState } from "../state.ts";

const LOOK_EVERY_MS = 60_000;
export const FORGET_AFTER_MS = 600_000;

export interface ForgottenParts {
  store: Pick<Store, "write">;
  state: Pick<ConfigurationState, "get">;
  drains: { listShared(): Iterable<SharedDrain> };
  /** Whether an upstream lists the node now. */
  isListed(upstream: string, host: string, port: number): boolean;
  log: Pick<Log, "info" | "warn">;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export class ForgottenDrains {
  readonly #parts: ForgottenParts;
  readonly #now: () => number;
  /** By the ids of resources. */
  #goneSince = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: ForgottenParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Never rejects. */
  async look(): Promise<void> {
    const { drains, isListed } = this.#parts;
    const before = this.#goneSince;
    const gone = new Map<string, number>();
    for (const { id, upstream, host, port } of drains.listShared()) {
      if (!isListed(upstream, host, port)) gone.set(id, before.get(id) ?? this.#now());
    }
    this.#goneSince = gone;
    for (const [id, since] of gone) if (this.#now() - since >= FORGET_AFTER_MS) await this.#forget(id);
  }

  async #forget(id: string): Promise<void> {
    const { store, state, log } = this.#parts;
    const entry = state.get(drainType.plural, id);
    if (entry === undefined) return;
    const key = keyOf(drainType, id, null);
    try {
      await store.write([{ type: "delete", key }], { expect: { [key]: entry.modRevision } });
      log.info("a drain is forgotten: its node left the upstream long ago", { drain: id });
    } catch (error) {
      // Another gateway was faster, or the store is away: the next look tells.
      log.warn("a drain cannot be forgotten", { drain: id, reason: String(error) });
    }
  }
}
