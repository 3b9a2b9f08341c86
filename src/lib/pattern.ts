/**
 * Regular expressions out of user configuration, written for PCRE, run in bounded time.
 *
 * A pattern is parsed, and a bound of the steps that a backtracking engine may take is computed: coefficient × n^degree
 * (`pattern/cost.ts`). Then:
 *
 * - linear patterns (`^/api/(.*)$`, `[^/]+/`) run in V8, which is two to forty times faster than the alternative;
 * - others run in V8 on inputs so short that the bound stays within `NATIVE_STEPS` (about 0.1 ms), and in RE2
 *   (`re2js`, linear for every input, about 12 ns per character for a test and 130 with captures) on longer ones;
 *   exponential ones always run in RE2;
 * - what RE2 does not have (lookarounds, references, atomic groups) runs in V8 alone, and is refused unless the bound is
 *   linear, or quadratic; then longer inputs than `QUADRATIC_INPUT` are refused at run time.
 *
 * Captures come from RE2 too where JavaScript would forget them (`(?:(a)|b)*`). Both engines are given text that was written from the same tree, so they agree on what matches. Patterns see
 * characters, where PCRE in nginx sees bytes. Refused patterns are refused at write: `checkPattern`.
 *
 * Measured: `^(a+)+$` against 27 characters takes V8 3.7 s; here 8,000 characters take 0.1 ms.
 */

import { createRequire } from "node:module";
import type * as Re2 from "re2js";
import { LruMap } from "./lru.ts";
import { searchCost, type Cost } from "./pattern/cost.ts";
import { emitLinear, emitNative, forgetsCaptures } from "./pattern/emit.ts";
import { parsePattern, PatternError } from "./pattern/parse.ts";

export { PatternError };

/** Captures of a match: index 0 is the whole; groups that took no part are undefined. */
export interface PatternMatch {
  /** Where the match begins in the input. */
  readonly index: number;
  readonly groups: readonly (string | undefined)[];
}

/** What replaces a match; made by `compileReplacement`. */
export type Replacement = readonly (string | number)[];

/** Steps that V8 may need for one call; about 1.4 ns each. */
const NATIVE_STEPS = 100_000;

/** Longest input, in characters, of quadratic patterns that have no linear form: 25 ms at worst. */
const QUADRATIC_INPUT = 4096;

/** Longest input of any pattern, in characters. */
export const MAX_PATTERN_INPUT = 1 << 20;

/** Compiled patterns that are kept for the next one who writes the same. */
const INTERNED_PATTERNS = 4096;

const interned = new LruMap<string, Pattern>(INTERNED_PATTERNS);

/**
 * A compiled pattern; the same source and flags give the same object while it is remembered. Throws a `PatternError`
 * for a pattern that is malformed, unsupported or without a bound. `flags` as for ngx.re: i, m, s, x, U, a, j, o.
 */
export function compilePattern(source: string, flags = ""): Pattern {
  const key = `${flags}/${source}`;
  let pattern = interned.get(key);
  if (pattern === undefined) interned.set(key, (pattern = new Pattern(source, flags)));
  return pattern;
}

/** Null when `source` can be compiled, else the reason. */
export function checkPattern(source: string, flags = ""): string | null {
  try {
    compilePattern(source, flags);
    return null;
  } catch (error) {
    if (error instanceof PatternError) return error.message;
    throw error;
  }
}

export class Pattern {
  readonly source: string;
  readonly flags: string;
  /** Index of each named group. */
  readonly names: ReadonlyMap<string, number>;
  readonly #native: RegExp | null;
  /** Longest input for V8. */
  readonly #nativeInput: number;
  /** The same where captures are wanted. */
  readonly #nativeExecInput: number;
  readonly #groupIndexes: readonly number[] | null;
  /** Null where RE2 has no such pattern or is never needed. */
  readonly #linear: Re2.RE2JS | null;

  constructor(source: string, flags: string) {
    const syntax = parsePattern(source, flags);
    const cost = searchCost(syntax.root);
    const native = emitNative(syntax.root);
    this.source = source;
    this.flags = flags;
    this.names = syntax.names;
    const isLinear = native !== null && cost.degree <= 1;
    const forgets = forgetsCaptures(syntax.root);
    this.#linear = isLinear && !forgets ? null : compileLinear(emitLinear(syntax.root));
    if (this.#linear === null) refuseUnbounded(source, cost, native !== null);
    this.#nativeInput = native === null ? -1 : nativeInput(cost, this.#linear !== null);
    this.#nativeExecInput = forgets && this.#linear !== null ? -1 : this.#nativeInput;
    this.#native = native === null || this.#nativeInput < 0 ? null : new RegExp(native.source);
    this.#groupIndexes = native?.groupIndexes ?? null;
  }

  /** Whether the pattern matches anywhere in `input`. Throws a RangeError for an input that is too long. */
  test(input: string): boolean {
    return input.length <= this.#nativeInput ? this.#native!.test(input) : this.#longInput(input).test(input);
  }

  /** The first match, or null. Throws a RangeError for an input that is too long. */
  exec(input: string): PatternMatch | null {
    if (input.length <= this.#nativeExecInput) return this.#nativeMatch(input, 0);
    const engine = this.#longInput(input);
    // Most inputs match nothing, and a test costs a tenth of a search with captures.
    return engine.test(input) ? linearMatch(engine.matcher(input), 0) : null;
  }

  /** Replaces the first match, or with `all` every one. An input without a match comes back as it is. */
  replace(input: string, replacement: Replacement, all = false): string {
    const linear = input.length <= this.#nativeExecInput ? null : this.#longInput(input).matcher(input);
    let replaced = "";
    let copied = 0;
    for (let from = 0; from <= input.length;) {
      const match = linear === null ? this.#nativeMatch(input, from) : linearMatch(linear, from);
      if (match === null) break;
      const whole = match.groups[0]!;
      replaced += input.slice(copied, match.index) + expandReplacement(replacement, match);
      copied = match.index + whole.length;
      from = whole === "" ? copied + 1 : copied;
      if (!all) break;
    }
    return replaced === "" && copied === 0 ? input : replaced + input.slice(copied);
  }

  #nativeMatch(input: string, from: number): PatternMatch | null {
    // A search that goes on needs the place where it does; the first one does not.
    const native = from === 0 ? this.#native! : this.#searching();
    native.lastIndex = from;
    const found = native.exec(input);
    if (found === null) return null;
    const indexes = this.#groupIndexes;
    return { index: found.index, groups: indexes === null ? found : indexes.map((index) => found[index]) };
  }

  #continuing: RegExp | null = null;

  #searching(): RegExp {
    return (this.#continuing ??= new RegExp(this.#native!.source, "g"));
  }

  /** The engine for an input that V8 may not have. */
  #longInput(input: string): Re2.RE2JS {
    if (this.#linear === null || input.length > MAX_PATTERN_INPUT) {
      const limit = this.#linear === null ? this.#nativeInput : MAX_PATTERN_INPUT;
      throw new RangeError(
        `input of ${input.length} characters for the pattern ${this.source}, expected at most ${limit}`,
      );
    }
    return this.#linear;
  }
}

let linearEngine: typeof Re2 | null = null;

/** Null where RE2 refuses it too: it limits the size of counted repetitions. */
function compileLinear(text: string | null): Re2.RE2JS | null {
  if (text === null) return null;
  // With the first pattern: many threads have none, and its tables take megabytes.
  linearEngine ??= createRequire(import.meta.url)("re2js") as typeof Re2;
  try {
    return linearEngine.RE2JS.compile(text);
  } catch {
    // The caller refuses the pattern, unless V8 can run it in bounded time.
    return null;
  }
}

function refuseUnbounded(source: string, cost: Cost, hasNative: boolean): void {
  if (hasNative && cost.degree <= 2) return;
  const time = cost.degree === Infinity ? "exponential time" : `time of the order n^${cost.degree}`;
  throw new PatternError(
    hasNative
      ? `pattern ${JSON.stringify(source)} may take ${time}, and lookarounds, references, atomic groups or its size rule out a linear engine`
      : `pattern ${JSON.stringify(source)} needs what neither engine has`,
  );
}

/** Longest input that V8 may be given; -1 for none. */
function nativeInput(cost: Cost, hasLinear: boolean): number {
  if (cost.degree <= 1) return MAX_PATTERN_INPUT;
  if (!hasLinear) return QUADRATIC_INPUT;
  if (cost.degree === Infinity) return -1;
  return Math.floor((NATIVE_STEPS / cost.coefficient) ** (1 / cost.degree));
}

/** The first match at or after `from`. */
function linearMatch(matcher: ReturnType<Re2.RE2JS["matcher"]>, from: number): PatternMatch | null {
  if (!matcher.find(from)) return null;
  const groups: (string | undefined)[] = [];
  for (let i = 0; i <= matcher.groupCount(); i++) groups.push(matcher.group(i) ?? undefined);
  return { index: matcher.start(), groups };
}

/** `$1`, `${1}` and `$0` stand for groups, `$$` for a dollar; a dollar before anything else is text. */
export function compileReplacement(text: string): Replacement {
  const parts: (string | number)[] = [];
  let end = 0;
  for (const match of text.matchAll(/\$(?:\$|(\d{1,3})|\{(\d{1,3})\})/g)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    const group = match[1] ?? match[2];
    parts.push(group === undefined ? "$" : Number(group));
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

/** The replacement of one match; groups that took no part are empty. */
export function expandReplacement(replacement: Replacement, match: PatternMatch): string {
  let text = "";
  for (const part of replacement) text += typeof part === "string" ? part : (match.groups[part] ?? "");
  return text;
}
