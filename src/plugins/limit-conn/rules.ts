/** The rules of one `limit-conn` configuration: by what each counts, how many it lets in, and for how long it delays. */

import type { Answer, Exchange, Static } from "../../plugin/index.ts";
import { compileAmount, type Amount } from "../limit/amount.ts";
import { refusalBody } from "../limit/fields.ts";
import { compileKey, compileRuleKey } from "../limit/key.ts";
import { limitVersion } from "../limit/redis-settings.ts";
import type { Config } from "./index.ts";

export type ConnConfig = Static<typeof Config>;

export interface ConnRule {
  /** Stands between the owner and the key of the client in the names of this rule's counters. */
  suffix: string;
  /** Null: the rule does not apply to the request. */
  keyOf(ctx: Exchange): string | null;
  conn: Amount;
  burst: Amount;
}

export class ConnRules {
  readonly list: readonly ConnRule[];
  readonly #delayMs: number;
  readonly #delaysAllAlike: boolean;
  readonly #rejectedStatus: number;
  readonly #body: { error_msg: string } | undefined;
  readonly #allowsDegradation: boolean;

  constructor(config: ConnConfig) {
    this.#delayMs = config.default_conn_delay! * 1000;
    this.#delaysAllAlike = config.only_use_default_delay;
    this.#rejectedStatus = config.rejected_code;
    this.#body = refusalBody(config.rejected_msg);
    this.#allowsDegradation = config.allow_degradation;
    const suffix = `:limit-conn:${limitVersion(config)}:`;
    // Rules have counters of their own, whatever their keys become.
    this.list = config.rules?.map((rule, i) => ({
      suffix: `${suffix}${i}:`,
      keyOf: compileRuleKey(rule.key),
      conn: compileAmount(rule.conn, 1),
      burst: compileAmount(rule.burst, 0),
    })) ?? [
      {
        suffix,
        keyOf: compileKey(config.key!, config.key_type),
        conn: compileAmount(config.conn!, 1),
        burst: compileAmount(config.burst!, 0),
      },
    ];
  }

  /** How long the request waits that holds the unit number `held`. */
  delayMs(held: number, conn: number): number {
    if (held <= conn) return 0;
    return this.#delaysAllAlike ? this.#delayMs : this.#delayMs * Math.floor((held - 1) / conn);
  }

  refuse(ctx: Exchange): Answer {
    return ctx.answer(this.#rejectedStatus, this.#body);
  }

  uncounted(ctx: Exchange): Answer | undefined {
    return this.#allowsDegradation ? undefined : ctx.answer(500);
  }
}
