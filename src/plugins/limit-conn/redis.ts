/** Concurrency limits in a Redis that several gateways share. */

import type { Answer, Exchange, PluginHost } from "../../plugin/index.ts";
import { Waits } from "../../plugin/waits.ts";
import { RedisCounters, type RedisUnit } from "../limit/redis-counters.ts";
import type { RedisSettings } from "../limit/redis-settings.ts";
import { readAmount } from "../limit/amount.ts";
import { ConnRules, type ConnConfig } from "./rules.ts";

/** Delays below this are not worth a timer. */
const LEAST_DELAY_MS = 1;

export class RedisConcurrency {
  readonly #host: PluginHost;
  readonly #rules: ConnRules;
  readonly #waits = new Waits();
  readonly #counters: RedisCounters;
  readonly #keepMs: number;
  readonly #held = new Map<Exchange, RedisUnit[]>();

  constructor(config: ConnConfig, settings: RedisSettings, host: PluginHost) {
    this.#host = host;
    this.#rules = new ConnRules(config);
    this.#counters = new RedisCounters(settings, host.log);
    this.#keepMs = (config as { key_ttl?: number }).key_ttl! * 1000;
  }

  async access(ctx: Exchange): Promise<void | Answer> {
    const rules = this.#rules;
    let applied = 0;
    let delayMs = 0;
    for (const rule of rules.list) {
      const conn = readAmount(rule.conn, ctx);
      const limit = conn + readAmount(rule.burst, ctx);
      const clientKey = rule.keyOf(ctx);
      if (clientKey === null || Number.isNaN(limit)) continue;
      applied++;
      const key = `limit_conn:${this.#host.ownerOf(ctx) + rule.suffix + clientKey}`;
      let unit: RedisUnit | null;
      try {
        unit = await this.#counters.hold(key, limit, this.#keepMs);
      } catch {
        const answer = rules.uncounted(ctx); // The connection has logged why.
        if (answer !== undefined) return answer;
        continue;
      }
      if (unit === null) return rules.refuse(ctx);
      if (ctx.ended) {
        // The client left while Redis was asked: the log phase is over, nobody else gives this back.
        void this.#counters.release(unit);
        return undefined;
      }
      this.#keep(ctx, unit);
      delayMs += rules.delayMs(unit.held, conn);
    }
    if (applied === 0) return rules.uncounted(ctx);
    if (delayMs >= LEAST_DELAY_MS) await this.#waits.wait(ctx, delayMs);
    return undefined;
  }

  #keep(ctx: Exchange, unit: RedisUnit): void {
    const units = this.#held.get(ctx);
    if (units === undefined) this.#held.set(ctx, [unit]);
    else units.push(unit);
  }

  end(ctx: Exchange): void {
    this.#waits.end(ctx);
    const units = this.#held.get(ctx);
    if (units === undefined) return;
    this.#held.delete(ctx);
    for (const unit of units) void this.#counters.release(unit);
  }

  dispose(): void {
    this.#counters.dispose();
  }
}
