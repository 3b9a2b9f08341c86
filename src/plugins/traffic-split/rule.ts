/** One rule of `traffic-split`, compiled: for whom it is, and the upstreams among which it chooses. */

import type { Exchange, OwnUpstream, PluginHost, UpstreamHandle } from "../../plugin/index.ts";
import type { PublishedUpstream } from "../../plugin/upstream-config.ts";
import { contentHash } from "../../lib/content-hash.ts";
import { compileExpression, type CompiledExpression } from "../../lib/expression.ts";
import { NO_CHOICE, positionOf, WeightedChoice } from "../traffic/weighted-choice.ts";
import type { RuleConfig } from "./config.ts";

/** A place in the range of the weights, as the cookie holds it. */
const POSITION = /^[0-9a-f]{8}$/;
/** Carries the cookie that is to be set from the choice to the answer. */
const COOKIE_VARIABLE = "traffic_split_cookie";

export class SplitRule {
  readonly #conditions: readonly CompiledExpression[];
  readonly #choice: WeightedChoice;
  /** By entry; null: the route's own upstream. */
  readonly #upstreams: readonly (UpstreamHandle | null)[];
  readonly #own: readonly OwnUpstream[];
  readonly #referred: readonly { id: string; upstream: UpstreamHandle }[];
  readonly #cookie: string | undefined;
  readonly #cookieVariable: string;
  readonly #cookieOptions: string;
  readonly #pendingVariable: string;
  readonly #header: string | undefined;

  constructor(config: RuleConfig, index: number, host: PluginHost) {
    const { match, weighted_upstreams: entries, sticky } = config;
    this.#conditions = (match ?? []).map(({ vars }) => compileExpression(vars));
    const weights = entries.map(({ weight }) => weight);
    this.#choice = new WeightedChoice(
      weights,
      `:traffic-split:${contentHash(config)}:${index}`,
      host.dictionary,
    );
    const own: OwnUpstream[] = [];
    const referred: { id: string; upstream: UpstreamHandle }[] = [];
    this.#upstreams = entries.map(({ upstream_id: id, upstream }) => {
      if (id !== undefined) {
        const handle = host.upstreamOf(String(id));
        referred.push({ id: String(id), upstream: handle });
        return handle;
      }
      if (upstream === undefined) return null;
      const handle = host.inlineUpstream(upstream as PublishedUpstream);
      own.push(handle);
      return handle;
    });
    this.#own = own;
    this.#referred = referred;
    this.#cookie = sticky?.cookie;
    this.#cookieVariable = `cookie_${sticky?.cookie ?? ""}`;
    this.#cookieOptions = `; Path=/; HttpOnly; SameSite=Lax${sticky?.max_age === undefined ? "" : `; Max-Age=${sticky.max_age}`}`;
    this.#pendingVariable = `${COOKIE_VARIABLE}_${index}`;
    this.#header = sticky?.header;
  }

  get setsCookie(): boolean {
    return this.#cookie !== undefined;
  }

  /** Id of an upstream that the rule refers to and that does not exist; null: all are there. */
  missingUpstream(): string | null {
    for (let i = 0; i < this.#referred.length; i++) {
      if (!this.#referred[i].upstream.exists) return this.#referred[i].id;
    }
    return null;
  }

  matches(ctx: Exchange): boolean {
    const conditions = this.#conditions;
    if (conditions.length === 0) return true;
    for (let i = 0; i < conditions.length; i++) if (conditions[i].evaluate(ctx)) return true;
    return false;
  }

  /** Gives the number of the entry; -1: none has a weight. */
  choose(ctx: Exchange, owner: string): number {
    const index = this.#indexFor(ctx, owner);
    ctx.upstreamChoice = index === NO_CHOICE ? null : this.#upstreams[index];
    return index;
  }

  #indexFor(ctx: Exchange, owner: string): number {
    if (this.#header !== undefined) {
      const value = ctx.request.headers.get(this.#header.toLowerCase());
      return value === undefined || value === ""
        ? this.#choice.next(owner)
        : this.#choice.at(hashPosition(value));
    }
    if (this.#cookie === undefined) return this.#choice.next(owner);
    const held = ctx.variable(this.#cookieVariable);
    if (held !== undefined && POSITION.test(held)) return this.#choice.at(Number.parseInt(held, 16));
    const position = positionOf(this.#choice.ticket(owner));
    ctx.setVariable(this.#pendingVariable, position.toString(16).padStart(8, "0"));
    return this.#choice.at(position);
  }

  /** The answer of a request that came without the cookie brings it. */
  setCookie(ctx: Exchange): void {
    if (this.#cookie === undefined) return;
    const position = ctx.variable(this.#pendingVariable);
    if (position === undefined) return;
    const secure = ctx.client.scheme === "https" ? "; Secure" : "";
    const value = `${this.#cookie}=${position}${this.#cookieOptions}${secure}`;
    ctx.response.headers.push("set-cookie", "Set-Cookie", value);
  }

  dispose(): void {
    for (const upstream of this.#own) upstream.dispose();
  }
}

/** FNV-1a, mixed so that values that differ little lie far apart (the last step of MurmurHash3). */
function hashPosition(value: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let i = 0; i < value.length; i++) hash = Math.imul(hash ^ (value.codePointAt(i) ?? 0), 0x01_00_01_93);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
