/**
 * Several patterns of users of which one must match: lists of allowed origins, blocked paths, user agents.
 *
 * Compiled once; a test allocates nothing. The caller says what an input means that is longer than its patterns may
 * be given (see `pattern.ts`), since for a list of what is refused and for one of what may pass it is not the same.
 */

import { checkPattern, compilePattern, type Pattern } from "./pattern.ts";

export class PatternList {
  readonly #patterns: readonly Pattern[];

  /** Throws a `PatternError` for a source that cannot be compiled. `flags` as for `compilePattern`. */
  constructor(sources: readonly string[], flags = "") {
    this.#patterns = sources.map((source) => compilePattern(source, flags));
  }

  /** Whether a pattern is found anywhere in `input`. */
  matches(input: string, whenTooLong: boolean): boolean {
    try {
      for (let i = 0; i < this.#patterns.length; i++) if (this.#patterns[i].test(input)) return true;
      return false;
    } catch (error) {
      if (error instanceof RangeError) return whenTooLong;
      throw error;
    }
  }
}

/** Null when each of `sources` can be compiled, else the reason of the first that cannot. */
export function checkPatterns(sources: readonly string[] | undefined, flags = ""): string | null {
  for (const source of sources ?? []) {
    const reason = checkPattern(source, flags);
    if (reason !== null) return reason;
  }
  return null;
}

/**
 * One pattern out of several alternatives, as APISIX makes it: an inline flag such as `(?i)` reaches the alternatives
 * after it. Checked apart first, so that brackets cannot join them.
 */
export function checkAlternatives(sources: readonly string[] | undefined, flags = ""): string | null {
  if (sources === undefined) return null;
  return checkPatterns(sources, flags) ?? checkPattern(alternatives(sources), flags);
}

export function alternatives(sources: readonly string[]): string {
  return sources.join("|");
}
