/** One limit per time window, compiled: by what it counts, how much it lets in, and the headers that tell so. */

import type { Exchange, PluginHost } from "../../plugin/index.ts";
import { compileAmount, readAmount, type Amount } from "./amount.ts";
import { DEFAULT_HEADERS, type CountConfig, type HeaderNames } from "./count-config.ts";
import { compileKey, compileRuleKey } from "./key.ts";

/** The longest window, some thousand years: Redis takes no longer ones. */
const LONGEST_WINDOW_MS = 2 ** 45;

type Host = PluginHost<HeaderNames>;

export class CountRule {
  /** Null: the rule does not apply to the request. */
  readonly keyOf: (ctx: Exchange) => string | null;
  readonly isSliding: boolean;
  readonly #limit: Amount;
  readonly #windowSeconds: Amount;
  readonly #suffix: string;
  readonly #isShared: boolean;
  readonly #headerPrefix: string | null;
  readonly #host: Host;
  #metadata: HeaderNames | undefined = undefined;
  #headers: HeaderNames;

  private constructor(config: CountConfig, suffix: string, host: Host, ruleIndex: number | null) {
    const rule = ruleIndex === null ? null : config.rules![ruleIndex];
    this.keyOf = rule === null ? compileKey(config.key, config.key_type) : compileRuleKey(rule.key);
    this.#limit = compileAmount((rule ?? config).count!, 1);
    this.#windowSeconds = compileAmount((rule ?? config).time_window!, 1);
    this.isSliding = config.window_type === "sliding";
    // Rules have counters of their own, whatever their keys become.
    this.#suffix = ruleIndex === null ? suffix : `${suffix}${ruleIndex}:`;
    this.#isShared = config.group !== undefined;
    this.#headerPrefix = rule === null ? null : (rule.header_prefix ?? String(ruleIndex! + 1));
    this.#host = host;
    this.#headers = this.#withPrefix(DEFAULT_HEADERS);
  }

  static compileAll(config: CountConfig, suffix: string, host: Host): CountRule[] {
    return (
      config.rules?.map((_, i) => new CountRule(config, suffix, host, i)) ?? [
        new CountRule(config, suffix, host, null),
      ]
    );
  }

  /** NaN: the request gives no usable number. */
  limitOf(ctx: Exchange): number {
    return readAmount(this.#limit, ctx);
  }

  /** NaN: the request gives no usable number. */
  windowMsOf(ctx: Exchange): number {
    const windowMs = readAmount(this.#windowSeconds, ctx) * 1000;
    return windowMs > LONGEST_WINDOW_MS ? LONGEST_WINDOW_MS : windowMs;
  }

  /** Name of the counter for a client's key. The parts that the client cannot choose come first. */
  counterOf(ctx: Exchange, clientKey: string): string {
    return this.#isShared ? this.#suffix + clientKey : this.#host.ownerOf(ctx) + this.#suffix + clientKey;
  }

  showQuota(ctx: Exchange, limit: number, remaining: number, resetMs: number): void {
    const metadata = this.#host.metadata();
    if (metadata !== this.#metadata) {
      this.#metadata = metadata;
      this.#headers = this.#withPrefix(metadata ?? DEFAULT_HEADERS);
    }
    const names = this.#headers;
    const { headers } = ctx.response;
    headers.set(names.limit_header, String(limit));
    headers.set(names.remaining_header, String(remaining));
    headers.set(names.reset_header, String(Math.floor(resetMs / 10) / 100));
  }

  #withPrefix(names: HeaderNames): HeaderNames {
    if (this.#headerPrefix === null) return names;
    const end = `${this.#headerPrefix}-RateLimit-`;
    // A function: `$` in the prefix is text.
    const place = (name: string): string => name.replace("RateLimit-", () => end);
    return {
      limit_header: place(names.limit_header),
      remaining_header: place(names.remaining_header),
      reset_header: place(names.reset_header),
    };
  }
}
