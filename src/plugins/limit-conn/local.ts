/** Concurrency limits in the memory that all workers of the node share. */

import type { Exchange, PhaseResult, PluginHost } from "../../plugin/index.ts";
import { Waits } from "../../plugin/waits.ts";
import { readAmount } from "../limit/amount.ts";
import { ConnRules, type ConnConfig, type ConnRule } from "./rules.ts";

/** Delays below this are not worth a timer. */
const LEAST_DELAY_MS = 1;

export class LocalConcurrency {
  readonly #host: PluginHost;
  readonly #rules: ConnRules;
  readonly #waits = new Waits();
  /** Per rule the keys of which requests hold a unit; each is there from its access phase to its log phase. */
  readonly #held: Map<Exchange, string>[];

  constructor(config: ConnConfig, host: PluginHost) {
    this.#host = host;
    this.#rules = new ConnRules(config);
    this.#held = this.#rules.list.map(() => new Map());
  }

  access(ctx: Exchange): PhaseResult {
    const rules = this.#rules;
    let applied = 0;
    let delayMs = 0;
    for (let i = 0; i < rules.list.length; i++) {
      const rule = rules.list[i];
      const conn = readAmount(rule.conn, ctx);
      const limit = conn + readAmount(rule.burst, ctx);
      const key = rule.keyOf(ctx);
      if (key === null || Number.isNaN(limit)) continue;
      applied++;
      const held = this.#take(ctx, rule, i, key, limit);
      if (held === 0) return rules.refuse(ctx);
      if (held > 0) delayMs += rules.delayMs(held, conn);
      else if (rules.uncounted(ctx) !== undefined) return rules.uncounted(ctx);
    }
    if (applied === 0) return rules.uncounted(ctx);
    return delayMs < LEAST_DELAY_MS ? undefined : this.#waits.wait(ctx, delayMs);
  }

  /** Units held with this one; 0 when the limit is reached, -1 when it cannot be counted. */
  #take(ctx: Exchange, rule: ConnRule, index: number, clientKey: string, limit: number): number {
    const { counters } = this.#host;
    const key = this.#host.ownerOf(ctx) + rule.suffix + clientKey;
    if (!counters.hold(key, limit, this.#host.now())) return counters.full ? -1 : 0;
    this.#held[index].set(ctx, key);
    return counters.held;
  }

  end(ctx: Exchange): void {
    this.#waits.end(ctx);
    for (let i = 0; i < this.#held.length; i++) {
      const key = this.#held[i].get(ctx);
      if (key === undefined) continue;
      this.#held[i].delete(ctx);
      this.#host.counters.release(key);
    }
  }

  dispose(): void {
    // Requests that still hold units end through the chain that they began with.
  }
}
